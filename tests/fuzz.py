"""Damaged inputs: each reader is given mutations of good files, and refuses each in one line or reads it rightly.

The suite tries a few of each (test_hostile.py).  ``make fuzz`` tries many, with a fresh seed that it tells:
``python tests/fuzz.py [how many of each] [seed] [reader ...]``.
"""

import contextlib
import io
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import torch
from hsilib.data import cards, imagesets, own, registry, scenes, told
from hsilib.deploy.predict import predict
from hsilib.errors import HsiError
from hsilib.models.networks import MLP, initialise
from hsilib.study import execute
from hsilib.study.runs import declared, make_run
from hsilib.study.store import Store
from PIL import Image

import test_formats
import test_hostile

SECONDS, MOST = 20, 2e9  # of one input, and bytes of memory more than before
BOOK, SMALL, RUN = Path(__file__).parents[1] / "book", "synthetic_urban_small", "0123456789ab"

ODD = ["null", "true", "-1", "0", "1", "65536", "1e999", "-1e999", "NaN", "1" * 400, '""', '"x"', "[]", "[[]]", "{}", "2.5"]
ODD += ['"../x"', '"<img src=x onerror=alert(1)>"', '["a", "a"]', '"\\u0000"', "1e-320", "[" * 5000, f'"{"x" * 9000}"']
WORDS = [b"-1", b"0", b"1e999", b"nan", b"9" * 20, b"\0", b",", b"\n", b'"', b"\xff\xfe", b"x" * 9000, b"{", b"[", b"<b>"]
OPERATORS = ("Loop", "If", "Scan", "Expand", "Tile", "Conv", "Pad", "Relu", "Identity", "RandomNormalLike", "Exp")


# --------------------------------------------------------------------------------------------- mutations


def bytes_of(draw, data):
    """Change, drop, repeat or put in some bytes, anywhere or where headers lie, or cut the file there."""
    start = draw.randrange(min(len(data), draw.choice((200, 1 << 40))))
    part = data[start : start + draw.choice((1, 2, 4, 8, 64, 1024))]
    new = [b"", part * 51, bytes(len(part)), b"\xff" * len(part), draw.choice(WORDS), bytes([draw.randrange(256)]) + part[1:]]
    cut = draw.random() < 0.12
    return data[:start] if cut else data[:start] + draw.choice(new) + data[start + len(part) :]


def text_of(draw, data):
    """Put an odd value in place of a number or a word of a text."""
    found = list(re.finditer(rb"[-+.\w]+", data))
    if not found or draw.random() < 0.3:
        return bytes_of(draw, data)
    one = draw.choice(found)
    return data[: one.start()] + draw.choice([*WORDS, *(text.encode() for text in ODD)]) + data[one.end() :]


def json_of(draw, data):
    """Put an odd value somewhere in a JSON text, or take something out of it."""
    if draw.random() < 0.2:
        return bytes_of(draw, data)
    table, places = json.loads(data), []

    def walk(part):
        for key in part if isinstance(part, dict) else range(len(part)):
            places.append((part, key))
            if isinstance(part[key], (dict, list)):
                walk(part[key])

    walk(table)
    part, key = draw.choice(places)
    part[key] = "@odd@"
    if draw.random() < 0.2:
        del part[key]
    return json.dumps(table).replace('"@odd@"', draw.choice(ODD)).encode()


def onnx_of(draw, data):
    """Change a file of a network as somebody would who knows the format, or its bytes."""
    import onnx

    model, kind = onnx.load_from_string(data), draw.randrange(7)
    if kind < 2:
        return bytes_of(draw, data)
    if kind == 2:
        draw.choice(model.metadata_props).value = draw.choice([*ODD, '["a", "a", "b"]', '["a", "b"]', "9"])
    elif kind == 3:
        del model.metadata_props[draw.randrange(len(model.metadata_props))]
    elif kind == 4:
        draw.choice([*model.graph.input, *model.graph.output]).type.tensor_type.elem_type = draw.choice((2, 3, 6, 7, 8, 11))
    elif kind == 5:
        draw.choice(model.graph.node).op_type = draw.choice(OPERATORS)
    else:
        tensor = draw.choice([tensor for tensor in model.graph.initializer if len(tensor.dims)])
        tensor.dims[0] = draw.choice((tensor.dims[0], 0, 1, 2**40, -1, 7))
        if draw.random() < 0.5:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="/etc/passwd")
            tensor.ClearField("raw_data")
    return model.SerializeToString()


# ------------------------------------------------------------------------------------- the good files, by reader

READERS = {}


def reader(mutate, *files, name="", words=()):
    """A reader: a function that writes a good file into a folder, and yields once to be read what lies there."""

    def kept(function):
        READERS[name or function.__name__] = lambda folder: function(folder, *words), mutate, files
        return function

    return kept


def arrays(folder):
    """Write a cube and its labels as .npy."""
    for name, array in (("cube", test_formats.CUBE), ("labels", test_formats.LABELS)):
        np.save(folder / f"{name}.npy", array)
    return folder / "cube.npy", folder / "labels.npy"


def added(folder, cube, labels=None, **words):
    """Add what lies in a folder as an own scene, load it, and look at what came of it."""
    os.environ["HSILIB_OWN"] = str(folder / "own")
    own.add_scene("mine", cube, labels or arrays(folder)[1], say=lambda text: None, **words)
    whole()


def whole():
    scenes.load_scene.cache_clear()
    scene = scenes.load_scene("mine")
    assert scene.cube.ndim == 3 and scene.cube.dtype == np.float32 and np.isfinite(scene.cube).all()
    assert scene.labels.shape == scene.cube.shape[:2] and 0 < scene.labels.max() <= len(scene.classes) == len(set(scene.classes))


def of_format(folder, kind, check=False):
    path, key = test_formats.written(kind, folder / "cube.img"), "cube" if kind in ("npz", "mat", "mat 7.3") else ""
    yield
    if not check:
        return added(folder, path, cube_key=key)
    assert told.lost_bytes(path, key, folder / "repaired.npy")
    assert all(np.load(made).ndim == 3 for made in folder.glob("repaired.npy"))


for kind in ("npy", "npz", "mat", "mat 7.3", "GeoTIFF", "ENVI", "ENVI, gzip"):
    files = ("cube.hdr", "cube.img") if "ENVI" in kind else ("cube.img",)
    reader(text_of if "ENVI" in kind else bytes_of, *files, name=kind, words=[kind])(of_format)
for kind in ("npy", "mat"):
    reader(bytes_of, "cube.img", name=f"check of .{kind}", words=[kind, True])(of_format)


@reader(bytes_of, "labels.png")
def labels(folder):
    cube, path = arrays(folder)
    (folder / "labels.png").write_bytes(cards.png(np.load(path)))
    yield
    added(folder, cube, folder / "labels.png")


def of_polygons(folder, suffix):
    path = test_formats.polygons(folder / f"fields.{suffix}", ["wheat", "oats"])
    test_formats.written("GeoTIFF", folder / "cube.tif")
    yield
    added(folder, folder / "cube.tif", path)


reader(json_of, "fields.geojson", name="GeoJSON", words=["geojson"])(of_polygons)
reader(bytes_of, "fields.gpkg", name="GeoPackage", words=["gpkg"])(of_polygons)
parts = [f"fields.{end}" for end in ("shp", "dbf", "shx", "prj")]
reader(bytes_of, *parts, name="shapefile", words=["shp"])(of_polygons)


@reader(json_of, "own/mine.scene.json")
def description(folder):
    added(folder, *arrays(folder))
    yield
    whole()
    registry.place("mine")


def of_images(folder, form):
    os.environ["HSILIB_OWN"] = str(folder / "own")
    for number in range(8):
        path = folder / "set" / "ab"[number % 2] / f"{number}.{('png', 'jpg', 'bmp', 'tif')[number // 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 90).convert("RGB").save(path)
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted((folder / "set").rglob("*.*")):
            packed.write(path, path.relative_to(folder))
    yield
    own.add_images("mine", folder / form)
    found = imagesets.open_set("mine")
    assert len(found.files) == len(found.labels) and len(set(found.classes)) == len(found.classes)
    assert 1 <= found.labels.min() <= found.labels.max() <= len(found.classes)
    made = found.read(16)
    assert made.shape == (len(found.files), 3, 16, 16) and made.dtype == np.uint8


parts = [f"set/{file}" for file in ("a/0.png", "b/3.jpg", "a/4.bmp", "b/7.tif")]
reader(bytes_of, *parts, name="images", words=["set"])(of_images)
reader(bytes_of, "set.zip", name="zipped", words=["set.zip"])(of_images)


def counted(folder, most):
    """A store tells each row that it refuses in one line."""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert len(Store(folder / "store").rows()) <= most
    assert all(": " in line for line in said.getvalue().splitlines())


@reader(bytes_of, "store/baselines.csv")
def rows(folder):
    (folder / "store").mkdir()
    lines = (BOOK / "results" / "baselines.csv").read_text().splitlines(True)
    (folder / "store" / "baselines.csv").write_text("".join(lines[:6]))
    yield
    counted(folder, 6)


@reader(json_of, f"store/{RUN}/run.json")
def run_of_a_store(folder):
    row = Store(BOOK / "results").written().iloc[0].to_dict()
    Store(folder / "store").keep(row | {"run": RUN}, "baselines", {"aa30": 1.0, "small": "2 10"})
    yield
    counted(folder, 1)


def of_part(folder, part, data, read, right):
    store = Store(folder / "store")
    store.take(RUN, {part: data})
    yield
    assert right(read(store, RUN))


LOG = "\n".join(["epoch,ce,kd", *(f"{i},{1.5 / (i + 1)},0.5" for i in range(5))]).encode()
for mutate, part, data, read, right in (
    (json_of, "notes.json", b'{"kept": [1, 2], "what": "x"}', Store.read_note, lambda note: isinstance(note, dict)),
    (text_of, "log.csv", LOG, Store.read_log, lambda log: all(kind.kind in "if" for kind in log.dtypes)),
    (bytes_of, "map.png", cards.png(np.eye(24, dtype=np.uint8)), Store.read_map, lambda found: found.ndim == 2),
):
    reader(mutate, f"store/{RUN}/{part}", name=f"stored {part}", words=[part, data, read, right])(of_part)


STUDY = f"""[[part]]\ntitle = "one"\nscenes = ["{SMALL}", "synthetic_fields_small"]\nsplits = ["random", "disjoint"]
methods = ["scratch", "soft_targets", "baselines", "sfp"]\nratios = [0, 90, 98]\nseeds = 2\nepochs = 3\nlr = 1e-3
schedule = "cosine"
"""


@reader(text_of, "study.toml")
def study(folder):
    (folder / "study.toml").write_text(STUDY)
    yield
    for runs in declared(folder / "study.toml").values():
        for run in runs[:50]:
            assert len(run.id) == 12 and run.recipe.lr > 0 and run.recipe.epochs < 1e6


@reader(onnx_of, "model.onnx")
def onnx(folder):
    """An exported network that was trained on nothing."""
    _, made = test_hostile.model(scene="mine", run=RUN, low=0.0, high=9000.0, digest="mine@0")
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    yield
    labels, about = predict(folder / "model.onnx", np.load(arrays(folder)[0]).astype(np.float32))
    classes = about["classes"]
    assert labels.shape == (24, 20) and 1 <= labels.min() <= labels.max() <= len(classes)
    assert all(isinstance(name, str) and "<" not in name for name in classes) and len(set(classes)) == len(classes)


@reader(bytes_of, "cache/weights/*.safetensors")
def weights(folder):
    os.environ["HSILIB_CACHE"] = str(folder / "cache")
    run, net = make_run(SMALL, "random", "mlp", epochs=1), initialise(MLP(103, 9), 0)
    execute._save_weights(run, net)
    yield
    model = execute.trained(run, Store(folder / "store"))
    same = all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), model.state_dict().values()))
    assert same or len(Store(folder / "store").rows())  # trained again


# ------------------------------------------------------------------------------------------- one after the other


def attempt(name, seed):
    """Read one mutation of a good file; return what came of it, and a text that says more."""
    write, mutate, files = READERS[name]
    draw = random.Random(f"{name} {seed}")
    with tempfile.TemporaryDirectory() as folder:
        made = write(Path(folder))
        next(made)
        path = draw.choice(sorted(Path(folder).glob(draw.choice(files))))
        if seed >= 0:  # a negative number leaves the file as it is
            path.write_bytes(mutate(draw, path.read_bytes()))
        start, found = resident(reset=True), ("read", "")
        signal.alarm(SECONDS)  # ends the process
        try:
            next(made, None)
        except BaseException as error:  # one line, as the command line shows it, or what must not be
            found = type(error).__name__, "".join(traceback.format_exception(error))
            line = isinstance(error, HsiError) or (isinstance(error, OSError) and error.strerror and error.filename)
            if line and 0 < len(str(error)) <= 800 and "\n" not in str(error):
                found = "refused", str(error)
        signal.alarm(0)
        taken = resident() - start
    return found if taken <= MOST else ("memory", f"{taken / 1e9:.1f} GB; {found}")


def resident(reset=False):
    """Return the peak of resident memory, from now on if it is reset."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    return int(peak[1]) * 1024 if peak else 0


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what GDAL says


def run(name, seeds):
    """Read mutations in a process of their own, begun again where one takes it down; yield (seed, verdict, text)."""
    pool = None
    for seed in seeds:
        pool = pool or ProcessPoolExecutor(1, multiprocessing.get_context("fork"), limited)
        try:
            yield seed, *pool.submit(attempt, name, seed).result()
        except BrokenProcessPool:
            pool = None
            yield seed, "died", "or took too long"


def main(count=250, seed=None, *names):
    """Try ``count`` mutations with each reader, and say what came of them."""
    for name in ("RESULTS", "CACHE", "OWN", "DATA"):
        os.environ[f"HSILIB_{name}"] = tempfile.mkdtemp()
    os.environ["HSILIB_PUBLISHED"] = ""
    torch.set_num_threads(1)
    seed, bad, total = int(seed or time.time()), 0, 0
    print(f"seed {seed}", flush=True)
    for name in names or READERS:
        tally, start = Counter(), time.time()
        for number, verdict, text in run(name, [-1, *range(seed, seed + int(count))]):
            tally[verdict] += 1
            if verdict not in ("read", "refused") or (number == -1 and verdict != "read"):
                bad += 1
                print(f"--- {name} {number}: {verdict}\n{text}", flush=True)
        total += tally.total()
        print(f"{name}: {dict(tally)}, {time.time() - start:.0f} s", flush=True)
    print(f"{total} inputs, {bad} not read as they must be")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
