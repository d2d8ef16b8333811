"""What the benchmarks measure is what they say; how fast it is, no test asks."""

import json

import numpy as np
import pytest
from bench import engines, small
from hsibook.tables import benchmarks
from hsilib.models.networks import WIDTHS


def test_every_engine_is_timed_and_weighed(monkeypatch):
    monkeypatch.setattr(engines, "ROUNDS", {"1": (1, 2, 3), "scene": (0, 1, 1)})
    calls, sizes, files = engines.engines_of(WIDTHS[98])
    times = engines.times(calls)
    forms = [f"ONNX Runtime, {form}" for form in ("32 bits", "dynamic int8", "static int8")]
    assert set(forms) | {"PyTorch", "PyTorch, folded"} <= set(times) == set(sizes)
    assert files["static int8"] - sizes[forms[2]] > 0.95 * 4 * 200 * 40  # the principal components travel along
    assert all(median > 0 and iqr >= 0 for result in times.values() for median, iqr in result.values())
    assert set(times["PyTorch"]) == {"1", "scene"} and sizes[forms[2]] < sizes[forms[1]] < sizes[forms[0]]


@pytest.mark.nightly
def test_all_forms_of_the_integer_network_agree_on_a_scene(monkeypatch):
    monkeypatch.setattr(engines.told, "at_hand", lambda name: False)  # no real scene at hand: a small one, two epochs
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


def test_the_c_of_a_network_is_timed_beside_engines_and_draws_their_map(monkeypatch):
    rounds = []

    def once(functions, *how, **words):
        rounds.append({name: function() for name, function in functions.items()})
        return {name: (1.0, 0.1) for name in functions}

    monkeypatch.setattr(small, "SIDE", 22)
    monkeypatch.setattr(small, "WIDE", 60)
    monkeypatch.setattr(small, "FLAGS", [("-O3",)])
    monkeypatch.setattr(small.measure, "timed", once)
    result = small.rates()
    assert list(result["pixels a second"]) == ["Lens", "Lens 5 kB"] and result["bars"]["CHIME"] == 482_000
    if small.shutil.which("gcc"):
        for engines, threads in zip(rounds[::2], rounds[1::2]):
            assert (engines["C, gcc -O3"] == engines["ONNX Runtime, int8"][0]).mean() > 0.99
            left, right = threads["two"]  # each with what its windows reach into
            assert (np.hstack([left[:, :30], right[:, 9:]]) == threads["one"]).all()


def test_one_benchmark_of_yours_hides_no_other_of_the_published(tmp_path, monkeypatch):
    for name, found in (("mine", {"compact": {"ms": 2}}), ("theirs", {"compact": {"ms": 1}, "latency": {"ms": 3}})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bench.json").write_text(json.dumps(found))
    monkeypatch.setenv("HSILIB_RESULTS", str(tmp_path / "mine"))
    monkeypatch.setenv("HSILIB_PUBLISHED", str(tmp_path / "theirs"))
    assert benchmarks() == {"compact": {"ms": 2}, "latency": {"ms": 3}}
