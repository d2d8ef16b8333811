"""How fast the ten-kilobyte network is: against the dense one, and as C against engines."""

import ctypes
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from hsilib.data.inputs import MARGIN
from hsilib.data.splits import WINDOW
from hsilib.deploy.predict import session
from hsilib.deploy.stream import Plan
from hsilib.deploy.trace import Chain, traced
from hsilib.deploy.written import Writer, header
from hsilib.methods.compact.lens import Lens
from hsilib.methods.compact.spectral import Perceptron
from hsilib.methods.quantize import layers
from hsilib.models import measure
from hsilib.models.networks import CNN2D, initialise

SIDE, BANDS, CLASSES = 145, 200, 16  # of Indian Pines
COLUMNS = 2  # of the scene that the patch loop is timed on: all of it takes half a minute
WIDE = 1000  # pixels of a line, as on a satellite, that two threads share
REDUCTION = np.full(BANDS, 127.5, np.float32), np.full(BANDS, 74, np.float32)  # of bytes, all equally likely
FLAGS = ("-O3",), ("-O3", "-march=native")
BARS = {"CHIME": 482_000, "HyspIRI": 1_500_000}  # pixels a second of two instruments


def _write(net, tile=None):
    """An untrained network as an ONNX file, for any scene or a tile of fixed size."""
    return traced(net, reduction=REDUCTION, classes=["class"] * CLASSES, tile=tile)


def _forms(*kinds):
    """Networks in 32 bits, each followed by its form in whole numbers."""
    noise, made = torch.Generator().manual_seed(0), []
    for kind, words in kinds:
        net = initialise(kind(BANDS, CLASSES, **words), 0).eval()
        shape = (64, BANDS) if net.kind == "bands" else (64, BANDS, WINDOW, WINDOW)
        made += [net, layers.static(net, torch.randn(shape, generator=noise), REDUCTION)]
    return made


def rates() -> dict:
    """Count pixels a second from raw bands, untrained, on one thread: C line by line, and engines on the
    whole scene; and how much faster two threads are on halves of the columns of a wide one."""
    cube = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, BANDS), dtype=np.uint8)
    wide = np.random.default_rng(0).integers(0, 256, (24, WIDE, BANDS), dtype=np.uint8)
    values, found, threads = torch.from_numpy(cube.astype(np.float32)), {}, {}
    for name, width in (("Lens", 22), ("Lens 5 kB", 12)):
        net, small = _forms((Lens, {"width": width, "centre": width}))
        codes = {f"C, gcc {' '.join(flags)}": _in_c(small, *flags) for flags in FLAGS}
        calls = {name: partial(code, cube) for name, code in codes.items() if code}
        calls["PyTorch, 32 bits"] = partial(Chain(net, *REDUCTION, margin=MARGIN).eval(), values)
        for form, one in (("32 bits", net), ("int8", small)):
            run = session(_write(one)).run
            calls[f"ONNX Runtime, {form}"] = partial(run, ["map"], {"cube": values.numpy()})
        with torch.inference_mode():
            times = measure.timed(calls, 2, 15, clock=time.process_time)
        found[name] = {key: round(cube[..., 0].size / median) for key, (median, _) in times.items()}
        if len(codes) == len(calls) - 3:
            threads[name] = _by_two(codes["C, gcc -O3"], wide)
    rows = [(name, key, rate) for name, row in found.items() for key, rate in row.items()]
    text = [f"{name}, {key}: {rate:,} pixels a second" for name, key, rate in rows]
    text += [f"{name}: two threads are {ratio} times as fast as one" for name, ratio in threads.items()]
    text += [f"{name}: {rate:,} pixels a second are asked for" for name, rate in BARS.items()]
    return {"text": "\n".join(text), "pixels a second": found, "two threads": threads, "bars": BARS}


def _by_two(code, cube):
    """How many times as fast two threads are, each with half of the columns and what they need beside."""
    half = WIDE // 2
    ends = (0, half + MARGIN - 1), (half - MARGIN, WIDE)
    with ThreadPoolExecutor(2) as pool:
        two = partial(pool.map, lambda end: code(cube, *end), ends)
        calls = {"one": partial(code, cube), "two": lambda: list(two())}
        times = measure.timed(calls, 1, 9)
    return round(times["one"][0] / times["two"][0], 2)


def compact() -> dict:
    """Time, from raw spectra to classes and untrained, one pixel, a whole scene, and a line of it in C."""
    noise = torch.Generator().manual_seed(0)
    cube = 127.5 + 74 * torch.randn(SIDE, SIDE, BANDS, generator=noise)
    weight = torch.randn(BANDS, 40, generator=noise) / 14
    dense = initialise(CNN2D(40, CLASSES), 0).eval()
    lens, small, _, smaller = _forms((Lens, {}), (Perceptron, {}))
    padded = F.pad(cube.permute(2, 0, 1), (MARGIN,) * 4).permute(1, 2, 0).contiguous()

    def eager(row, column):
        window = padded[row : row + WINDOW, column : column + WINDOW] @ weight
        return dense(window.permute(2, 0, 1)[None]).logits.argmax(1)

    def loop():
        return [eager(row, column) for column in range(COLUMNS) for row in range(SIDE)]

    def at_once():
        return dense.dense(F.pad((cube @ weight).permute(2, 0, 1)[None], (MARGIN,) * 4)).argmax(0)

    def engine(net, given, tile=None):
        return partial(session(_write(net, tile)).run, ["map"], {"cube": given.numpy()})

    kept = (padded[:WINDOW, :WINDOW] @ weight).permute(2, 0, 1)[None]
    spectrum = cube[0, 0].clone()

    def eager_kept():
        kept[0, :, -1, -1] = spectrum @ weight
        return dense(kept).logits.argmax(1)

    calls = {
        "pixel": {
            "dense, eager": partial(eager, 0, 0), "dense, eager, components kept": eager_kept,
            "lens, int8": engine(small, padded[:WINDOW, :WINDOW].contiguous(), (1, 1)),
            "perceptron, int8": engine(smaller, cube[:1, :1].contiguous(), (1, 1)),
        },
        "scene": {
            "dense, patch loop": loop, "dense, at once": at_once, "lens, 32 bits": engine(lens, cube),
            "lens, int8": engine(small, cube), "perceptron, int8": engine(smaller, cube),
        },
        "line": {
            "ONNX Runtime": engine(small, padded[:WINDOW].contiguous(), (1, SIDE)),
            **({"C, gcc -O3, a line at a time": code} if (code := _line_in_c(small)) else {}),
        },
    }
    found, text = {}, []
    with torch.inference_mode():
        for what, how in (("pixel", (20, 60, 5)), ("scene", (1, 7)), ("line", (2, 15))):
            times = measure.timed(calls[what], *how)
            found[what] = {name: [1e3 * v for v in pair] for name, pair in times.items()}
    part = found["scene"]["dense, patch loop"]
    found["scene"]["dense, patch loop"] = [SIDE / COLUMNS * v for v in part]
    for what, rows in found.items():
        first = next(iter(rows.values()))[0]
        for name, (ms, iqr) in rows.items():
            ratio = f"{first / ms:.1f} times as fast as the first"
            text.append(f"{what}, {name}: {ms:.3f} ± {iqr:.3f} ms, {ratio}")
    payload = {"lens": measure.payload(small, BANDS), "perceptron": measure.payload(smaller, BANDS)}
    return {"text": "\n".join(text), "ms": found, "payload": payload}


SCENE = """
/* All lines of some columns of a scene. */
void scene(void *state, const uint8_t *cube, size_t lines, size_t apart, size_t width, uint8_t *map)
{
    net_reset(state, width);
    for (size_t i = 0; i < lines; i++)
        map += net_line(state, cube + i * apart, map, NULL) ? width : 0;
    while (net_flush(state, map, NULL))
        map += width;
}
"""


def _compiled(net, *flags):
    """The C of a network as a library, and its plan; nothing where there is no gcc."""
    if not shutil.which("gcc"):
        return None, None
    plan, asked = Plan(_write(net), "uint8_t"), {"low": 0, "high": 255, "mean": REDUCTION[0]}
    writer = Writer(plan)
    with tempfile.TemporaryDirectory() as folder:
        file, library = Path(folder) / "net.c", Path(folder) / "net.so"
        file.write_text(writer.code("net", "untrained", asked) + SCENE)
        about = {"constants": writer.flash, "strip": SIDE, "flash": 0, "stack": 0, "by": ""}
        names = ["class"] * CLASSES
        file.with_suffix(".h").write_text(header("net", plan, names, "untrained", asked, about))
        command = ["gcc", "-std=c99", *flags, "-shared", "-fPIC", str(file), "-o", str(library)]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(library)), plan


def _in_c(net, *flags):
    """A function from some columns of a cube of bytes to its map."""
    code, plan = _compiled(net, *flags)
    if not code:
        return None
    size = ctypes.c_size_t
    code.scene.argtypes = ctypes.c_void_p, ctypes.c_void_p, size, size, size, ctypes.c_void_p

    def run(cube, low=0, high=None):
        lines, width = len(cube), (high or cube.shape[1]) - low
        state, drawn = np.empty(plan.state_bytes(width), np.uint8), np.empty((lines, width), np.uint8)
        place = cube.ctypes.data + low * BANDS
        code.scene(state.ctypes.data, place, lines, cube.shape[1] * BANDS, width, drawn.ctypes.data)
        return drawn

    return run


def _line_in_c(net):
    """A function that takes a line of bytes and gives the classes of another."""
    code, plan = _compiled(net, "-O3")
    if not code:
        return None
    line = np.random.default_rng(0).integers(0, 256, (SIDE, BANDS), dtype=np.uint8)
    state, drawn = np.empty(plan.state_bytes(SIDE), np.uint8), np.empty(SIDE, np.uint8)
    code.net_reset(ctypes.c_void_p(state.ctypes.data), ctypes.c_size_t(SIDE))
    pointers = [*(ctypes.c_void_p(array.ctypes.data) for array in (state, line, drawn)), None]

    def run():
        return state, line, code.net_line(*pointers)  # it holds the arrays that the pointers point to

    for _ in range(plan.lag):
        run()
    return run
