"""The C that streams a network line by line, against the library's own network in whole numbers."""

import ctypes
import json
import re
import shutil
import subprocess
import zipfile
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hsilib.data.scenes import Scene, load_scene
from hsilib.deploy import zoo
from hsilib.deploy.c99 import stream
from hsilib.deploy.predict import session
from hsilib.deploy.stages import NoStages
from hsilib.deploy.stream import TYPES, Plan, costs, digits
from hsilib.deploy.trace import traced
from hsilib.deploy.written import filled, listed
from hsilib.errors import HsiError
from hsilib.files import project
from hsilib.methods.compact.ghost import GhostLens
from hsilib.methods.compact.lens import Lens
from hsilib.methods.compact.narrow import NarrowLens
from hsilib.methods.compact.projected import Projected
from hsilib.methods.compact.spectral import Perceptron, Pointwise
from hsilib.methods.quantize.layers import static
from hsilib.models.networks import CNN1D, MLP, WIDTHS, initialise
from hsilib.study.store import Store

from conftest import WARNINGS

BANDS, CLASSES = 40, ("a", "b", 'c "d"', "e", "f")
NETS = {
    "lens": (Lens, {}), "lens 12": (Lens, {"width": 12, "centre": 12}), "ghost": (GhostLens, {}),
    "lens, 4 bits": (Lens, {}),
    "lens of 13": (NarrowLens, {"window": 13}), "lens of 9": (NarrowLens, {"window": 9}),
    "perceptron": (Perceptron, {}), "pointwise": (Pointwise, {}), "mlp": (MLP, {}),
    **{f"projected {ratio}": (Projected, {"components": 8, "widths": list(widths)}) for ratio, widths in WIDTHS.items()},
}
SHAPES = [(1, 1), (3, 30), (18, 19), (19, 18), (20, 20), (30, 41)]
needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")


def scene_of(cube):
    labels = np.ones(cube.shape[:2], np.uint8)
    return Scene("synthetic_fields_small", "made up", cube.astype(np.float32), labels, CLASSES)


def values(shape, kind="uint16_t", seed=0):
    """Smooth spectra of a sensor, and some noise."""
    rng = np.random.default_rng(seed)
    cube = rng.normal(size=(*shape, 3)) @ rng.normal(size=(3, BANDS)) + 0.3 * rng.normal(size=(*shape, BANDS))
    least, most, _ = TYPES[kind]
    middle, step = {"uint8_t": (120, 25), "uint16_t": (9000, 2500), "int16_t": (-300, 4000)}[kind]
    return np.clip(np.rint(middle + step * cube), least, most).astype(kind.removesuffix("_t"))


def network(name, cube, seed=0):
    """An untrained network whose batch norms look as after training, in whole numbers; and the mean and spread of
    each band."""
    (kind, words), bands = NETS[name], cube.shape[2]
    net = initialise(kind(bands, classes=len(CLASSES), **words), seed)
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            for part, low in ((module.weight, 0.7), (module.running_var, 0.3), (module.bias, -0.3)):
                part.data = low + 0.6 * torch.rand(part.shape, generator=generator)
    flat = cube.reshape(-1, bands).astype(np.float32)
    reduction = flat.mean(0), flat.std(0) + 1
    x = torch.from_numpy((flat - reduction[0]) / reduction[1])
    if net.kind == "windows":
        x = x[torch.randint(len(x), (60 * 19 * 19,), generator=generator)].view(60, 19, 19, bands).permute(0, 3, 1, 2)
    return static(net.eval(), x[:2000].contiguous(), reduction, bits=4 if "4 bits" in name else 7), reduction


@torch.no_grad()
def classes_of(net, reduction, cube, kind=np.float32):
    """The library's map; its steps between whole numbers are taken in 32 bits or, to see near ties, in 64."""
    z = torch.from_numpy((cube.astype(kind) - reduction[0].astype(kind)) / reduction[1].astype(kind))
    inner = deepcopy(net.net).to(z.dtype)
    if net.kind == "bands":
        return inner(z.reshape(-1, BANDS)).logits.argmax(1).view(z.shape[:2]).numpy() + 1
    return inner.dense(F.pad(z.permute(2, 0, 1)[None], (9,) * 4)).argmax(0).numpy() + 1


class Code:
    """A stream, compiled."""

    def __init__(self, folder, *flags):
        library = folder / f"{'-'.join(flags)}.so"
        words = ["gcc", *WARNINGS, *(flags or ["-O2"]), "-shared", "-fPIC", folder / "network.c", "-o", library]
        subprocess.run(list(map(str, words)), check=True)
        self.call, text = ctypes.CDLL(str(library)), (folder / "network.h").read_text()
        self.call.network_reset.argtypes = ctypes.c_void_p, ctypes.c_size_t
        self.call.network_line.argtypes = (ctypes.c_void_p,) * 4
        self.call.network_flush.argtypes = (ctypes.c_void_p,) * 3
        fixed, each = re.search(r"STATE_BYTES.*\(size_t\)(\d+) \+ \(size_t\)(\d+)", text).groups()
        self.bytes = lambda width: (int(fixed) + int(each) * width + 3) // 4 * 4
        self.strip, self.lag = (int(re.search(rf"NETWORK_{word} (\d+)", text)[1]) for word in ("STRIP", "LAG"))

    def map(self, cube, scores=None):
        """The map of a scene whose lines come one by one, and its scores if there is room for them.

        The state begins with whatever is there.
        """
        h, w, _ = cube.shape

        def told(row):
            return None if scores is None else scores[row].ctypes.data

        cube, drawn = np.ascontiguousarray(cube), np.zeros((h + 1, w), np.uint8)
        held = np.random.default_rng(0).integers(0, 256, self.bytes(w) + 64, dtype=np.uint8)
        state, before = held.ctypes.data, held[-64:].copy()
        self.call.network_reset(state, w)
        count = 0
        for line in cube:
            count += self.call.network_line(state, line.ctypes.data, drawn[count].ctypes.data, told(count))
        assert count == max(h - self.lag, 0), "a line is classified when all that it needs is there"
        while self.call.network_flush(state, drawn[count].ctypes.data, told(count)):
            count += 1
        assert count == h and (held[-64:] == before).all(), "the state ends where its size says"
        return drawn[:-1]


@needs_gcc
@pytest.mark.parametrize(
    "name, kind",
    [*((name, "uint16_t") for name in NETS), ("lens", "uint8_t"), ("pointwise", "uint8_t"), ("lens", "int16_t")],
)
def test_the_stream_gives_the_classes_of_the_network_on_every_pixel(name, kind, tmp_path):
    learnt = values((40, 40), kind)
    net, reduction = network(name, learnt)
    made, (kind_of, words) = traced(net, reduction, CLASSES), NETS[name]
    plain = initialise(kind_of(BANDS, classes=len(CLASSES), **words), 1).eval()
    report = stream(made, tmp_path / "network.c", scene_of(learnt), name)
    code = Code(tmp_path)
    near = 0
    for shape in SHAPES:
        cube = values(shape, kind, seed=sum(shape))
        want, drawn = classes_of(net, reduction, cube), code.map(cube)
        assert len(np.unique(want)) > 1 or want.size < 100
        if (drawn != want).any():  # an untrained network has near ties, on which its own roundings decide
            near += int((drawn != want).sum())
            assert ((drawn == want) | (drawn == classes_of(net, reduction, cube, np.float64))).all(), shape
    assert near <= 2
    assert costs(plain, 64) == {"state": {64: code.bytes(64)}, "macs": report["macs"]}
    assert report["state"]["64"] == code.bytes(64)


@pytest.fixture(scope="module")
def lens(tmp_path_factory):
    """Lens 5 kB in so much memory that a strip is narrower than the scene, its file and its folder."""
    folder, learnt = tmp_path_factory.mktemp("lens"), values((40, 60))
    net, reduction = network("lens 12", learnt)
    report = stream(traced(net, reduction, CLASSES), folder / "network.c", scene_of(learnt), "lens", ram=16_000)
    return net, reduction, report, folder


@needs_gcc
def test_strips_of_columns_give_the_map_of_the_whole(lens):
    net, reduction, report, folder = lens
    code, cube = Code(folder), values((20, 60), seed=3)
    assert 1 < code.strip == report["strip"] < 40 and code.bytes(code.strip + 17) + report["stack"] <= 16_000
    whole = code.bytes(40) + report["stack"]  # of a scene of 40 columns, that have no halo
    said = stream(traced(net, reduction, CLASSES), folder / "whole.c", scene_of(values((9, 40))), "lens", ram=whole)
    assert code.bytes(said["strip"] + 17) + said["stack"] <= whole, "a strip of a wider scene fits too"
    drawn = code.map(cube)
    for first in range(0, 60, code.strip):  # with their halo
        low = max(first - 9, 0)
        part = code.map(cube[:, low : first + code.strip + 8])[:, first - low :][:, : code.strip]
        assert (part == drawn[:, first : first + code.strip]).all()
    assert (drawn == classes_of(net, reduction, cube)).all()
    with pytest.raises(HsiError, match="300 bytes hold no strip; one column takes") as error:
        stream(traced(net, reduction, CLASSES), folder / "other.c", scene_of(cube), "lens", ram=300)
    assert "\n" not in str(error.value) and not list(folder.glob("other*")), "nothing is written"


@needs_gcc
def test_scores_are_those_of_the_file_and_the_highest_is_the_class(lens):
    net, reduction, _, folder = lens
    said, cube = (folder / "network.h").read_text(), values((20, 31), seed=4)
    step = float(re.search(r"define NETWORK_SCORE_STEP (\S+)", said)[1])
    scores = np.zeros((21, 31, len(CLASSES)), np.int32)
    drawn, scores = Code(folder).map(cube, scores), scores[:-1]
    made = session(traced(net, reduction, CLASSES))
    want = made.run(["scores"], {"cube": cube.astype(np.float32)})[0].transpose(1, 2, 0)
    assert (scores.argmax(2) + 1 == drawn).all() and np.ptp(scores) > 100
    assert np.median(abs(scores * step - want)) <= step and (scores.argmax(2) == want.argmax(2)).all()


@needs_gcc
def test_a_pixel_without_data_is_as_if_the_scene_ended_there(lens):
    """Its mean spectrum is what the header says to write."""
    net, reduction, _, folder = lens
    mean = re.search(r"NETWORK_MEAN {(.*)}", (folder / "network.h").read_text())[1]
    cube, code = values((20, 40), seed=5), Code(folder)
    cube[:, 30:] = [int(value) for value in mean.split(",")]
    assert (code.map(cube)[:, :30] == code.map(cube[:, :30])).mean() > 0.97


@needs_gcc
def test_sanitizers_find_nothing_at_the_ends_of_the_type(lens, tmp_path):
    net, reduction, _, folder = lens
    draw = np.random.default_rng(0).integers(0, 2, (9, 11, BANDS))
    cube = (65535 * np.concatenate([draw, 0 * draw, 0 * draw + 1])).astype(np.uint16)
    words = dict(scene="none", model="", lines=27, width=11, kind="uint16_t")
    words |= dict(values=listed(cube.ravel()), labels=listed(classes_of(net, reduction, cube).ravel()))
    for part in ("network.c", "network.h", "network_test.c"):
        shutil.copy(folder / part, tmp_path)
    (tmp_path / "network_scene.h").write_text(filled("scene.h", "network", **words))
    flags = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", *WARNINGS, *flags, "network.c", "network_test.c", "-o", "check"]
    subprocess.run(command, check=True, cwd=tmp_path)
    done = subprocess.run([tmp_path / "check"], capture_output=True, text=True, env={"ASAN_OPTIONS": "detect_leaks=0"})
    assert done.stderr == "" and done.stdout == "0 of 297 pixels differ\n"


@needs_gcc
def test_the_header_says_what_the_code_takes(lens, tmp_path):
    _, _, report, folder = lens
    said = (folder / "network.h").read_text()
    out = tmp_path / "net.o"
    subprocess.run(["gcc", *WARNINGS, "-O2", "-c", folder / "network.c", "-o", out], check=True)
    told = subprocess.run(["nm", "-S", out], capture_output=True, text=True).stdout
    symbols = [line.split() for line in told.splitlines()]
    constants = sum(int(line[1], 16) for line in symbols if len(line) > 2 and line[2] == "r")
    assert 0 <= report["constants"] - constants <= 32, "gcc writes a few of them into the code"
    assert f"constants {report['constants']}," in said and f"state {report['state']['145']} at 145" in said
    assert {line[-1] for line in symbols if "U" in line} <= {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}, "no library"
    assert not [line for line in symbols if len(line) > 2 and line[2] in "bBdDC"], "no memory of its own"
    assert not re.search(r"\b(float|double|malloc)\b", re.sub(r"/\*.*?\*/", "", (folder / "network.c").read_text(), flags=re.S))
    assert '"c \\"d\\""' in said and f"stack {report['stack']} " in said and report["stack"] < 4096
    if shutil.which("g++"):
        says = "NETWORK_LAG == 8 && NETWORK_FROM(20) == 11 && NETWORK_FROM(3) == 0 && sizeof(NETWORK_RAW) == 2"
        says += f" && NETWORK_TO(0, 60) == {report['strip'] + 8} && NETWORK_TO({report['strip']}, 20) == 20"
        text = f'#include "network.h"\n#include "network.h"\nstatic_assert({says}, "");\n'
        (tmp_path / "use.cpp").write_text(text)
        subprocess.run(["g++", "-Wall", "-Werror", "-c", "-I", folder, tmp_path / "use.cpp", "-o", out], check=True)


@needs_gcc
@pytest.mark.parametrize("known", [True, False])
def test_a_scene_that_was_not_learnt_is_refused(known, tmp_path):
    """One of other bands or another scale; and, where the wavelengths are known, of bands that lie elsewhere."""
    cube = values((20, 20))
    (net, reduction), low, high = network("perceptron", cube), int(cube.min()), int(cube.max())
    waves = tuple(400.4 + 10 * band for band in range(BANDS)) if known else ()
    made = traced(net, reduction=reduction, classes=CLASSES)
    stream(made, tmp_path / "network.c", replace(scene_of(cube), wavelengths=waves), "a model")
    call = Code(tmp_path).call
    assert call.network_refuses(BANDS, low, high) == 0 and call.network_refuses(BANDS + 1, low, high) == 1
    assert call.network_refuses(BANDS, 0, 4 * high) == call.network_refuses(BANDS, low, low + 1) == 2
    assert hasattr(call, "network_refuses_waves") == known
    for shift, says in ((0, 0), (9, 0), (12, 3)) if known else ():
        nm = (ctypes.c_int32 * BANDS)(*(400 + 10 * band + shift for band in range(BANDS)))
        assert call.network_refuses_waves(BANDS, nm) == says and call.network_refuses_waves(BANDS - 1, nm) == 1


def test_what_is_no_stream_says_why():
    cube = values((20, 20))
    flat = cube.reshape(-1, BANDS).astype(np.float32)
    reduction = flat.mean(0), flat.std(0) + 1
    for net in (static(initialise(CNN1D(BANDS, 5), 0).eval(), torch.randn(50, BANDS), reduction), Lens(BANDS, 5).eval()):
        with pytest.raises(NoStages):
            Plan(traced(net, reduction, CLASSES))


ZIPS = [path.name.removesuffix("-c.zip") for path in sorted(zoo.FOLDER.glob("*-c.zip"))]


@needs_gcc
@pytest.mark.parametrize("name", ZIPS)
def test_the_c_of_a_model_to_download_passes_its_own_test_and_costs_what_its_card_says(name, tmp_path):
    with zipfile.ZipFile(zoo.FOLDER / f"{name}-c.zip") as file:
        file.extractall(tmp_path)
    subprocess.run(["gcc", *WARNINGS, "-O2", "network.c", "network_test.c", "-o", "check"], check=True, cwd=tmp_path)
    assert subprocess.run([tmp_path / "check"], capture_output=True, text=True).stdout == "0 of 480 pixels differ\n"
    told, made = json.loads((zoo.FOLDER / f"{name}.json").read_text())["c"], (zoo.FOLDER / f"{name}.onnx").read_bytes()
    plan = Plan(made)
    assert {str(width): plan.state_bytes(width) for width in (64, 145)} == told["state"] and plan.macs() == told["macs"]


@needs_gcc
@pytest.mark.parametrize("name", ZIPS)
def test_the_c_of_a_model_to_download_draws_the_stored_map_whole(name, real_data, tmp_path):
    """And it is, letter by letter, what the library writes today."""
    run, made = zoo.run_of(zoo.entries()[name]), (zoo.FOLDER / f"{name}.onnx").read_bytes()
    scene = load_scene(run.scene)
    stream(made, tmp_path / "network.c", scene, str(run))
    with zipfile.ZipFile(zoo.FOLDER / f"{name}-c.zip") as file:
        assert file.read("network.c") == (tmp_path / "network.c").read_bytes()
    plan = Plan(made, *digits(scene.cube))
    drawn, stored = Code(tmp_path).map(plan.raw_values(scene.cube)), Store(project() / "book" / "results").read_map(run.id)
    assert (drawn != stored).sum() <= (plan.gain > 1), "values that are no whole numbers have to be rounded first"


def test_without_a_compiler_it_is_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("hsilib.deploy.c99.shutil.which", lambda tool: None)
    learnt = values((20, 20))
    net, reduction = network("perceptron", learnt)
    stream(traced(net, reduction, CLASSES), tmp_path / "network.c", scene_of(learnt), "perceptron")
    assert "stack not measured (not measured)" in (tmp_path / "network.h").read_text()
