"""Exported files against the networks they hold, alone in another folder, and damaged."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
import torch
from bench.engines import network
from hsilib.__main__ import main
from hsilib.data.cards import CLASSES, read_png
from hsilib.data.formats import of_array
from hsilib.data.scenes import load_scene
from hsilib.data.splits import split_of
from hsilib.deploy import contract, zoo
from hsilib.deploy import export as deploy
from hsilib.deploy import predict as predict_module
from hsilib.deploy.c99 import export_c
from hsilib.deploy.maps import write_map
from hsilib.deploy.predict import predict, predict_image, session
from hsilib.deploy.trace import traced
from hsilib.errors import HsiError
from hsilib.files import project
from hsilib.methods.quantize.integer import calibrate, convert, fold_batch_norm
from hsilib.methods.task import Task
from hsilib.models.evaluate import scene_scores
from hsilib.models.measure import payload
from hsilib.study.execute import trained
from hsilib.study.runs import make_run
from hsilib.study.store import Store

from conftest import WARNINGS, worn

SMALL = "synthetic_urban_small"


@pytest.fixture
def setting():
    scene = load_scene(SMALL)
    task = Task(make_run(SMALL, "random", "cnn2d", epochs=1), scene, split_of(scene, "random"))
    net = worn(classes=9, widths=(15, 30, 30))
    folded = fold_batch_norm(net)
    grids = calibrate(folded, task.balanced(net, 100, torch.Generator().manual_seed(0)))
    return (scene, task.inputs("patches"), {"fp32": net, "static": convert(folded, grids), "dynamic": convert(folded)})


@pytest.mark.parametrize("form", ["fp32", "static", "dynamic"])
def test_the_engine_computes_what_the_network_does(setting, form):
    scene, inputs, nets = setting
    ours = scene_scores(nets[form], inputs)
    opened = session(traced(nets[form], inputs.reduction, scene.classes))
    labels, scores = opened.run(["map", "scores"], {"cube": scene.cube})
    scores = scores.reshape(9, -1).T
    assert labels.shape == scene.labels.shape and labels.dtype == np.uint8
    assert np.array_equal(labels.ravel(), scores.argmax(1) + 1)
    assert (labels.ravel() == ours.argmax(1) + 1).mean() >= 0.999
    step = 0.05 * np.abs(ours).max()  # a rounding that falls on the other side, carried through the layers
    assert np.abs(scores - ours).max() < (1e-4 if form == "fp32" else step)


def test_integer_layers_run_as_integers(setting):
    """The engine has fused them: no convolution in 32-bit floats is left but that of the last layer."""
    import onnxruntime

    scene, inputs, nets = setting
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = "optimised.onnx"
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    made = traced(nets["static"], inputs.reduction, scene.classes)
    onnxruntime.InferenceSession(made, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load("optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 3 and kinds.count("Conv") <= 1


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


ALONE = """
import sys

class Refuse:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("torch", "hsilib", "scipy", "sklearn", "pandas", "onnx"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import json, numpy, onnxruntime
opened = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
labels = opened.run(["map"], {"cube": numpy.load("cube.npy")})[0]
print(json.loads(opened.get_modelmeta().custom_metadata_map["classes"])[labels[5, 7] - 1])
numpy.save("labels.npy", labels)
"""


def test_an_exported_file_alone_reproduces_the_map(tmp_path, capsys):
    arguments = ["static", "--ratio", "98", "--scene", SMALL, "--split", "random", "--epochs", "2"]
    other = tmp_path / "elsewhere"
    other.mkdir()
    assert main(["export", *arguments, "--output", str(other / "model.onnx")]) == 0
    assert main(["map", *arguments, "--output", "ours"]) == 0
    scene = load_scene(SMALL)
    np.save(other / "cube.npy", scene.cube)
    done = subprocess.run([sys.executable, "-I", "-c", ALONE], cwd=other, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours, theirs = np.load("ours.npy"), np.load(other / "labels.npy")
    assert (ours == theirs).mean() >= 0.999
    assert done.stdout.strip() == scene.classes[theirs[5, 7] - 1]
    capsys.readouterr()
    assert main(["predict", str(other / "model.onnx"), SMALL, "--output", "again"]) == 0
    assert np.array_equal(read_png("again.png"), theirs) and np.array_equal(np.load("again.npy"), theirs)
    assert scene.classes[0] in capsys.readouterr().out


def test_mistakes_end_in_one_line(setting, tmp_path, capsys, monkeypatch):
    scene, inputs, nets = setting
    whole = traced(nets["static"], inputs.reduction, scene.classes, model="a model")
    (tmp_path / "good.onnx").write_bytes(whole)
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bare.onnx").write_bytes(network(nets["static"]))
    np.save("empty.npy", scene.cube[:0])
    np.save("narrow.npy", scene.cube[:, :, :20])
    np.save("hole.npy", np.where(np.arange(scene.cube.shape[0])[:, None, None] == 3, np.nan, scene.cube))
    for arguments, message in (
        (["good.onnx", "narrow.npy"], "takes (rows, columns, 103), the scene is 64 x 48 x 20"),
        (["good.onnx", "hole.npy"], "NaN or infinite"),
        (["good.onnx", "empty.npy"], "it is empty"),
        (["good.onnx", "missing.npy"], "missing.npy: no such file"),
        (["cut.onnx", SMALL], "cut.onnx: not an ONNX file that can be run, or cut off"),
        (["bare.onnx", SMALL], "not written by `hsilib export`"),
        (["none.onnx", SMALL], "No such file"),
        (["good.onnx", "indian_pine"], "unknown scene 'indian_pine'; did you mean"),
    ):
        assert main(["predict", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and message in error, error
    monkeypatch.setattr(deploy, "trained", None)  # refused before anything is trained
    with pytest.raises(HsiError, match="svm cannot be exported"):
        deploy.export(make_run(SMALL, "random", "svm", epochs=1), "x.onnx")
    with pytest.raises(HsiError, match="is a folder"):
        deploy.export(make_run(SMALL, "random", "cnn2d", epochs=1), tmp_path)


MODELS = sorted((project() / "book" / "models").glob("*.onnx"))


def test_every_model_of_the_zoo_has_a_file_and_a_card_that_is_true():
    rows = Store(project() / "book" / "results").rows().set_index("run")
    assert {path.stem for path in MODELS} == set(zoo.entries())
    for name, entry in zoo.entries().items():
        card = json.loads((zoo.FOLDER / f"{name}.json").read_text())
        row, data = rows.loc[zoo.run_of(entry).id], predict_module.path_of(f"zoo:{name}").read_bytes()
        assert card["run"] == row.name and card["why"] == entry["why"]
        assert card["sha256"] == hashlib.sha256(data).hexdigest() and card["file"] == len(data)
        said = "oa", "aa30", "aa", "small", "payload", "macs"
        assert [card[key] for key in said] == row[list(said)].tolist()
        assert card["pixels that differ from the stored map"] <= 20
        about = {p.key: json.loads(p.value) for p in onnx.load_from_string(data).metadata_props}
        assert {key: about[key] for key in card["asks"]} == card["asks"] and about["run"] == card["run"]
    with pytest.raises(HsiError, match="unknown model 'lens'") as error:
        predict_module.path_of("zoo:lens")
    assert "\n" not in str(error.value) and predict_module.path_of("net.onnx") == Path("net.onnx")


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_a_model_to_download_draws_the_stored_map(path, real_data):
    said = {p.key: json.loads(p.value) for p in onnx.load(path).metadata_props}
    stored = Store(project() / "book" / "results").read_map(said["run"])
    assert (predict(path, load_scene(said["scene"]).cube)[0] == stored).mean() > 0.999


def run_of(name, ratio=0):
    """A run of a method, or of its network in whole numbers."""
    name, _, of = name.partition(" ")
    return make_run(SMALL, "disjoint", name, ratio, epochs=1, options={"of": of} if of else {})


@pytest.mark.parametrize("name", ["mlp", "lstm", "liunet", "lens", "static cnn1d", "static ghost_lens"])
def test_any_network_of_bands_and_any_with_a_dense_form_is_exported_from_raw_spectra(name, tmp_path, shared):
    run = run_of(name)
    deploy.export(run, tmp_path / "net.onnx")
    scene = load_scene(SMALL)
    labels, metadata = predict(tmp_path / "net.onnx", scene.cube)
    assert (labels == Store().read_map(run.id)).mean() > 0.999 and metadata["bands"] == 103
    part, _ = predict(tmp_path / "net.onnx", scene.cube[:30, :20])  # any size
    inside = np.s_[:20, :10]
    assert part.shape == (30, 20) and (part[inside] == labels[inside]).mean() > 0.999


@pytest.mark.parametrize("form", ["onnx", "c"])
def test_filtered_scores_of_a_network_of_spectra_are_refused_in_one_line(form, tmp_path, shared, capsys):
    words = ["-o", "of", "mlp", "--scene", SMALL, "--epochs", "1", "--format", form, "--output", f"net.{form}"]
    assert main(["export", "filtered", *words]) == 2 and not Path(f"net.{form}").exists()
    error = capsys.readouterr().err
    assert error.startswith("error: filtered cannot be exported: filtered scores of a network of spectra have no graph")
    assert error.count("\n") == 1


def test_a_first_layer_is_stored_in_bytes_and_the_raw_values_are_not_rounded(tmp_path, shared):
    run = run_of("static lens")
    size = deploy.export(run, tmp_path / "net.onnx")
    small = trained(run)
    constants = [node.attribute[0].t for node in onnx.load(tmp_path / "net.onnx").graph.node if node.op_type == "Constant"]
    weights = next(t for t in constants if list(t.dims) == [103, 22])
    assert weights.data_type == onnx.TensorProto.INT8
    assert payload(small, 103) < size < payload(small, 103) + 16_000  # the graph itself, and the names of the classes


def test_a_scene_of_another_scale_or_of_other_bands_is_refused_in_one_line(tmp_path, shared):
    """A file says what it learnt: sixteen bits are not eight, reflectances are no counts."""
    deploy.export(run_of("perceptron"), tmp_path / "net.onnx")
    cube = load_scene(SMALL).cube
    span = cube.max() - cube.min()
    assert predict(tmp_path / "net.onnx", cube * 0.8 + 0.1 * span)[0].shape == cube.shape[:2]
    for other in (cube * 256, cube / cube.max() * span / 40, cube + 3 * span):
        with pytest.raises(HsiError, match="net.onnx was made for values of another scale: the scene has") as error:
            predict(tmp_path / "net.onnx", other)
        assert "\n" not in str(error.value)
    image, learnt = of_array(cube, "it"), {"wavelengths": list(range(400, 503))}
    contract.hold("net.onnx", learnt, image)  # not known
    contract.hold("net.onnx", learnt, replace(image, waves=tuple(range(402, 505))))
    with pytest.raises(HsiError, match="made for other bands: band 1 lies at 420 nm, it learnt one at 400"):
        contract.hold("net.onnx", learnt, replace(image, waves=tuple(range(420, 523))))


# ------------------------------------------------------------------------------------- strips, places, memory


def narrow(bands=12, classes=4, seed=0):
    """A classifier of raw spectra small enough to run on a large scene."""
    net = worn(bands=5, classes=classes, widths=(6, 6, 6), seed=seed)
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(bands, 5)).astype(np.float32) / 40
    reduction = np.full(bands, 128, np.float32), weight, np.zeros(5, np.float32)
    with torch.no_grad():
        net.fc2.bias.zero_()
        net.fc2.weight.mul_(5)
    return traced(net, reduction, "abcd", model="narrow")


@pytest.mark.parametrize("attack, says", [
    ("loop", "operator 'Loop' is not one of those"), ("outside", "its weights lie in another file"),
    ("bomb", "cannot be run|its map is not"), ("lie", "its map is not that of the scores"),
    ("classes", "classes must be a list, each a text"), ("huge", "a tensor is larger than such a file"),
])
def test_a_file_from_somebody_else_is_held_to_what_it_promises(attack, says, tmp_path):
    model = onnx.load_from_string(narrow())
    nodes, weights = model.graph.node, model.graph.initializer
    chosen = next(node for node in nodes if node.op_type == "ArgMax")
    held = {node.output[0]: node.attribute[0].t for node in nodes if node.op_type == "Constant"}
    if attack == "loop":
        chosen.op_type = "Loop"
    elif attack == "outside":
        weights[0].data_location = onnx.TensorProto.EXTERNAL
    elif attack == "bomb":  # a margin of a hundred thousand pixels
        margins = next(one for one in held.values() if list(one.dims) == [6])
        margins.raw_data = np.array([0, 0, 10**5, 10**5, 10**5, 10**5]).tobytes()
    elif attack == "lie":
        (last,) = (node for node in nodes if node.op_type == "Add" and chosen.output[0] in node.input)
        held[last.input[1]].raw_data = np.array(2).tobytes()
    elif attack == "classes":
        next(prop for prop in model.metadata_props if prop.key == "classes").value = '["<img src=x>", "b", "c", "d"]'
    else:
        weights[0].dims[:] = [2**40]
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(HsiError, match=says) as told:
        predict(tmp_path / "net.onnx", np.ones((5, 6, 12), np.float32))
    assert "\n" not in str(told.value)


def test_the_map_of_strips_is_the_map_of_the_whole(tmp_path, monkeypatch):
    (tmp_path / "m.onnx").write_bytes(narrow())
    cube = np.random.default_rng(1).integers(0, 256, (150, 31, 12)).astype(np.uint8)
    whole = session((tmp_path / "m.onnx").read_bytes()).run(["map"], {"cube": cube.astype(np.float32)})[0]
    told = []
    monkeypatch.setattr(predict_module, "STRIP", 1)
    labels, sure, _ = predict_image(tmp_path / "m.onnx", of_array(cube, "x"), lambda done, rows: told.append(done))
    assert (labels == whole).all() and np.bincount(whole.ravel()).max() < 0.95 * whole.size
    assert told == [36, 72, 108, 144, 150] and 0.25 < sure.min() <= sure.max() <= 1


def test_pixels_without_data_get_no_class_and_change_no_other(tmp_path):
    (tmp_path / "m.onnx").write_bytes(narrow())
    cube = np.random.default_rng(1).integers(0, 256, (40, 30, 12)).astype(np.float32)
    cube[:, :12] = -99
    image = replace(of_array(cube, "x"), nodata=-99)
    labels, sure, _ = predict_image(tmp_path / "m.onnx", image)
    assert not labels[:, :12].any() and not sure[:, :12].any() and labels[:, 12:].all()
    cube[:, :12] = cube[:, 12:].reshape(-1, 12).mean(0)
    assert (predict(tmp_path / "m.onnx", cube)[0][:, 12:] == labels[:, 12:]).all()


def test_a_map_with_a_place_is_a_geotiff_that_gdal_reads_back(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    labels = np.random.default_rng(0).integers(0, 5, (20, 30)).astype(np.uint8)
    transform = (30.0, 0.0, 383472.37, 0.0, -30.0, 5818302.35)
    files = write_map(tmp_path / "m", labels, labels / 4, ["a", "b & c", "d", "e"], "EPSG:32633", transform)
    assert [Path(file).name for file in files] == ["m.png", "m.npy", "m.tif", "m-confidence.tif"]
    with rasterio.open(tmp_path / "m.tif") as file:
        assert (file.read(1) == labels).all() and file.nodata == 0 and file.crs.to_epsg() == 32633
        assert tuple(file.transform)[:6] == transform and file.colormap(1)[2][:3] == CLASSES[2]
        assert file.tags(1)["CLASS_2"] == "b & c"
    with rasterio.open(tmp_path / "m-confidence.tif") as file:
        assert np.allclose(file.read(1), labels / 4) and tuple(file.bounds)[0] == 383472.37
    names = ElementTree.parse(tmp_path / "m.tif.aux.xml").getroot().iter("Category")
    assert [name.text for name in names] == ["none", "a", "b & c", "d", "e"]


def peak(arguments, **environment):
    """Run a command; return the most memory it held, in bytes, as the operating system counts it."""
    code = "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024); sys.exit(done.returncode)"
    command = [sys.executable, "-c", code, sys.executable, "-m", "hsilib", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does")
def test_a_large_scene_is_mapped_in_less_memory_than_it_has(tmp_path):
    """2,000 x 2,000 pixels of 100 bands are 1.6 GB of floats: learnt from, mapped and classified under 1 GB."""
    side, bands = 2000, 100
    cube = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.uint8, (side, side, bands))
    rows = np.arange(side)[:, None] // 500 * 40
    for band in range(bands):
        cube[..., band] = rows + (np.arange(side) * (band + 3)) % 61
    del cube
    labels = np.zeros((side, side), np.uint8)
    labels[::500, :200], labels[499::500, :200] = 1, 2
    np.save(tmp_path / "labels.npy", labels)
    (tmp_path / "m.onnx").write_bytes(narrow(bands))
    files = [tmp_path / "large.npy", tmp_path / "labels.npy"]
    assert peak(["scenes", "--add", "large", *files]) < 1e9
    assert peak(["predict", tmp_path / "m.onnx", "large", "--output", tmp_path / "p"]) < 1e9
    assert (np.load(tmp_path / "p.npy") > 0).all()
    arguments = ["map", "mlp", "--scene", "large", "--split", "random", "--epochs", 1, "--output", tmp_path / "q"]
    assert peak(arguments) < 1e9
    assert np.load(tmp_path / "q.npy").shape == (side, side)


# ------------------------------------------------------------------------------------------------------- C


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize(
    "name, ratio, tile",
    [("lens", 0, (1, 2)), pytest.param("static", 98, (2, 3), marks=pytest.mark.nightly)],
)
def test_c_in_floats_gives_the_classes_of_onnxruntime(name, ratio, tile, tmp_path, shared):
    pytest.importorskip("emx_onnx_cgen")
    run = run_of(name, ratio)
    report = export_c(run, tmp_path / "net.c", tile)
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", "-O2", *report["files"], "-o", "check", "-lm"], check=True)
    done = subprocess.run(["./check"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == f"0 of {tile[0] * tile[1]} pixels differ\n"
    assert report["flash"] > 3000 and report["arithmetic"].startswith("floats (")


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize("name, ratio", [("static lens", 0), ("static projected", 98)])
def test_c_in_whole_numbers_is_streamed(name, ratio, tmp_path, shared, capsys):
    """From the command line: values that are no whole numbers are given times a power of two."""
    run, (method, _, of) = run_of(name, ratio), name.partition(" ")
    trained(run)
    words = ["--ratio", str(ratio)] if ratio else []
    words += ["-o", "of", of, "--scene", SMALL, "--epochs", "1", "--format", "c", "--output", "net.c"]
    assert main(["export", method, *words]) == 0
    said = capsys.readouterr().out
    assert "whole numbers" in said and "a line of spectra in, a line of classes out; strips of 48 columns" in said
    subprocess.run(["gcc", *WARNINGS, "-O2", "net.c", "net_test.c", "-o", "check"], check=True)
    assert subprocess.run(["./check"], capture_output=True, text=True).stdout == "0 of 480 pixels differ\n"
    assert "#define NET_GAIN 1024" in Path("net.h").read_text()


@pytest.mark.parametrize(
    "path, tile, says",
    [("net.onnx", (1, 4), "name the file NAME.c"), ("my-net.c", (1, 4), "functions in C may begin with"),
     ("net.c", (1, 400), "1 to 48 columns")],
)
def test_a_mistake_in_asking_for_c_is_one_line(path, tile, says, tmp_path):
    pytest.importorskip("emx_onnx_cgen")
    with pytest.raises(HsiError, match=says) as error:
        export_c(make_run(SMALL, "disjoint", "mlp", epochs=1), tmp_path / path, tile)
    assert "\n" not in str(error.value)
