"""What the benchmarks measure is what they say; how fast it is, no test asks."""

import numpy as np
from hsilib.deploy import engines
from hsilib.models.networks import WIDTHS


def test_every_engine_is_timed_and_weighed(monkeypatch):
    monkeypatch.setattr(engines, "ROUNDS", {"1": (1, 2, 3), "scene": (0, 1, 1)})
    calls, sizes, files = engines.engines_of(WIDTHS[98])
    times = engines.times(calls)
    forms = [f"{engine}, {form}" for engine in ("ONNX Runtime",) for form in ("32 bits", "dynamic int8", "static int8")]
    assert set(forms) | {"PyTorch", "PyTorch, folded"} <= set(times) == set(sizes)
    assert files["static int8"] - sizes[forms[2]] > 4 * 200 * 40  # the principal components travel along
    assert all(median > 0 and iqr >= 0 for result in times.values() for median, iqr in result.values())
    assert set(times["PyTorch"]) == {"1", "scene"} and sizes[forms[2]] < sizes[forms[1]] < sizes[forms[0]]


def test_image_networks_are_timed_as_their_chapter_has_them(monkeypatch):
    monkeypatch.setattr(engines, "ROUNDS", {"1": (1, 1, 2)})
    result = engines.images(size=32, classes=4)
    assert result["size"] == 32 and set(result["ms"]) == {"vgg16", "mobilenet", "ghost"}
    assert all(median > 0 for median, _ in result["ms"].values())


def test_forms_are_of_one_network_and_layers_take_its_time():
    forms, x = engines.forms(WIDTHS[98])
    scores = [model(x[:20]).logits.detach().numpy() for model in forms.values()]
    assert np.abs(scores[0] - scores[2]).max() < 0.1 * np.abs(scores[0]).max()
    spent = engines.layer_times(forms["static int8"], rounds=5)
    assert (
        list(spent) == ["conv1", "conv2", "fc1", "fc2", "other"] and min(spent[k] for k in ("conv1", "conv2", "fc1", "fc2")) > 0
    )


def test_all_forms_of_the_integer_network_agree_on_a_scene(monkeypatch):
    monkeypatch.setattr(engines.scenes, "local", lambda file: None)  # no real scene at hand: a small one, two epochs
    result = {(line["method"], line["engine"]): line for line in engines.agreement()["engines"]}
    for key, least in {
        ("cnn2d", "ONNX Runtime"): 99.9,
        ("static", "ONNX Runtime"): 99.9,
        ("static", "fake quantization, 32 bits"): 99.5,  # steps that fall on a tie differ from one processor to another
        ("qat", "ONNX Runtime"): 99.9,
        ("dynamic", "ONNX Runtime"): 99.9,
        ("dynamic", "ONNX Runtime, a pixel per call"): 99,  # other ranges than those of a scene
    }.items():
        assert result[key]["same_class"] >= least, key
