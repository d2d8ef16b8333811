"""Damaged inputs: each reader is given mutations of good files, and refuses each in one line or reads it rightly.

The suite tries a few of each (test_fuzz.py).  ``make fuzz`` tries many, with a fresh seed that it tells:
``python tests/fuzz.py [how many of each] [seed] [reader ...]``.
"""

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
SECONDS, MOST = 20, 2e9  # of one input, and bytes of memory more than before

ODD = ["null", "true", "-1", "0", "1", "65536", "1e999", "-1e999", "NaN", "1" * 400, '""', '"x"', "[]", "[[]]", "{}"]
ODD += ['"../x"', '"<img src=x onerror=alert(1)>"', '["a", "a"]', '"\\u0000"', "1e-320", "2.5", "[" * 5000]
ODD += ['"' + "x" * 9000 + '"']
WORDS = [b"-1", b"0", b"1e999", b"nan", b"99999999999999999999", b"\0", b",", b"\n", b'"', b"\xff\xfe", b"x" * 9000]
WORDS += [b"{", b"[", b"<b>"]
OPERATORS = ("Loop", "If", "Scan", "Expand", "Tile", "Conv", "Pad", "Relu", "Identity", "RandomNormalLike", "Exp")


def bytes_of(draw, data):
    """Flip, cut, drop, repeat, blank, swap or put in some bytes."""
    data, kind = bytearray(data), draw.randrange(8)
    a, b = sorted(draw.randrange(len(data) + 1) for _ in "ab")
    b = min(b, a + draw.choice((1, 2, 4, 8, 64, 1024)))
    if kind == 0:
        for _ in range(draw.choice((1, 1, 2, 8, 64))):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == 1:
        del data[a:]
    elif kind == 2:
        del data[a:b]
    elif kind == 3:
        data[a:a] = data[a:b] * draw.choice((1, 2, 50))
    elif kind == 4:
        data[a:b] = bytes(b - a)
    elif kind == 5:
        data[a:b] = b"\xff" * (b - a)
    elif kind == 6:
        data[a:b] = draw.choice(WORDS)
    else:  # where headers lie
        data[draw.randrange(min(len(data), 200))] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
    return bytes(data)


def text_of(draw, data):
    """Put an odd value in place of a number or a word of a text."""
    import re

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
    if draw.random() < 0.2:
        del part[key]
    elif isinstance(part, dict) and draw.random() < 0.1:
        part[draw.choice(("url", "form", "x" * 400, "title"))] = "http://example.org/x"
    else:
        part[key] = "@odd@"
    return json.dumps(table).replace('"@odd@"', draw.choice(ODD)).encode()


# ------------------------------------------------------------------------------------- the good files, by reader

READERS = {}


def reader(mutate, *files):
    """A reader: a function that writes a good one into a folder, and yields once to be read what lies there."""

    def kept(function):
        READERS[function.__name__.strip("_")] = function, mutate, files

    return kept


def cube_and_labels(folder):
    import test_formats

    return test_formats.CUBE, test_formats.LABELS


def added(folder, cube, labels=None, **words):
    """Add what lies in a folder as an own scene, load it, and look at what came of it."""
    import numpy as np
    from hsilib.data import own, scenes

    os.environ["HSILIB_OWN"] = str(folder / "own")
    if labels is None:
        labels = folder / "labels.npy"
        with open(labels, "wb") as file:
            np.save(file, cube_and_labels(folder)[1])
    own.add_scene("mine", cube, labels, say=lambda text: None, **words)
    scene = scenes.load_scene("mine")
    whole(scene)


def whole(scene):
    import numpy as np

    assert scene.cube.ndim == 3 and scene.cube.dtype == np.float32 and np.isfinite(scene.cube).all()
    assert scene.labels.shape == scene.cube.shape[:2] and 0 < scene.labels.max() <= len(scene.classes)
    assert len(set(scene.classes)) == len(scene.classes)


def of_format(kind):
    def write(folder):
        import test_formats

        path = test_formats.written(kind, folder / "cube.img")
        yield
        added(folder, path, cube_key="cube" if kind in ("npz", "mat", "mat 7.3") else "")

    return write


for kind, mutate, names in (
    ("npy", bytes_of, ["cube.img"]), ("npz", bytes_of, ["cube.img"]), ("mat", bytes_of, ["cube.img"]),
    ("mat 7.3", bytes_of, ["cube.img"]), ("GeoTIFF", bytes_of, ["cube.img"]),
    ("ENVI", text_of, ["cube.hdr", "cube.hdr", "cube.img"]), ("ENVI, gzip", text_of, ["cube.hdr", "cube.img"]),
):
    READERS[kind] = of_format(kind), mutate, names


@reader(bytes_of, "labels.png")
def labels(folder):
    import numpy as np
    from hsilib.data.cards import png

    cube, labels = cube_and_labels(folder)
    np.save(folder / "cube.npy", cube)
    (folder / "labels.png").write_bytes(png(labels))
    yield
    added(folder, folder / "cube.npy", folder / "labels.png")


def of_polygons(suffix):
    def write(folder):
        import test_formats

        x, y = test_formats.CORNER
        ring = lambda a, b: [[x + a, y - 30], [x + b, y - 30], [x + b, y - 600], [x + a, y - 600], [x + a, y - 30]]  # noqa: E731
        shapes = [("wheat", ring(30, 200)), ("oats", ring(300, 500))]
        made = {
            "type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
            "features": [
                {"type": "Feature", "properties": {"crop": name}, "geometry": {"type": "Polygon", "coordinates": [at]}}
                for name, at in shapes
            ],
        }
        (folder / "fields.geojson").write_text(json.dumps(made))
        if suffix != "geojson":
            import pyogrio

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                about, _, shape, columns = pyogrio.raw.read(folder / "fields.geojson")
                words = dict(geometry_type="Polygon", crs="EPSG:32633")
                pyogrio.raw.write(folder / f"fields.{suffix}", shape, columns, about["fields"], **words)
            os.unlink(folder / "fields.geojson")
        test_formats.written("GeoTIFF", folder / "cube.tif")
        yield
        added(folder, folder / "cube.tif", folder / f"fields.{suffix}")

    return write


READERS["GeoJSON"] = of_polygons("geojson"), json_of, ["fields.geojson"]
READERS["GeoPackage"] = of_polygons("gpkg"), bytes_of, ["fields.gpkg"]
READERS["shapefile"] = of_polygons("shp"), bytes_of, ["fields.shp", "fields.dbf", "fields.shx", "fields.prj"]


@reader(json_of, "own/mine.scene.json")
def description(folder):
    import numpy as np
    from hsilib.data import own, registry, scenes

    os.environ["HSILIB_OWN"] = str(folder / "own")
    for name, array in zip(("cube", "labels"), cube_and_labels(folder)):
        np.save(folder / f"{name}.npy", array)
    own.add_scene("mine", folder / "cube.npy", folder / "labels.npy", say=lambda text: None)
    yield
    scenes.load_scene.cache_clear()
    whole(scenes.load_scene("mine"))
    registry.place("mine")


def pictures(folder):
    from PIL import Image

    for number in range(8):
        path = folder / "set" / "ab"[number % 2] / f"{number}.{('png', 'jpg', 'bmp', 'tif')[number // 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 90).convert("RGB").save(path)


def looked_at(name):
    import numpy as np
    from hsilib.data import imagesets, scenes

    found = imagesets.open_set(name)
    assert len(found.files) == len(found.labels) and 1 <= found.labels.min() <= found.labels.max() <= len(found.classes)
    assert len(set(found.classes)) == len(found.classes)
    made = found.read(16)
    assert made.shape == (len(found.files), 3, 16, 16) and made.dtype == np.uint8
    scenes.load_scene.cache_clear()
    assert len(scenes.load_scene(name).labels) == len(found.files)


@reader(bytes_of, "set/a/0.png", "set/b/3.jpg", "set/a/4.bmp", "set/b/7.tif")
def images(folder):
    from hsilib.data import own

    os.environ["HSILIB_OWN"] = str(folder / "own")
    pictures(folder)
    yield
    own.add_images("mine", folder / "set")
    looked_at("mine")


@reader(bytes_of, "set.zip")
def zipped(folder):
    from hsilib.data import own

    os.environ["HSILIB_OWN"] = str(folder / "own")
    pictures(folder)
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted((folder / "set").rglob("*.*")):
            packed.write(path, path.relative_to(folder))
    yield
    own.add_images("mine", folder / "set.zip")
    looked_at("mine")


@reader(json_of, "own/mine.images.json")
def set_description(folder):
    from hsilib.data import own

    os.environ["HSILIB_OWN"] = str(folder / "own")
    pictures(folder)
    own.add_images("mine", folder / "set")
    yield
    looked_at("mine")


@reader(bytes_of, "store/baselines.csv")
def rows(folder):
    import pandas as pd
    from hsilib.study.store import Store

    held = pd.read_csv(Path(__file__).parents[1] / "book/results/baselines.csv", dtype=str, keep_default_na=False)
    (folder / "store").mkdir()
    held.head(5).to_csv(folder / "store" / "baselines.csv", index=False)
    yield
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert len(Store(folder / "store").rows()) <= 6
    assert all(": " in line for line in said.getvalue().splitlines())


@reader(json_of, "store/0123456789ab/run.json")
def run_of_a_store(folder):
    from hsilib.study.store import Store

    store = Store(folder / "store")
    row = Store(Path(__file__).parents[1] / "book/results").written().iloc[0].to_dict()
    store.keep(row | {"run": "0123456789ab"}, "baselines", {"aa30": 1.0, "small": "2 10"})
    yield
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert len(store.rows()) <= 1
    assert all(": " in line for line in said.getvalue().splitlines())


@reader(json_of, "store/0123456789ab/notes.json")
def note(folder):
    from hsilib.study.store import Store

    store = Store(folder / "store")
    store.take("0123456789ab", {"notes.json": json.dumps({"kept": [1, 2], "what": "x"}).encode()})
    yield
    assert isinstance(store.read_note("0123456789ab"), dict)


@reader(text_of, "store/0123456789ab/log.csv")
def log(folder):
    from hsilib.study.store import Store

    store = Store(folder / "store")
    lines = [f"{i},{1.5 / (i + 1)},0.5" for i in range(5)]
    store.take("0123456789ab", {"log.csv": "\n".join(["epoch,ce,kd", *lines]).encode()})
    yield
    table = store.read_log("0123456789ab")
    assert all(kind.kind in "if" for kind in table.dtypes) and table.index.name == "epoch"


@reader(bytes_of, "store/0123456789ab/map.png")
def stored_map(folder):
    from hsilib.data.cards import png
    from hsilib.study.store import Store

    store, labels = Store(folder / "store"), cube_and_labels(folder)[1]
    store.take("0123456789ab", {"map.png": png(labels)})
    yield
    assert store.read_map("0123456789ab").ndim == 2


@reader(json_of, "store/scenes/synthetic_urban_small/card.json")
def card(folder):
    from hsilib.study.store import Store

    store = Store(folder / "store")
    store.card("synthetic_urban_small")
    yield
    scene, picture, spectra = store.card("synthetic_urban_small")
    assert len(scene.classes) >= scene.labels.max() == 9 and picture.shape == (64, 48, 3) and len(spectra) == 103


@reader(bytes_of, "labels.png", "rgb.png", "spectra.csv", "train_map.png")
def card_parts(folder):
    from hsilib.data import cards
    from hsilib.data.scenes import load_scene

    cards.write_card(folder, load_scene("synthetic_urban_small"))
    yield
    scene, picture, spectra = cards.read_card([folder], "synthetic_urban_small")
    assert scene.labels.shape == picture.shape[:2] == (64, 48) and len(spectra) == 103
    assert scene.train_map is None or scene.train_map.shape == (64, 48)
    assert all(kind.kind in "if" for kind in spectra.dtypes)


def links_of(draw, data):
    """Put a link, or an array of another file, in place of an array of HDF5."""
    import h5py
    import numpy as np

    if draw.random() < 0.2:
        return bytes_of(draw, data)
    out, name, other = io.BytesIO(data), draw.choice(("cube", "gt", "more", "x" * 300)), draw.choice(("/etc/passwd", "o.h5"))
    with h5py.File(out, "r+") as file:
        shape, kind = draw.choice(((9, 20, 24), (20, 24), (1,), (2**20, 2**20, 2))), draw.choice((np.int16, np.uint8))
        if name in file:
            del file[name]
        how = draw.randrange(5)
        if how == 0:
            file[name] = h5py.ExternalLink(other, draw.choice(("/cube", "/", "nowhere")))
        elif how == 1:
            file[name] = h5py.SoftLink(draw.choice(("/cube", "/gt", "/" + name, "/nowhere")))
        elif how == 2:
            file.create_dataset(name, shape, kind, external=[(other, 0, 2**43)])
        elif how == 3:
            layout = h5py.VirtualLayout(shape, kind)
            layout[:] = h5py.VirtualSource(draw.choice((other, ".")), "cube", shape)
            file.create_virtual_dataset(name, layout)
        else:
            file.create_dataset(name, shape, kind, chunks=True, compression=draw.choice((None, "gzip")))
    return out.getvalue()


@reader(links_of, "cube.img")
def hdf5_links(folder):
    import h5py

    import test_formats

    path = test_formats.written("mat 7.3", folder / "cube.img")
    yield
    added(folder, path, cube_key="cube")
    with h5py.File(path) as file:  # what is read lies in it
        assert all(isinstance(file.get(name, getlink=True), h5py.HardLink) for name in file)
        assert not any(array.external or array.is_virtual for array in file.values() if hasattr(array, "external"))


@reader(text_of, "cube.img")
def vrt(folder):
    from hsilib.data.formats import open_image

    import test_doors
    import test_formats

    test_formats.written("ENVI", folder / "cube.img")
    test_formats.geotiff(folder / "other.tif", test_formats.CUBE)
    (folder / "cube.img").write_bytes(test_doors.virtual(folder / "other.tif"))
    yield
    added(folder, folder / "cube.hdr")
    image = open_image(folder / "cube.img")
    assert image.read(0, image.size[0]).tobytes() != test_formats.CUBE.tobytes()


def head_of(draw, data):
    """Damage the head of a page."""
    head, _, rest = data.partition(b"\n---\n\n")
    return text_of(draw, head) + b"\n---\n\n" + rest


@reader(head_of, "91-page.md")
def head(folder):
    from hsibook import runner

    source = Path(__file__).parents[1] / "notebooks" / "03-baselines.md"
    (folder / "91-page.md").write_bytes(source.read_bytes())
    yield
    assert "scene" in runner.parameters_of(str(folder / "91-page.md")) or len(runner.title_of(folder / "91-page.md"))


@reader(json_of, "options.json")
def text_options(folder):
    import pandas as pd
    from hsilib.errors import HsiError
    from hsilib.identity import changed_options
    from hsilib.study import rows
    from hsilib.study.runs import make_run

    (folder / "options.json").write_text(json.dumps({"by": "lens", "augment": "a b,\"c\"", "weigh": "\u00e9"}))
    yield
    held = pd.read_csv(Path(__file__).parents[1] / "book/results/baselines.csv", dtype=str, keep_default_na=False)
    try:
        options = json.loads((folder / "options.json").read_bytes())
    except (ValueError, RecursionError):
        raise HsiError("no JSON") from None
    options = options if isinstance(options, dict) else {"by": options}
    run = make_run("synthetic_urban_small", "random", "lens_ca_mkd", options=options)
    row = held.iloc[0].to_dict() | {"run": run.id, "options": changed_options(run)}
    table, wrong = rows.read(pd.DataFrame([row]).to_csv(index=False))
    assert not wrong and table["options"].iloc[0] == changed_options(run)


STUDY = """[[part]]
title = "one"
scenes = ["synthetic_urban_small", "synthetic_fields_small"]
splits = ["random", "disjoint"]
methods = ["scratch", "soft_targets", "baselines"]
ratios = [0, 90, 98]
seeds = 2
epochs = 3
lr = 1e-3
schedule = "cosine"

[[part]]
title = "two"
scenes = ["synthetic_urban_small"]
splits = ["random"]
methods = ["sfp"]
ratios = [98]
seeds = 1
options = { rate = 0.5 }
"""


@reader(text_of, "study.toml")
def study(folder):
    from hsilib import methods
    from hsilib.study.runs import declared

    name, value = next(iter(methods.get("sfp").options.items()))
    (folder / "study.toml").write_text(STUDY.replace("rate = 0.5", f"{name} = {value!r}"))
    yield
    for runs in declared(folder / "study.toml").values():
        for run in runs[:50]:
            assert len(run.id) == 12 and run.recipe.lr > 0 and run.recipe.epochs < 1e6


def network(folder, bands=9):
    """An exported network that was trained on nothing, as a file."""
    import numpy as np
    from hsilib.deploy.trace import traced

    from conftest import worn

    path = folder / "model.onnx"
    if not path.exists():
        rng, net = np.random.default_rng(0), worn(bands=4, classes=3, widths=(4, 6, 8), batch_norm=False)
        reduction = rng.normal(size=bands) + 4000, rng.normal(size=(bands, 4)) / 3000, rng.normal(size=4)
        words = dict(scene="mine", model="scratch", run="0123456789ab", low=0.0, high=9000.0, digest="mine@0")
        path.write_bytes(traced(net, reduction, ["a", "b", "c"], **words))
    return path


def onnx_of(draw, data):
    """Change a file of a network as somebody would who knows the format, or its bytes."""
    import onnx

    kind = draw.randrange(10)
    if kind < 3:
        return bytes_of(draw, data)
    model = onnx.load_from_string(data)
    if kind < 6:
        prop = draw.choice(model.metadata_props)
        prop.value = draw.choice([*ODD, '["a", "a", "b"]', '["a", "b"]', "9", "8", prop.value[:-1]])
    elif kind == 6:
        del model.metadata_props[draw.randrange(len(model.metadata_props))]
    elif kind == 7:
        end = draw.choice([*model.graph.input, *model.graph.output])
        if draw.random() < 0.5:
            end.name = "other"
        else:
            end.type.tensor_type.elem_type = draw.choice((1, 2, 3, 6, 7, 8, 11))
    elif kind == 8:
        node = draw.choice(model.graph.node)
        node.op_type = draw.choice(OPERATORS)
    else:
        tensor = draw.choice(model.graph.initializer)
        if draw.random() < 0.5:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="/etc/passwd")
            tensor.ClearField("raw_data")
        elif len(tensor.dims):
            tensor.dims[0] = draw.choice((0, 1, 2**40, -1, 7))
    return model.SerializeToString()


@reader(onnx_of, "model.onnx")
def onnx(folder):
    import numpy as np
    from hsilib.deploy.predict import predict

    network(folder)
    yield
    labels, about = predict(folder / "model.onnx", cube_and_labels(folder)[0].astype(np.float32))
    classes = about["classes"]
    assert labels.shape == (24, 20) and 1 <= labels.min() <= labels.max() <= len(classes)
    assert all(isinstance(name, str) and "<" not in name for name in classes) and len(set(classes)) == len(classes)


@reader(bytes_of, "cache/weights/*.safetensors")
def weights(folder):
    import torch
    from hsilib.models.networks import MLP, initialise
    from hsilib.study import execute
    from hsilib.study.runs import make_run
    from hsilib.study.store import Store

    os.environ["HSILIB_CACHE"] = str(folder / "cache")
    run = make_run("synthetic_urban_small", "random", "mlp", epochs=1)
    net = initialise(MLP(103, 9), 0)
    execute._save_weights(run, net)
    yield
    model = execute.trained(run, Store(folder / "store"))
    retrained = len(Store(folder / "store").rows())
    same = all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), model.state_dict().values()))
    assert same or retrained


def of_check(kind):
    def write(folder):
        import numpy as np

        import test_formats

        path = test_formats.written(kind, folder / "cube.img")
        yield
        from hsilib.data import told

        says = told.lost_bytes(path, "cube" if kind == "mat" else "", folder / "repaired.npy")
        assert says and all(isinstance(line, str) for line in says)
        for made in folder.glob("repaired.npy"):
            assert np.load(made).ndim == 3

    return write


READERS["check of .npy"] = of_check("npy"), bytes_of, ["cube.img"]
READERS["check of .mat"] = of_check("mat"), bytes_of, ["cube.img"]


# --------------------------------------------------------------------------------------------- one after the other


def attempt(name, seed):
    """Read one mutation of a good file; return what came of it, and a text that says more."""
    from hsilib.errors import HsiError

    write, mutate, files = READERS[name]
    draw = random.Random(f"{name} {seed}")
    with tempfile.TemporaryDirectory() as folder:
        made = write(Path(folder))
        next(made)
        path = draw.choice(sorted(Path(folder).glob(draw.choice(files))))
        if seed >= 0:  # a negative number leaves the file as it is
            path.write_bytes(mutate(draw, path.read_bytes()))
        start = resident(reset=True)
        signal.alarm(SECONDS)
        try:
            next(made, None)
            found = "read", ""
        except Hang:
            found = "hang", traceback.format_exc()
        except AssertionError:
            found = "garbage", traceback.format_exc()
        except HsiError as error:
            text = str(error)
            bad = "\n" in text or len(text) > 800 or not text
            found = ("not one line", text) if bad else ("refused", text)
        except OSError as error:  # the command line shows these in one line too
            found = ("refused", str(error)) if error.strerror and error.filename else ("traceback", traceback.format_exc())
        except BaseException:
            found = "traceback", traceback.format_exc()
        finally:
            signal.alarm(0)
        if resident() - start > MOST:
            found = "memory", f"{(resident() - start) / 1e9:.1f} GB; {found}"
    return found


class Hang(BaseException):
    pass


def _late(*_):
    raise Hang


def resident(reset=False):
    """Return the peak of resident memory, from now on if it is reset."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def child(name, seeds, pipe):
    signal.signal(signal.SIGALRM, _late)
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what GDAL says
    for seed in seeds:
        pipe.send((seed, *attempt(name, seed)))
    pipe.send(None)


def run(name, seeds):
    """Read mutations in a process of their own, begun again where one takes it down; yield (seed, verdict, text)."""
    seeds, context = list(seeds), multiprocessing.get_context("fork" if os.name != "nt" else "spawn")
    while seeds:
        here, there = context.Pipe(False)
        process = context.Process(target=child, args=(name, seeds, there))
        process.start()
        there.close()
        died = f"of signal {process.exitcode}"
        while True:
            try:
                if not here.poll(3 * SECONDS):
                    died = "it does not end"
                    break
                found = here.recv()
            except EOFError:
                process.join()
                died = f"it died: {process.exitcode}"
                break
            if found is None:
                return process.join()
            seeds.remove(found[0])
            yield found
        process.kill()
        yield seeds.pop(0), "died", died


def main(count=250, seed=None, *names):
    """Try ``count`` mutations with each reader, and say what came of them."""
    for name in ("RESULTS", "CACHE", "OWN", "DATA"):
        folder = tempfile.mkdtemp()
        os.environ[f"HSILIB_{name}"] = folder
    os.environ["HSILIB_PUBLISHED"] = ""
    for name in ("data.own", "data.told", "deploy.export", "deploy.predict", "study.execute"):
        importlib.import_module(f"hsilib.{name}")  # once, before processes are made
    import torch

    torch.set_num_threads(1)
    seed = int(seed or time.time())
    print(f"seed {seed}", flush=True)
    bad = total = 0
    for name in names or READERS:
        tally, start = {}, time.time()
        for number, verdict, text in run(name, [-1, *range(seed, seed + int(count))]):
            tally[verdict] = tally.get(verdict, 0) + 1
            if verdict not in ("read", "refused") or (number == -1 and verdict != "read"):
                bad += 1
                print(f"--- {name} {number}: {verdict}\n{text}", flush=True)
            total += 1
        print(f"{name}: {tally}, {time.time() - start:.0f} s", flush=True)
    print(f"{total} inputs, {bad} not read as they must be")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
