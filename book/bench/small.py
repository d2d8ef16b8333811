"""How fast networks small by design are as C, against engines."""

import ctypes
import platform
import re
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hsilib.data.inputs import MARGIN
from hsilib.data.splits import WINDOW
from hsilib.deploy.predict import session
from hsilib.deploy.stream import Plan, digits
from hsilib.deploy.trace import Chain, traced
from hsilib.deploy.written import Writer, header
from hsilib.methods.compact.lens import Lens
from hsilib.methods.quantize import layers
from hsilib.models import measure
from hsilib.models.networks import initialise

SIDE, BANDS, CLASSES = 145, 200, 16  # of Indian Pines
WIDE = 1000  # pixels of a line, as on a satellite, that two threads share
REDUCTION = np.full(BANDS, 127.5, np.float32), np.full(BANDS, 74, np.float32)  # of bytes, all equally likely
OWN = "-march=x86-64-v3" if platform.machine() == "x86_64" else "-march=native"  # wider vectors gain nothing
FLAGS = ("-O3",), ("-O3", OWN)
BARS = {"CHIME": 482_000, "HyspIRI": 1_500_000}  # pixels a second of two instruments
TABLE = r"^static const (int8_t) (weights\d+)\[(\d+)\]"


class Compiled:
    """The C of an exported file as a library of this machine; ``loose``: its weights can be written."""

    def __init__(self, made: bytes, cube: np.ndarray, *flags: str, loose: bool = False) -> None:
        self.plan = plan = Plan(made, *digits(cube))
        self.writer = Writer(plan)
        asked = {"low": cube.min(), "high": cube.max(), "mean": cube.reshape(-1, plan.bands).mean(0)}
        self.text = self.writer.code("net", "", asked)
        about = {"constants": 0, "strip": cube.shape[1], "flash": 0, "stack": 0, "by": ""}
        with tempfile.TemporaryDirectory() as folder:
            file, library = Path(folder) / "net.c", Path(folder) / "net.so"
            file.write_text(re.sub(TABLE, r"\1 \2[\3]", self.text, flags=re.M) if loose else self.text)
            names = ["class"] * plan.top.channels
            file.with_suffix(".h").write_text(header("net", plan, names, "", asked, about))
            words = ["gcc", "-std=c99", *flags, "-shared", "-fPIC", file, "-o", library]
            subprocess.run(words, check=True)
            self.code = ctypes.CDLL(str(library))
        self.code.net_reset.argtypes = ctypes.c_void_p, ctypes.c_size_t
        self.code.net_line.argtypes = (ctypes.c_void_p,) * 4
        self.code.net_flush.argtypes = (ctypes.c_void_p,) * 3

    def map(self, cube: np.ndarray) -> np.ndarray:
        """Return the map of some columns of a cube, as the C takes its values."""
        (h, w, _), row = cube.shape, 0
        state, drawn = np.empty(self.plan.state_bytes(w), np.uint8), np.empty((h, w), np.uint8)
        place, first, into = state.ctypes.data, cube.ctypes.data, drawn.ctypes.data
        self.code.net_reset(place, w)
        for line in range(h):
            row += self.code.net_line(place, first + line * cube.strides[0], into + row * w, None)
        while row < h:
            row += self.code.net_flush(place, into + row * w, None)
        return drawn


def rates() -> dict:
    """Count pixels a second from raw bands, untrained, on one thread: C line by line, and engines on the
    whole scene; and how much faster two threads are on halves of the columns of a wide one."""
    cube = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, BANDS), dtype=np.uint8)
    wide = np.random.default_rng(0).integers(0, 256, (24, WIDE, BANDS), dtype=np.uint8)
    values, found, threads = torch.from_numpy(cube.astype(np.float32)), {}, {}
    for name, width in (("Lens", 22), ("Lens 5 kB", 12)):
        net = initialise(Lens(BANDS, CLASSES, width=width, centre=width), 0).eval()
        x = torch.randn(64, BANDS, WINDOW, WINDOW, generator=torch.Generator().manual_seed(0))
        forms = {"32 bits": net, "int8": layers.static(net, x, REDUCTION)}
        files = {form: traced(one, REDUCTION, ["class"] * CLASSES) for form, one in forms.items()}
        calls = {"PyTorch, 32 bits": partial(Chain(net, *REDUCTION).eval(), values)}
        for form, file in files.items():
            calls[f"ONNX Runtime, {form}"] = partial(session(file).run, ["map"], {"cube": values.numpy()})
        codes = {flags: Compiled(files["int8"], cube, *flags) for flags in FLAGS if shutil.which("gcc")}
        calls |= {f"C, gcc {' '.join(flags)}": partial(code.map, cube) for flags, code in codes.items()}
        with torch.inference_mode():
            times = measure.timed(calls, 2, 15, clock=time.process_time)
        found[name] = {key: round(cube[..., 0].size / median) for key, (median, _) in times.items()}
        if codes:
            threads[name] = _by_two(codes[FLAGS[0]].map, wide)
    return {"pixels a second": found, "two threads": threads, "bars": BARS}


def _by_two(code, cube):
    """How many times as fast two threads are, each with half of the columns and what they need beside."""
    halves = cube[:, : WIDE // 2 + MARGIN - 1], cube[:, WIDE // 2 - MARGIN :]
    with ThreadPoolExecutor(2) as pool:
        calls = {"one": partial(code, cube), "two": lambda: list(pool.map(code, halves))}
        times = measure.timed(calls, 1, 9)
    return round(times["one"][0] / times["two"][0], 2)
