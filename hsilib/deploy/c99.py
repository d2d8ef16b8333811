"""From a trained network to C: one file of C99 that needs libc and -lm only, for a line or a tile of a scene.

emx-onnx-cgen writes it from the ONNX graph whose sizes are fixed.  A second file is its test: it classifies a
tile of the scene and compares the classes with those of onnxruntime, and fails if one differs.
"""

import shutil
import subprocess
import sys
import tempfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hsilib.data.formats import needs
from hsilib.data.scenes import load_scene
from hsilib.deploy.contract import in_c, of_scene
from hsilib.deploy.export import graph_of
from hsilib.deploy.predict import session
from hsilib.deploy.tight import apart, ends, parts, tight
from hsilib.errors import HsiError
from hsilib.files import write_atomically
from hsilib.study.runs import Run

FLAGS = ("-std=c99", "-Wall", "-Werror", "-O2")
TEST = """\
/* It classifies a tile of {scene} and compares the classes with those of onnxruntime: {model} */
#include <math.h>
#include <stdint.h>
#include <stdio.h>

void {name}(const float {given}, uint8_t map[{rows}][{columns}],
            float scores[{classes}][{rows}][{columns}]);
int {name}_refuses(int bands, double least, double most);
int {name}_refuses_values(int count, const float values[]);
{declared}
static const float cube[{h}][{w}][{bands}] = {values};
static const uint8_t want[{rows}][{columns}] = {labels};
static uint8_t map[{rows}][{columns}];
static float scores[{classes}][{rows}][{columns}];

int main(void) {{
    int i, j, wrong = 0;
{called}
    for (i = 0; i < {rows}; i++)
        for (j = 0; j < {columns}; j++)
            wrong += map[i][j] != want[i][j];
    printf("%d of %d pixels differ\\n", wrong, {rows} * {columns});
    if (!{name}_refuses({bands}, NAN, NAN) || {name}_refuses_values({bands}, cube[{h} / 2][{w} / 2]))
        return 2;
    if ({name}_refuses({bands}, {low:.9g}, {high:.9g}) || !{name}_refuses({bands} + 1, {low:.9g}, {high:.9g}))
        return 2;
    return wrong != 0;
}}
"""
DECLARED = """void {name}_pixel(const float bands[1][1][{bands}], float kept[1][1][{kept}]);

static float kept[{h}][{w}][{kept}];"""
CALLED = """    for (i = 0; i < {h}; i++)
        for (j = 0; j < {w}; j++)
            {name}_pixel((const float (*)[1][{bands}])cube[i][j], (float (*)[1][{kept}])kept[i][j]);
    {name}((const float (*)[{w}][{kept}])kept, map, scores);"""
ABOUT = """\
/* {name}_pixel makes {kept} numbers of the {bands} bands of a pixel, once.
   {name} classifies {rows} x {columns} pixels from the numbers of {h} x {w}: nine more on every side.
   Outside of a scene lies its mean spectrum. */
"""


def export_c(run: Run, path: Path | str, tile: tuple[int, int] = (1, 32)) -> dict[str, Any]:
    """Write the trained network of a run as C, and its test beside it; return what they take.

    ``path`` ends in .c and names the function too.  ``tile``: rows and columns that one call classifies.  A
    network of windows is given nine more on every side, the mean spectrum outside of the scene; where it
    projects the bands first, a second function, NAME_pixel, does that for one pixel.  flash, ram and given:
    bytes of code with its constants, of the stack, as gcc makes them (None without gcc), and of what a call
    is given.

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
    code, given = code_of(made, path.stem)
    write_atomically(path, code + in_c(path.stem, cube.shape[2], asked))
    words = dict(name=path.stem, h=cube.shape[0], w=cube.shape[1], bands=cube.shape[2], kept=given[2])
    split = given[2] < cube.shape[2]
    text = TEST.format(
        scene=run.scene, model=run, rows=rows, columns=columns, classes=len(scene.classes),
        given="{}[{}][{}][{}]".format("kept" if split else "cube", *given),
        declared=DECLARED.format(**words) if split else "",
        called=CALLED.format(**words) if split else f"    {path.stem}(cube, map, scores);",
        values=_nested(cube, lambda value: f"{value:.9g}"), labels=_nested(labels, str), low=asked["low"],
        high=asked["high"], **words,
    )
    test = path.with_name(f"{path.stem}_test.c")
    write_atomically(test, text)
    made = {"code": str(path), "test": str(test), "tile": [rows, columns], "given": 4 * prod(given)}
    return made | sizes(path)


def code_of(made: bytes, name: str) -> tuple[str, list[int]]:
    """Return the C of an ONNX file whose sizes are fixed, and the shape of what its function is given: raw
    spectra, or what a second function makes of each pixel's."""
    (h, w, bands), (rows, columns) = ends(made)
    cut = parts(made) if h > rows else None
    if not cut:
        return generated(made, name), [h, w, bands]
    pixel, tile = cut
    kept = ends(tile)[0][2]
    about = ABOUT.format(name=name, kept=kept, bands=bands, rows=rows, columns=columns, h=h, w=w)
    return about + generated(tile, name) + apart(generated(pixel, f"{name}_pixel")), [h, w, kept]


def generated(made: bytes, name: str) -> str:
    """Return the C that emx-onnx-cgen makes of an ONNX file whose sizes are fixed, with its memory reused."""
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
        return tight(code.read_text(), name)


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
