"""The public face: every name has an example, and the examples without other people's objects run."""

import doctest
import inspect
import json
import re
import shutil
import subprocess
import sys

import hsilib
import numpy as np
import pytest
import torch
from hsilib import HsiError, Scene, Store, collect, load_scene, plan, split_of
from hsilib.__main__ import main
from hsilib.files import own_folder
from hsilib.methods import METHODS
from hsilib.models.networks import NETWORKS
from hsilib.study.store import published
from PIL import Image

NAMES = [name for name in hsilib.__all__ if callable(getattr(hsilib, name))]
LONG = "chapter", "collect"  # they train for a minute


class Shown(doctest.OutputChecker):
    """What an example leaves out of what it prints may be anything."""

    def check_output(self, want, got, flags):
        return not want or super().check_output(want, got, flags)


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory):
    """A folder with the files, and the objects, that examples speak of."""
    folder, rng = tmp_path_factory.mktemp("examples"), np.random.default_rng(0)
    np.save(folder / "field.npy", rng.normal(size=(20, 20, 5)).astype(np.float32))
    np.save(folder / "field_gt.npy", rng.integers(0, 3, (20, 20)).astype(np.uint8))
    for name in ("forest", "river"):
        (images := folder / "folder_of_class_folders" / name).mkdir(parents=True)
        for number in range(4):
            image = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(image).save(images / f"{number}.png")
    runs = plan("synthetic_fields_small", "disjoint", ["mlp"], seeds=2, epochs=1)
    rows = collect(runs, Store(folder / "rows"), say=lambda text: None)
    hsilib.export(runs[0], folder / "model.onnx")
    made = {"rows": rows, "labels": np.ones((4, 4), np.uint8), "x": torch.randn(8, 40, 19, 19)}
    made |= {name: hsilib.Outputs(torch.randn(4, 3), {}) for name in "st"}
    return folder, made | {"np": np, "torch": torch, "nn": torch.nn}


def test_every_public_name_has_an_example():
    assert [name for name in NAMES if ">>> " not in (getattr(hsilib, name).__doc__ or "")] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LONG] + [
    pytest.param(name, marks=pytest.mark.nightly) for name in LONG])
def test_the_example_runs_as_printed(name, at_hand, monkeypatch):
    monkeypatch.chdir(at_hand[0])
    names = {public: getattr(hsilib, public) for public in hsilib.__all__} | at_hand[1]
    names["net"] = hsilib.CNN2D(40, 16, widths=hsilib.WIDTHS[98]).eval()
    if name == "remove":
        hsilib.add_scene("my_field", "field.npy", "field_gt.npy")
    text = inspect.getdoc(getattr(hsilib, name))
    example = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    torch.manual_seed(0)
    said = []
    before = [(registry, dict(registry)) for registry in (METHODS, NETWORKS)]
    doctest.DocTestRunner(Shown(), optionflags=doctest.ELLIPSIS).run(example, out=said.append, clear_globs=False)
    for registry, was in before:  # an example may have added to it
        registry.clear(), registry.update(was)
    assert not said, "".join(said)


def test_reprs_are_short():
    scene = load_scene("synthetic_urban_small")
    split = split_of(scene, "random")
    run = plan(scene.name, "random", "mlp")[0]
    inputs = hsilib.make_inputs(scene, split, "bands")
    assert repr(scene) == "Scene('synthetic_urban_small', 64 x 48 pixels, 103 bands, 9 classes)"
    assert all(len(repr(thing)) < 100 for thing in (scene, split, run, inputs))
    assert re.fullmatch(r"Run\([0-9a-f]{12}: mlp · synthetic_urban_small · random · seed 0\)", repr(run))


def arrays(name="arrays", seed=0):
    """A scene that somebody made of arrays."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (24, 20)).astype(np.uint8)
    cube = rng.normal(size=(24, 20, 30)).astype(np.float32) + labels[..., None]
    return Scene(name, "Arrays", cube, labels, ("a", "b"))


def test_a_scene_from_arrays_is_planned_trained_and_found_again():
    scene = arrays()
    rows = collect(plan(scene, "random", "mlp", seeds=1, epochs=3), say=lambda text: None)
    assert rows["scene"].tolist() == ["arrays"] and rows["oa"][0] > 60
    again = load_scene("arrays")
    assert np.array_equal(again.cube, scene.cube) and again.classes == scene.classes
    other = plan(arrays(seed=1), "random", "mlp", seeds=1, epochs=3)[0]
    assert other.id != rows["run"][0], "other values are another scene"


def test_a_scene_from_arrays_takes_no_name_of_another():
    with pytest.raises(HsiError, match="taken; give the scene from arrays another name"):
        plan(arrays("synthetic_urban_small"), "random", "mlp")


def test_a_scene_and_maps_beside_it_are_drawn(tmp_path):
    scene = load_scene("synthetic_urban_small")
    figure = scene.plot(scene.labels, titles=["again"])
    assert [ax.get_title() for ax in figure.axes] == ["false colour", "ground truth", "again"]
    assert len(arrays().plot().axes) == 2


def test_a_network_of_ones_own_is_exported_and_gives_the_same_map(tmp_path):
    pytest.importorskip("onnxruntime")
    scene = load_scene("synthetic_urban_small")
    split = split_of(scene, "disjoint")
    inputs = hsilib.make_inputs(scene, split, "bands")
    net = hsilib.initialise(hsilib.MLP(scene.bands, 9), seed=0)
    hsilib.fit(net, hsilib.training_set(inputs, split), hsilib.Recipe(epochs=2), seed=0)
    hsilib.export(net, tmp_path / "mlp.onnx", scene, inputs)
    labels = hsilib.scene_scores(net, inputs).argmax(1).reshape(scene.labels.shape) + 1
    assert (hsilib.predict(tmp_path / "mlp.onnx", scene.cube)[0] == labels).mean() > 0.999
    with pytest.raises(HsiError, match="with its scene and inputs"):
        hsilib.export(net, tmp_path / "mlp.onnx")


def contributed(folder, change=None):
    """A store of one run, changed."""
    store = Store(folder)
    collect(plan("synthetic_urban_small", "random", "mlp", seeds=1, epochs=2), store, say=lambda text: None)
    path = next(folder.glob("*/run.json"))
    about = json.loads(path.read_text())
    for name, value in (change or {}).items():
        about["measured" if name in about["measured"] else "row"][name] = value
    path.write_text(json.dumps(about))
    return folder


def test_contributed_rows_that_are_right_pass(tmp_path, capsys):
    assert main(["results", "--check", str(contributed(tmp_path / "theirs"))]) == 0
    assert "1 runs: identities, accuracies and counts of pixels are confirmed" in capsys.readouterr().out


WRONG = {"number": ({"oa": 99.0}, "oa is 99.0, its map gives"),
         "pixels": ({"train": 1}, "train is 1, its split gives"),
         "identity": ({"lr": 0.5}, "its identity is"),
         "seed": ({"seed": 7}, "its identity is"),
         "version": ({"version": "2"}, "the code of mlp is another: version 2, here it is 1"),
         "code": ({"code": "1-0123abcd"}, "the code of mlp is another: version 1-0123abcd, here it is 1-"),
         "classes": ({"aa30": 99.0}, "aa30 is 99.0, its map gives"),
         "method": ({"method": "nowhere"}, "unknown method 'nowhere'")}


@pytest.mark.parametrize("change, says", WRONG.values(), ids=WRONG)
def test_contributed_rows_that_are_wrong_are_refused_in_one_line(change, says, tmp_path, capsys):
    folder = contributed(tmp_path / "theirs", change)
    assert main(["results", "--check", str(folder)]) == 2
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len([line for line in lines if line.startswith("refused:")]) == 1 and says in said.out
    assert "error: 1 of 1 runs were refused" in said.err


def test_a_contributed_row_without_its_map_or_whole_is_refused(tmp_path, capsys):
    folder = contributed(tmp_path / "theirs", {"oa": "many"})
    assert main(["results", "--check", str(folder)]) == 2
    assert "it counts no more" in capsys.readouterr().out
    theirs = contributed(tmp_path / "good")
    other = theirs / ("0" * 12)  # beside a good one
    other.mkdir()
    (other / "run.json").write_text("{")
    assert main(["results", "--check", str(theirs)]) == 2
    assert "1 of 2 runs were refused" in capsys.readouterr().err
    bare = contributed(tmp_path / "bare")
    next(bare.glob("*/map.png")).unlink()
    assert main(["results", "--check", str(bare)]) == 2 and "its map is missing" in capsys.readouterr().out


def test_published_rows_are_fetched_from_a_checkout_or_an_archive(tmp_path, monkeypatch, capsys):
    theirs = contributed(tmp_path / "checkout" / "book" / "results")
    monkeypatch.delenv("HSILIB_PUBLISHED")
    monkeypatch.setenv("HSILIB_PROJECT", str(tmp_path / "nothing"))
    archive = shutil.make_archive(str(tmp_path / "release"), "zip", tmp_path / "checkout")
    for source in (tmp_path / "checkout", archive):
        shutil.rmtree(own_folder(), ignore_errors=True)
        assert published() is None
        assert main(["results", "--fetch", str(source)]) == 0
        assert published() == own_folder() / "published"
        assert len(Store(published()).rows()) == len(Store(theirs).rows()) == 1
    assert main(["results", "--fetch", str(tmp_path / "nowhere")]) == 2
    assert "no archive that can be read" in capsys.readouterr().err


def test_the_command_line_starts_without_the_heavy_libraries():
    """So it answers at once; what a command needs is loaded when it runs."""
    heavy = {"torch", "numpy", "pandas", "scipy", "matplotlib", "jupytext"}
    code = f"import sys; from hsilib.__main__ import parser; parser(); print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stdout + done.stderr
