"""From a trained network to C: a file of C99 that takes raw spectra line by line, its header, and its test.

Networks in whole numbers are streamed (``stream``, ``written``).  Any other is written by emx-onnx-cgen from
its graph, for a tile of fixed size: stored in eight bits where it is, and computed in floats.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hsilib.data.formats import needs
from hsilib.data.scenes import Scene, load_scene
from hsilib.deploy.contract import in_c, of_scene
from hsilib.deploy.export import graph_of
from hsilib.deploy.predict import session
from hsilib.deploy.stages import NoStages
from hsilib.deploy.stream import MARGIN, STACK, Plan, digits
from hsilib.deploy.written import Writer, filled, header, listed
from hsilib.errors import HsiError
from hsilib.files import write_atomically
from hsilib.identity import Run

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-pedantic")
FLAGS = ("-std=c99", "-Wall", "-Werror", "-O2")  # what generated floats are compiled with
PART = 20, 24  # lines and columns of a scene in the test
ARM = "arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb"


def export_c(run: Run, path: Path | str, tile: tuple[int, int] = (1, 32), ram: int = 0) -> dict[str, Any]:
    """Write the trained network of a run as C, and its test beside it; return what they take.

    ``path`` ends in .c and names the functions too.  A network in whole numbers takes lines of raw
    spectra; ``ram``: bytes of state and stack, in which a strip goes of as many columns as fit.  Any other is
    computed in floats, of a ``tile`` of rows and columns, nine more on every side if it sees windows.

    >>> run = make_run("synthetic_urban_small", "disjoint", "perceptron", epochs=5)
    >>> report = export_c(run, "perceptron.c")
    """
    path = Path(path)
    if path.suffix != ".c" or not path.stem.isidentifier():
        raise HsiError(f"{path}: the name of the file must end in .c and be a name in C before it")
    scene = load_scene(run.scene)
    if scene.cube is None:
        raise HsiError(f"{run.scene} is not held in memory as an image, and the test needs a part of it")
    made = graph_of(run)
    try:
        return stream(made, path, scene, str(run), ram)
    except NoStages as error:
        if ram:
            raise HsiError(f"{run.method} is computed in floats ({error}), not in {ram} bytes") from None
        return floats(run, path, scene, tile) | {"arithmetic": f"floats ({error})"}


def stream(made: bytes, path: Path, scene: Scene, model: str, ram: int = 0) -> dict[str, Any]:
    """Write an exported file as a stream, its header and its test."""
    name, (h, w), asked = path.stem, scene.labels.shape, of_scene(scene)
    there = scene.cube.reshape(-1, scene.bands) if scene.there is None else scene.cube[scene.there]
    asked["mean"] = there.mean(0)
    plan = Plan(made, *digits(scene.cube))
    writer = Writer(plan)
    write_atomically(path, writer.code(name, model, asked))
    about = {"constants": writer.flash, "strip": w, "flash": 0, "stack": 0, "by": ""}
    words = name, plan, scene.classes, model, asked
    write_atomically(path.with_suffix(".h"), header(*words, about))  # the compiler wants one
    about |= {key: value for key, value in sizes(path).items() if key in about}
    about["strip"] = plan.strip(w, ram, about["stack"] or STACK)
    write_atomically(path.with_suffix(".h"), header(*words, about))
    files = [path.with_name(name + end) for end in (".c", ".h", "_test.c", "_scene.h")]
    low, high = (round(asked[end] * plan.gain) for end in ("low", "high"))
    write_atomically(files[2], filled("test.c", name, low=low, high=high))
    top, left = (max(size - part, 0) // 2 for size, part in zip((h, w), PART))
    part = plan.raw_values(scene.cube[top : top + PART[0], left : left + PART[1]])
    labels = session(made).run(["map"], {"cube": (part / plan.gain).astype(np.float32)})[0]
    said = dict(scene=scene.name, model=model, lines=len(part), width=part.shape[1], kind=plan.kind)
    said |= dict(values=listed(part.ravel().tolist()), labels=listed(labels.ravel().tolist()))
    write_atomically(files[3], filled("scene.h", name, **said))
    state = {str(columns): plan.state_bytes(columns) for columns in (64, 145)}
    told = {"arithmetic": "whole numbers", "files": list(map(str, files)), "macs": plan.macs()}
    return told | {"state": state} | about


def floats(run: Run, path: Path, scene: Scene, tile: tuple[int, int]) -> dict[str, Any]:
    """Write a network as emx-onnx-cgen computes it, for a tile of fixed size."""
    needs("emx_onnx_cgen", "C code")
    (rows, columns), (h, w) = tile, scene.labels.shape
    if not (1 <= rows <= h and 1 <= columns <= w):
        raise HsiError(f"a tile must have 1 to {h} rows and 1 to {w} columns, not {rows} and {columns}")
    made, name = graph_of(run, tile), path.stem
    opened = session(made)
    edge = MARGIN * (opened.get_inputs()[0].shape[0] > rows)
    cube = _tile(scene.cube, rows, columns, edge)
    labels, bands, asked = opened.run(["map"], {"cube": cube})[0], cube.shape[2], of_scene(scene)
    write_atomically(path, generated(made, name) + in_c(name, bands, asked))
    words = dict(name=name, h=cube.shape[0], w=cube.shape[1], bands=bands, rows=rows, columns=columns)
    test = path.with_name(f"{name}_test.c")
    words |= {end: f"{asked[end]:.9g}" for end in ("low", "high")}
    words |= dict(values=_nested(cube, lambda value: f"{value:.9g}"), labels=_nested(labels, str))
    words |= dict(scene=run.scene, model=run, classes=len(scene.classes))
    write_atomically(test, filled("floats.c", **words))
    return {"files": [str(path), str(test)], "tile": [rows, columns], "given": 4 * cube.size, **sizes(path)}


def generated(made: bytes, name: str) -> str:
    """Return the C that emx-onnx-cgen makes of an ONNX file whose sizes are fixed."""
    with tempfile.TemporaryDirectory() as folder:
        graph, code = Path(folder) / "net.onnx", Path(folder) / "net.c"
        graph.write_bytes(made)
        words = ["--model-name", name, "--large-weight-threshold", "0"]
        run_it = "import sys; from emx_onnx_cgen.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", run_it, "compile", *words, str(graph), str(code)]
        done = subprocess.run(command, capture_output=True, text=True)
        if not code.is_file():
            reason = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
            raise HsiError(f"{name}.c: emx-onnx-cgen could not write it ({reason[-1].strip()[:200]})")
        return code.read_text()


def _nested(array, text):
    """An array as C initialises one."""
    if array.ndim == 1:
        return "{" + ",".join(map(text, array.tolist())) + "}"
    return "{" + ",\n".join(_nested(part, text) for part in array) + "}"


def _tile(cube, rows, columns, edge):
    """A tile in the middle of the scene, with the mean spectrum where its margin leaves it."""
    top, left = (cube.shape[0] - rows) // 2, (cube.shape[1] - columns) // 2
    around = np.pad(cube, ((edge, edge), (edge, edge), (0, 0)))
    inside = np.pad(np.ones(cube.shape[:2], bool), edge)
    around[~inside] = cube.reshape(-1, cube.shape[2]).mean(0)
    return np.ascontiguousarray(around[top : top + rows + 2 * edge, left : left + columns + 2 * edge])


def sizes(path: Path) -> dict[str, Any]:
    """Return bytes of flash, of static memory, and of the stack along the deepest path of calls, and whose.

    A Cortex-M4's where its compiler is there, else those of this machine; None without a compiler.
    """
    own = ["gcc"] if shutil.which("gcc") else None
    command = ARM if shutil.which(ARM[0]) else own
    if not command:
        return {"flash": None, "static": None, "stack": None, "by": None}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "net.o"
        words = [*command, "-std=c99", "-O2", "-fcallgraph-info=su", "-c", str(path), "-o", str(out)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise HsiError(f"{path}: {command[0]} does not take it ({done.stderr.strip().splitlines()[0]})")
        size = command[0].replace("gcc", "size")
        text, data, bss = subprocess.run([size, str(out)], capture_output=True, text=True).stdout.split()[6:9]
        calls = out.with_suffix(".ci").read_text()
    by = "Cortex-M4, gcc -O2" if command is ARM else "this machine, gcc -O2"
    return {"flash": int(text) + int(data), "static": int(data) + int(bss), "stack": deepest(calls), "by": by}


def deepest(calls: str) -> int:
    """Return the most bytes of stack along a path of calls, as gcc tells them."""
    own = {n: int(b) for n, b in re.findall(r'title: "([^"]+)" label: "[^"]*?(\d+) bytes', calls)}
    into = {}
    for source, target in re.findall(r'sourcename: "([^"]+)" targetname: "([^"]+)"', calls):
        into.setdefault(source, set()).add(target)

    def below(name):
        return own.get(name, 0) + max(map(below, into.get(name, ())), default=0)

    return max(map(below, own), default=0)
