"""From a trained network to C: one file of C99 that needs libc only, for a line or a tile of a scene.

emx-onnx-cgen writes it from the ONNX graph whose sizes are fixed.  A second file is its test: it classifies a
tile of the scene and compares the classes with those of onnxruntime, and fails if one differs.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hsilib.data.formats import needs
from hsilib.data.scenes import load_scene
from hsilib.deploy.contract import in_c, of_scene
from hsilib.deploy.export import graph_of
from hsilib.deploy.predict import session
from hsilib.errors import HsiError
from hsilib.files import write_atomically
from hsilib.study.runs import Run

FLAGS = ("-std=c99", "-Wall", "-Werror", "-O2")
TEST = """\
/* It classifies a tile of {scene} and compares the classes with those of onnxruntime: {model} */
#include <stdint.h>
#include <stdio.h>

void {name}(const float cube[{h}][{w}][{bands}], uint8_t map[{rows}][{columns}],
            float scores[{classes}][{rows}][{columns}]);
int {name}_refuses(int bands, double least, double most);

static const float cube[{h}][{w}][{bands}] = {values};
static const uint8_t want[{rows}][{columns}] = {labels};
static uint8_t map[{rows}][{columns}];
static float scores[{classes}][{rows}][{columns}];

int main(void) {{
    int i, j, wrong = 0;
    {name}(cube, map, scores);
    for (i = 0; i < {rows}; i++)
        for (j = 0; j < {columns}; j++)
            wrong += map[i][j] != want[i][j];
    printf("%d of %d pixels differ\\n", wrong, {rows} * {columns});
    if ({name}_refuses({bands}, {low:.9g}, {high:.9g}) || !{name}_refuses({bands} + 1, {low:.9g}, {high:.9g}))
        return 2;
    return wrong != 0;
}}
"""


def export_c(run: Run, path: Path | str, tile: tuple[int, int] = (1, 32)) -> dict[str, Any]:
    """Write the trained network of a run as C, and its test beside it; return what they take.

    ``path`` ends in .c and names the function too.  ``tile``: rows and columns that one call classifies.  A
    network of windows is given nine more on every side, the mean spectrum outside of the scene.  flash and
    ram: bytes of code with its constants, and of the stack, as gcc makes them; None without gcc.

    >>> run = make_run("synthetic_urban_small", "disjoint", "perceptron", epochs=5)
    >>> report = export_c(run, "perceptron.c")
    """
    path = Path(path)
    if path.suffix != ".c" or not path.stem.isidentifier():
        raise HsiError(f"{path}: the name of the file must end in .c and be a name in C before it")
    needs("emx_onnx_cgen", "C code")
    rows, columns = tile
    scene = load_scene(run.scene)
    if scene.cube is None:
        raise HsiError(f"{run.scene} is not held in memory as an image, and the test needs a tile of it")
    h, w = scene.labels.shape
    if not (1 <= rows <= h and 1 <= columns <= w):
        raise HsiError(f"a tile must have 1 to {h} rows and 1 to {w} columns, not {rows} and {columns}")
    made = graph_of(run, tile)
    opened = session(made)
    edge = (opened.get_inputs()[0].shape[0] - rows) // 2
    cube = _tile(scene.cube, rows, columns, edge)
    labels, asked = opened.run(["map"], {"cube": cube})[0], of_scene(scene)
    write_atomically(path, generated(made, path.stem) + in_c(path.stem, cube.shape[2], asked))
    text = TEST.format(
        scene=run.scene, model=run, name=path.stem, h=rows + 2 * edge, w=columns + 2 * edge, rows=rows,
        columns=columns, bands=cube.shape[2], classes=len(scene.classes),
        values=_nested(cube, lambda value: f"{value:.9g}"), labels=_nested(labels, str), low=asked["low"],
        high=asked["high"],
    )
    test = path.with_name(f"{path.stem}_test.c")
    write_atomically(test, text)
    return {"code": str(path), "test": str(test), "tile": [rows, columns], **sizes(path)}


def generated(made: bytes, name: str) -> str:
    """Return the C that emx-onnx-cgen makes of an ONNX file whose sizes are fixed."""
    needs("emx_onnx_cgen", "C code")
    with tempfile.TemporaryDirectory() as folder:
        graph, code = Path(folder) / "net.onnx", Path(folder) / "net.c"
        graph.write_bytes(made)
        words = ["--model-name", name, "--large-temp-threshold", "0", "--large-weight-threshold", "0"]
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


def sizes(path: Path) -> dict[str, int | None]:
    """Bytes of code with constants, and of the deepest stack, as gcc makes them of a C file."""
    if not shutil.which("gcc"):
        return {"flash": None, "ram": None}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "net.o"
        command = ["gcc", *FLAGS, "-fstack-usage", "-c", str(path), "-o", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise HsiError(f"{path}: gcc does not take it ({done.stderr.strip().splitlines()[0]})")
        told = subprocess.run(["size", str(out)], capture_output=True, text=True).stdout.splitlines()
        text, data = map(int, told[1].split()[:2])
        stacks = [line.split("\t")[1] for line in out.with_suffix(".su").read_text().splitlines()]
        deepest = sorted(map(int, stacks))[-2:]  # the one that calls, and the largest that it calls
    return {"flash": text + data, "ram": sum(deepest)}
