"""From a trained network to C: a file of C99 that takes raw spectra line by line, its header, and its test.

Networks in whole numbers are streamed (``stream``, ``written``).  Any other is written by emx-onnx-cgen from
its graph, for a tile of fixed size: stored in eight bits where it is, and computed in floats.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hsilib.data.formats import needs
from hsilib.data.inputs import MARGIN
from hsilib.data.scenes import Scene, load_scene
from hsilib.deploy.contract import APART, NARROW, of_scene
from hsilib.deploy.export import graph_of
from hsilib.deploy.predict import session
from hsilib.deploy.stages import NoStages
from hsilib.deploy.stream import STACK, Plan, digits
from hsilib.deploy.written import Writer, filled, header, learnt, listed
from hsilib.errors import HsiError, reason
from hsilib.files import readable, write_atomically
from hsilib.identity import Run

PART = 20, 24  # lines and columns of a scene in the test
ARM = "arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb"


def export_c(run: Run, path: Path | str, tile: tuple[int, int] = (1, 32), ram: int = 0) -> dict[str, Any]:
    """Write the trained network of a run as C, and its test beside it; return what they take.

    ``path`` ends in .c and names the functions too.  A network in whole numbers takes lines of raw
    spectra; ``ram``: bytes of state and stack, in which a strip goes of as many columns as fit.  Any other is
    computed in floats, of a ``tile`` of rows and columns, nine more on every side if it sees windows.
    """
    path = Path(path)
    if path.suffix != ".c" or not path.stem.isidentifier():
        raise HsiError(f"{path}: name the file NAME.c, with a NAME that functions in C may begin with")
    scene = load_scene(run.scene)
    if scene.cube is None:
        raise HsiError(f"{run.scene} is not held in memory as an image, and the test needs a part of it")
    made = graph_of(run)
    try:
        return stream(made, path, scene, str(run), ram)
    except NoStages as error:
        if ram:
            raise HsiError(f"{run.method} is computed in floats ({error}), not in {ram} bytes") from None
        says = f"; for int8: static -o of {run.method}" * (run.method not in ("static", "qat"))
        return floats(run, path, scene, tile) | {"arithmetic": f"floats ({error}){says}"}


def stream(made: bytes, path: Path, scene: Scene, model: str, ram: int = 0) -> dict[str, Any]:
    """Write an exported file as a stream, its header and its test."""
    name, plan, asked = path.stem, Plan(made, *digits(scene.cube)), of_scene(scene)
    there = scene.cube if scene.there is None else scene.cube[scene.there]
    asked["mean"], writer = there.reshape(-1, plan.bands).mean(0), Writer(plan)
    code = writer.code(name, model, asked)
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder) / path.name
        measured.write_text(code, "utf-8")
        measured.with_suffix(".h").write_text("#include <stddef.h>\n#include <stdint.h>\n")
        about = {"constants": writer.constants} | sizes(measured)
    about["strip"] = plan.strip(scene.labels.shape[1], ram, about["stack"] or STACK)
    top, left = (max(size - part, 0) // 2 for size, part in zip(scene.labels.shape, PART))
    part = plan.raw_values(scene.cube[top : top + PART[0], left : left + PART[1]])
    labels = session(made).run(["map"], {"cube": (part / plan.gain).astype(np.float32)})[0]
    words = learnt(plan, asked) | dict(scene=scene.name, model=model, lines=len(part), width=part.shape[1])
    words |= dict(values=listed(part.flat), labels=listed(labels.flat))
    texts = {
        ".c": code, ".h": header(name, plan, scene.classes, model, asked, about),
        "_test.c": filled("test.c", name, **words), "_scene.h": filled("scene.h", name, **words),
    }
    for end, text in texts.items():
        write_atomically(path.with_name(name + end), text)
    told = {"arithmetic": "whole numbers", "files": [str(path.with_name(name + end)) for end in texts]}
    state = {str(columns): plan.state_bytes(columns) for columns in (64, 145)}
    return told | {"macs": plan.macs(), "state": state} | about


def floats(run: Run, path: Path, scene: Scene, tile: tuple[int, int]) -> dict[str, Any]:
    """Write a network as emx-onnx-cgen computes it, for a tile of fixed size in the middle of the scene."""
    (rows, columns), (h, w) = tile, scene.labels.shape
    if not (1 <= rows <= h and 1 <= columns <= w):
        raise HsiError(f"a tile must have 1 to {h} rows and 1 to {w} columns, not {rows} and {columns}")
    compiler, onnx = needs("emx_onnx_cgen.compiler", "C code"), needs("onnx", "C code")
    made, name, test = graph_of(run, tile), path.stem, path.with_name(f"{path.stem}_test.c")
    with readable(f"{name}.c: emx-onnx-cgen could not write it"):
        options = compiler.CompilerOptions(model_name=name, large_weight_threshold=0)
        code = compiler.Compiler(options).compile(onnx.load_from_string(made))
    opened, around = session(made), np.pad(scene.cube, [(MARGIN, MARGIN)] * 2 + [(0, 0)], "edge")
    height, width, bands = opened.get_inputs()[0].shape
    top, left = (len(around) - height) // 2, (around.shape[1] - width) // 2
    cube = np.ascontiguousarray(around[top : top + height, left : left + width])
    labels, asked = opened.run(["map"], {"cube": cube})[0], of_scene(scene)
    low, high, waves = asked["low"], asked["high"], asked.get("wavelengths")
    words = dict(low=low, high=high, below=2 * low - high, above=2 * high - low, narrow=(high - low) / NARROW)
    words = {end: f"{value:.9g}" for end, value in words.items()} | dict(bands=bands, h=height, w=width)
    code += filled("refuses.c", name, **words)
    if waves:
        code += filled("waves.c", name, bands=bands, waves=listed(waves), number="double", apart=APART)
    write_atomically(path, code)
    words |= dict(values=listed(f"{value:.9g}" for value in cube.flat), labels=listed(labels.flat))
    words |= dict(scene=run.scene, model=run, rows=rows, columns=columns, classes=len(scene.classes))
    write_atomically(test, filled("floats.c", name, **words))
    return {"files": [str(path), str(test)], "tile": [rows, columns], "given": 4 * cube.size, **sizes(path)}


def sizes(path: Path) -> dict[str, Any]:
    """Return bytes of flash, of static memory, and of the stack along the deepest path of calls, and whose.

    A Cortex-M4's where its compiler is there, else those of this machine; None without a compiler.
    """
    command = ARM if shutil.which(ARM[0]) else ("gcc",)
    if not shutil.which(command[0]):
        return dict.fromkeys(("flash", "static", "stack", "by"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "net.o"
        words = [*command, "-std=c99", "-O2", "-fcallgraph-info=su", "-c", str(path), "-o", str(out)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise HsiError(f"{path}: {command[0]} does not take it ({reason(done.stderr)})")
        size = command[0].replace("gcc", "size")
        text, data, bss = subprocess.run([size, str(out)], capture_output=True, text=True).stdout.split()[6:9]
        stack = deepest(out.with_suffix(".ci").read_text("utf-8"))
    by = "Cortex-M4, gcc -O2" if command is ARM else "this machine, gcc -O2"
    return {"flash": int(text) + int(data), "static": int(data) + int(bss), "stack": stack, "by": by}


def deepest(calls: str) -> int:
    """Return the most bytes of stack along a path of calls, as gcc tells them."""
    own = {n: int(b) for n, b in re.findall(r'title: "([^"]+)" label: "[^"]*?(\d+) bytes', calls)}
    edges = re.findall(r'sourcename: "([^"]+)" targetname: "([^"]+)"', calls)

    def below(name):
        return own.get(name, 0) + max((below(into) for source, into in edges if source == name), default=0)

    return max(map(below, own), default=0)
