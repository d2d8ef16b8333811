"""How fast the ten-kilobyte network is: against the dense one, and as C against an engine."""

import ctypes
import shutil
import subprocess
import tempfile
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from hsilib.compact.lens import Lens
from hsilib.compact.spectral import Perceptron
from hsilib.data.inputs import MARGIN
from hsilib.data.splits import WINDOW
from hsilib.deploy.c99 import FLAGS, code_of, sizes
from hsilib.deploy.predict import session
from hsilib.deploy.trace import traced
from hsilib.models import measure
from hsilib.models.networks import CNN2D, initialise
from hsilib.quantize import layers

SIDE, BANDS, CLASSES = 145, 200, 16  # of Indian Pines
COLUMNS = 2  # of the scene that the patch loop is timed on: all of it takes half a minute


REDUCTION = np.zeros(BANDS, np.float32), np.ones(BANDS, np.float32)
TILES = (1, 1), (1, 8), (1, 32)


def _write(net, tile=None):
    """An untrained network as an ONNX file, for any scene or a tile of fixed size."""
    return traced(net, reduction=REDUCTION, classes=["class"] * CLASSES, tile=tile)


def _forms():
    """Lens and the perceptron, in 32 bits and in whole numbers."""
    noise = torch.Generator().manual_seed(0)
    lens, spectral = (initialise(net(BANDS, CLASSES), 0).eval() for net in (Lens, Perceptron))
    small = layers.static(lens, torch.randn(64, BANDS, WINDOW, WINDOW, generator=noise), REDUCTION)
    return lens, small, spectral, layers.static(spectral, torch.randn(64, BANDS, generator=noise), REDUCTION)


def memory() -> dict:
    """Bytes of flash and of stack that the C of a network takes, and of what it is given, by the pixels of a
    call."""
    found, names = [], ("Lens, 32 bits", "Lens, int8", "Perceptron, 32 bits", "Perceptron, int8")
    for name, net in zip(names, _forms()):
        for tile in TILES:
            with tempfile.TemporaryDirectory() as folder:
                text, given = code_of(_write(net, tile), "net")
                code = Path(folder) / "net.c"
                code.write_text(text)
                taken = {"given": 4 * prod(given), **sizes(code)}
                found.append({"network": name, "pixels": tile[0] * tile[1], **taken})
    text = [
        "{network}, {pixels} pixels a call: {ram} bytes of stack, {given} bytes given".format(**one)
        for one in found
    ]
    return {"text": "\n".join(text), "sizes": found}


def compact() -> dict:
    """Time, from raw spectra to classes and untrained, one pixel, a whole scene, and a line of it in C."""
    noise = torch.Generator().manual_seed(0)
    cube = torch.randn(SIDE, SIDE, BANDS, generator=noise)
    weight = torch.randn(BANDS, 40, generator=noise) / 14
    dense = initialise(CNN2D(40, CLASSES), 0).eval()
    lens, small, _, smaller = _forms()
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
            **_in_c(_write(small, (1, 1)), "lens, int8, in C, projections kept"),
            "perceptron, int8": engine(smaller, cube[:1, :1].contiguous(), (1, 1)),
        },
        "scene": {
            "dense, patch loop": loop, "dense, at once": at_once, "lens, 32 bits": engine(lens, cube),
            "lens, int8": engine(small, cube), "perceptron, int8": engine(smaller, cube),
        },
        "line": {
            "ONNX Runtime": engine(small, padded[:WINDOW].contiguous(), (1, SIDE)),
            **_in_c(_write(small, (1, SIDE)), "C, gcc -O3, projections kept"),
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


NEW = """
/* Project the pixels that are new, and classify. */
void step(const float spectra[{new}][{bands}], float kept[{h}][{w}][{count}], uint8_t map[1][{columns}],
          float scores[{classes}][1][{columns}]) {{
    for (int i = 0; i < {new}; i++)
        net_pixel((const float (*)[1][{bands}])spectra[i], (float (*)[1][{count}])kept[{h} - 1][i]);
    net(kept, map, scores);
}}
"""


def _in_c(made, called):
    """{name: a function that projects the pixels of a new line, or the one of a window, and classifies from
    those kept}, where gcc is."""
    if not shutil.which("gcc"):
        return {}
    code, (h, w, count) = code_of(made, "net")
    columns = w - 2 * MARGIN
    words = dict(new=columns, bands=BANDS, h=h, w=w, count=count, columns=columns, classes=CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        file, library = Path(folder) / "net.c", Path(folder) / "net.so"
        file.write_text(code + NEW.format(**words))
        flags = [*FLAGS, "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
        subprocess.run(["gcc", *flags, str(file), "-o", str(library), "-lm"], check=True)
        function = ctypes.CDLL(str(library)).step
    rng = np.random.default_rng(0)
    given = rng.normal(size=(columns, BANDS)), rng.normal(size=(h, w, count))
    arrays = *(array.astype(np.float32) for array in given), np.zeros((1, columns), np.uint8)
    arrays += (np.zeros((CLASSES, 1, columns), np.float32),)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]  # they hold their arrays
    return {called: partial(function, *pointers)}
