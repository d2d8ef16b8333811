"""What the benchmarks measure is what they say; how fast it is, no test asks."""

import numpy as np

from hsilib import bench
from hsilib.models import WIDTHS


def test_every_engine_is_timed_and_weighed(monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", {"1": (1, 2), "scene": (0, 1)})
    times, sizes = bench._engines(WIDTHS[98])
    forms = [f"{engine}, {form}" for engine in ("ONNX Runtime",) for form in ("32 bits", "dynamic int8", "static int8")]
    assert set(forms) | {"PyTorch"} <= set(times) == set(sizes)
    assert all(median > 0 and iqr >= 0 for found in times.values() for median, iqr in found.values())
    assert set(times["PyTorch"]) == {"1", "scene"} and sizes[forms[2]] < sizes[forms[1]] < sizes[forms[0]]


def test_forms_are_of_one_network_and_layers_take_its_time():
    forms, x = bench._forms(WIDTHS[98])
    scores = [model(x[:20]).logits.detach().numpy() for model in forms.values()]
    assert np.abs(scores[0] - scores[2]).max() < 0.1 * np.abs(scores[0]).max()
    spent = bench._layers(forms["static int8"], rounds=5)
    assert (
        list(spent) == ["conv1", "conv2", "fc1", "fc2", "other"] and min(spent[k] for k in ("conv1", "conv2", "fc1", "fc2")) > 0
    )
