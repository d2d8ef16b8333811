"""What a clever and ill-meaning person types or sends: one line each, and nothing is lost."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from hsilib.__main__ import main
from hsilib.data import formats, own, scenes
from hsilib.data.cards import png
from hsilib.deploy.predict import predict
from hsilib.deploy.trace import traced
from hsilib.errors import HsiError
from hsilib.files import write_atomically
from hsilib.study.runs import declared, make_run
from hsilib.study.store import Store
from hsilib.study.sweep import collect

from conftest import worn
from test_formats import CUBE, geotiff, own_scene, polygons

SMALL = "synthetic_urban_small"


def one_line(arguments, capsys, code=2):
    capsys.readouterr()
    assert main([str(word) for word in arguments]) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and len(err) < 900, err
    return err


def model(**more):
    onnx = pytest.importorskip("onnx")
    rng, net = np.random.default_rng(0), worn(bands=4, classes=3, widths=(4, 6, 8), batch_norm=False)
    reduction = rng.normal(size=9), rng.normal(size=(9, 4)), rng.normal(size=4)
    return onnx, onnx.load_from_string(traced(net, reduction, ["a", "b", "c"], model="m", **more))


def test_a_second_graph_or_a_sparse_tensor_hides_nothing(tmp_path):
    """Protocol Buffers merge a field that comes twice: an engine would see what was not looked at."""
    onnx, whole = model()
    hidden = onnx.ModelProto(graph=onnx.GraphProto(node=[onnx.helper.make_node("RandomNormal", [], ["x"], shape=[1])]))
    graph, plain = hidden.graph.SerializeToString(), whole.SerializeToString()
    odd = b"\xba\x80\x80\x80\x10" + bytes([len(graph)]) + graph  # field 7 with bits that an engine drops
    attribute = onnx.AttributeProto(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.dims.extend([15000, 15000])
    whole.graph.node.add(op_type="Constant", output=["z"]).attribute.append(attribute)
    random = "operator 'RandomNormal' is not one of those"
    for data, says in (
        (hidden.SerializeToString() + plain, random), (odd + plain, f"{random}|not an ONNX file"),
        (whole.SerializeToString(), "it has sparse tensors"),
    ):
        (tmp_path / "a.onnx").write_bytes(data)
        with pytest.raises(HsiError, match=says):
            predict(tmp_path / "a.onnx", np.zeros((3, 4, 9), np.float32))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and devices")
def test_pipes_and_devices_do_not_hang(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    for arguments in (
        ["predict", tmp_path / "pipe", SMALL], ["predict", "/dev/zero", SMALL], ["study", tmp_path / "pipe", "--list"],
        ["map", "foo", "--page", tmp_path / "pipe"], ["study", "/dev/zero", "--list"],
    ):
        assert "no file" in one_line(arguments, capsys)


def test_a_small_file_of_very_many_values_is_refused_before_it_is_unpacked(tmp_path, capsys, monkeypatch):
    scipy.io.savemat(tmp_path / "cube.mat", {"cube": np.zeros((200, 300, 40), np.uint8)}, do_compression=True)
    np.savez_compressed(tmp_path / "cube.npz", np.zeros((200, 300, 40), np.uint8))
    monkeypatch.setattr(formats, "LARGE", 2_000_000)
    np.save(tmp_path / "labels.npy", np.ones((200, 300), np.uint8))
    for name in ("cube.mat", "cube.npz"):
        said = one_line(["scenes", "--add", "empty", tmp_path / name, tmp_path / "labels.npy"], capsys)
        assert "has 2,400,000 values, too many for its bytes" in said


def test_weights_whose_configuration_asks_for_more_take_no_memory(monkeypatch):
    from hsilib.models.networks import CNN2D, NETWORKS
    from hsilib.study import execute
    from safetensors.torch import save

    run = make_run(SMALL, "disjoint", "scratch", 98, epochs=1)
    state, built = {k: v.contiguous() for k, v in CNN2D(40, 9, (5, 10, 10)).state_dict().items()}, []

    def huge(**config):
        built.append(torch.empty(0).device.type)
        return CNN2D(**config)

    monkeypatch.setitem(NETWORKS, "CNN2D", huge)
    about = {"network": "CNN2D", "config": dict(bands=40, classes=9, widths=[300] * 3), "run": asdict(run)}
    about["digest"] = execute._digest(state)
    write_atomically(execute.weights_path(run), save(state, {"hsilib": json.dumps(about)}))
    with pytest.raises(HsiError, match="weights of another size than its configuration says"):
        execute.trained(run)
    assert built == ["meta"]


def test_another_store_brings_no_map_of_another_scene(tmp_path, capsys):
    other, run = Store(tmp_path / "other"), make_run(SMALL, "random", "mlp", epochs=1)
    collect([run], other, say=lambda text: None)
    merge = ["results", "--merge", str(tmp_path / "other")]
    for labels in (np.ones((3, 2), np.uint8), np.full((64, 48), 200, np.uint8)):
        other.map_path(run.id).write_bytes(png(labels))
        assert "1 runs were refused" in one_line(merge, capsys)
    other.map_path(run.id).write_bytes(png(np.ones((64, 48), np.uint8)))
    log = tmp_path / "other" / run.id / "log.csv"
    log.rename(tmp_path / "log.csv")
    log.symlink_to(tmp_path / "log.csv")
    assert main(merge) == 2 and "a link out of its folder lies beside it" in capsys.readouterr().out
    log.unlink()
    log.write_text("garbage")
    assert "1 runs were refused" in one_line(merge, capsys)
    log.unlink()
    (tmp_path / "other" / "linked.csv").symlink_to(__file__)
    assert "linked.csv: a link out of the store" in one_line(merge, capsys)
    (tmp_path / "other" / "linked.csv").unlink()
    assert main(merge) == 0
    Store().map_path(run.id).write_bytes(png(np.ones((3, 2), np.uint8)))
    words = ["map", "mlp", "--scene", SMALL, "--split", "random", "--epochs", 1]
    assert "no map of synthetic_urban_small" in one_line(words, capsys)


def test_to_forget_a_scene_deletes_no_other_file(tmp_path, capsys):
    kept = [tmp_path / "victim.scene.json", tmp_path / "victim.keep.npy"]
    for path in kept:
        path.write_text("{}")
    os.makedirs(tmp_path / "own", exist_ok=True)
    for name in ("../victim", str(tmp_path / "victim")):
        assert "unknown scene of your own" in one_line(["scenes", "--remove", name], capsys)
    assert all(path.exists() for path in kept)


def test_a_scene_that_is_refused_leaves_the_one_that_is_there(tmp_path, capsys):
    pytest.importorskip("pyogrio")
    cube = geotiff(tmp_path / "c.tif", CUBE)
    shapes = polygons(tmp_path / "f.geojson", ["oats"])
    own.add_scene("mine", cube, shapes, say=lambda text: None)
    before = {path.name: path.read_bytes() for path in (tmp_path / "own").iterdir()}
    for name in ("mine", "other"):
        words = ["scenes", "--add", name, cube, shapes, "--nodata", "inf"]
        assert "nodata must be a number" in one_line(words, capsys)
    one_line(["scenes", "--add", "other", cube, polygons(tmp_path / "g.geojson", [["a", "b"]])], capsys)
    assert {path.name: path.read_bytes() for path in (tmp_path / "own").iterdir()} == before
    assert scenes.load_scene("mine").labels.max() == 1


def test_odd_words_are_one_line(tmp_path, capsys, monkeypatch):
    for value in ("{[]: 1}", "[" + "-" * 20000 + "1]", "0x" + "f" * 5000):
        one_line(["map", "mlp", "--scene", SMALL, "--epochs", "1", "-o", "width", value], capsys)
    (tmp_path / "page.py").write_text("import sys\nsys.exit(0)\n@method('a', 'a', 'A')\ndef a(task):\n    ...\n")
    assert "SystemExit" in one_line(["map", "foo", "--page", tmp_path / "page.py"], capsys)
    (tmp_path / "bad.md").write_bytes(b"---\njupytext: x\n---\n\xff\xfe")
    one_line(["run", tmp_path / "bad.md", "--list"], capsys)
    part = f'title = "x"\nscenes = ["{SMALL}"]\nsplits = ["random"]\nmethods = ["mlp"]\nseeds = 1\n'
    (tmp_path / "study.toml").write_text(f"[[part]]\n{part}")
    assert "like tcp://host:8786" in one_line(["study", tmp_path / "study.toml", "--on", "garbage"], capsys)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HSILIB_RESULTS", str(tmp_path / "file"))
    assert "no folder, which a store is" in one_line(["results"], capsys)


@pytest.mark.parametrize(
    "text, says",
    [
        ("{part}seeds = 10000\n", "more than 50,000 runs"), ("a" + ".a" * 60000 + " = 1\n", "a line is longer"),
        (f"{{part}}seeds = 1\nepochs = 0x{'f' * 5000}\n", "epochs must be"),
    ],
    ids=["runs", "line", "number"],
)
def test_a_study_that_would_plan_for_hours_is_refused(tmp_path, text, says):
    part = f'[[part]]\ntitle = "x"\nscenes = ["{SMALL}"]\nsplits = ["random"]\nmethods = ["offline"]\nratios = [90, 95, 98]\n'
    (tmp_path / "study.toml").write_text(text.replace("{part}", part))
    with pytest.raises(HsiError, match=says):
        declared(tmp_path / "study.toml")


def test_names_are_texts_of_one_line(tmp_path):
    own_scene(tmp_path, classes=["\ud800x {a}", "a\u202eb\n<b>"], title="=1+1 [t](http://u)")
    scene = scenes.load_scene("mine")
    assert scene.classes == ("x (a)", "ab \u2039b\u203a") and scene.title == "'=1+1 (t)(http://u)"
    with pytest.raises(HsiError, match="two classes are called"):
        own_scene(tmp_path, classes=["a{", "a("])


@pytest.mark.nightly
@pytest.mark.skipif(os.name == "nt", reason="it needs fork")
def test_damaged_inputs_are_refused_in_one_line_or_read_rightly():
    """A few for each reader; ``make fuzz`` tries many."""
    for package in ("rasterio", "h5py", "pyogrio", "onnx", "onnxruntime"):
        pytest.importorskip(package)
    command = [sys.executable, Path(__file__).with_name("fuzz.py"), "4", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "inputs, 0 not read as they must be" in done.stdout
