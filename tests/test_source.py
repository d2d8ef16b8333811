"""What code is, as a number: the same wherever it runs, another one when it changes."""

import functools
import linecache
import subprocess
import sys
import types
from pathlib import Path

import pytest
from hsilib.errors import HsiError
from hsilib.source import stamp

ROOT = Path(__file__).resolve().parents[1]
BASE = """
import math
from dataclasses import dataclass
from functools import partial
import torch
SCALE = 2.0

@dataclass
class Settings:
    rate: float = 0.5
    steps: int = 3

class Net(torch.nn.Module):
    WIDTH = 8
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, self.WIDTH)

def helper(x, k=1):
    '''Say what it does.'''
    return x * SCALE + k  # a comment

half = partial(helper, k=2)
setting = Settings(rate=0.25)
table = {"a": [1, 2], "b": (3.0,)}
start = torch.arange(3.0)

def outer(weight):
    def inner(task):
        net = Net()
        return [half(v) * setting.rate * weight + table["a"][0] + math.sqrt(v) + start.sum() for v in range(3)]
    return inner

build = outer(0.1)
"""


@pytest.fixture(autouse=True)
def notebook(monkeypatch):
    """What is run is in a namespace as that of a notebook."""
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))


def made(code):
    """What a cell of this code defines."""
    sys.modules["__main__"] = types.ModuleType("__main__")
    space = sys.modules["__main__"].__dict__
    file = f"<cell {hash(code)}>"
    linecache.cache[file] = (len(code), None, code.splitlines(True), file)
    exec(compile(code, file, "exec"), space)
    return space["build"]


OTHERS = [
    ("x * SCALE", "x + SCALE"), ("SCALE = 2.0", "SCALE = 3.0"), ("WIDTH = 8", "WIDTH = 9"), ("k=2", "k=3"),
    ("torch.nn.Linear(4,", "torch.nn.Linear(5,"), ("rate=0.25", "rate=0.2"), ("steps: int = 3", "steps: int = 4"),
    ('"a": [1, 2]', '"a": [1, 5]'), ("arange(3.0)", "arange(4.0)"), ("outer(0.1)", "outer(0.2)"),
    ("math.sqrt", "math.exp"), ("def helper(x, k=1)", "def helper(x, k=5)"),
]  # fmt: skip
SAME = [
    ("  # a comment", ""), ("    return x * SCALE", "\n\n    return x*SCALE"), ("'''Say what", "'''Do not say what"),
    ("def helper(x, k=1):", "def helper(x: float, k: int = 1) -> float:"), ("SCALE = 2.0", "SCALE = 2.0\nOTHER = 7"),
]  # fmt: skip


@pytest.mark.parametrize("old, new", [*OTHERS, *SAME])
def test_whatever_a_method_reaches_makes_it_another_and_nothing_else(old, new):
    assert BASE.count(old) == 1
    same = stamp(made(BASE), "mine") == stamp(made(BASE.replace(old, new)), "mine")
    assert same == ((old, new) in SAME)


def test_a_module_of_ones_own_counts_with_all_it_takes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    code = "import my_losses\ndef build(task):\n    return my_losses.kd(task)\n"
    seen = []
    for inner in ("return x", "return x + 1", "return x"):
        (tmp_path / "my_utils.py").write_text(f"def same(x):\n    {inner}\n")
        (tmp_path / "my_losses.py").write_text("from my_utils import same\ndef kd(x):\n    return same(x)\n")
        for name in ("my_losses", "my_utils"):
            sys.modules.pop(name, None)
        linecache.clearcache()
        seen.append(stamp(made(code), "mine"))
    assert seen[0] == seen[2] != seen[1]


def test_methods_of_objects_lambdas_and_caches():
    code = """
import functools
class Scaler:
    def __init__(self, by):
        self.by = by
    def apply(self, x):
        return x * self.by
@functools.cache
def grow(n):
    return n + 1
scale = Scaler(2).apply
plus = lambda x: x + 1
def build(task):
    return scale(plus(grow(task)))
"""
    first = stamp(made(code), "mine")
    for old, new in (("Scaler(2)", "Scaler(3)"), ("lambda x: x + 1", "lambda x: x + 2"), ("n + 1", "n + 3")):
        assert stamp(made(code.replace(old, new)), "mine") != first, new
    assert stamp(functools.partial(made(code), 1), "mine") != stamp(functools.partial(made(code), 2), "mine")


@pytest.mark.parametrize(
    "code, says",
    [
        ("def build(task):\n    return later(task)\n", "mine uses later, which is not defined yet"),
        ("rows = (i for i in range(3))\ndef build(task):\n    return rows\n", "mine uses rows, a generator, which cannot"),
        ("import io\nbox = dict(f=io.BytesIO())\ndef build(task):\n    return box\n", r"mine uses box\['f'\], a BytesIO"),
        ("exec('def build(task): return 1')", "has no source to read; give the method a version="),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_line(code, says):
    with pytest.raises(HsiError, match=says) as error:
        stamp(made(code), "mine")
    assert "version=" in str(error.value) and "\n" not in str(error.value)


def test_a_script_and_a_notebook_and_another_python_agree(tmp_path):
    code = BASE.replace("import torch\n", "").replace("torch.nn.Module", "object").replace("torch.arange(3.0)", "[1.0]")
    code = code.replace("torch.nn.Linear(4, self.WIDTH)", "self.WIDTH + 1").replace("start.sum()", "sum(start)")
    notebook = stamp(made(code), "mine")
    script = tmp_path / "script.py"
    script.write_text(f"{code}\nfrom hsilib.source import stamp\nprint(stamp(build, 'mine'))\n")
    others = sorted(Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python3"))
    for python in (sys.executable, *map(str, others)):
        alone = f"import sys; sys.path.insert(0, {str(ROOT)!r})"  # another Python lacks what the library needs
        run = f"{alone}; import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
        done = subprocess.run([python, "-c", run], capture_output=True, text=True, cwd=tmp_path)
        assert done.stdout.strip() == notebook, f"{python}: {done.stdout} {done.stderr[-500:]}"


def test_what_a_decorator_does_is_part_of_it():
    code = """
import functools
import torch
def scaled(by):
    def around(function):
        @functools.wraps(function)
        def inner(task):
            return by * function(task)
        return inner
    return around
@scaled(2)
def build(task):
    return task
"""
    plain = stamp(made(code.replace("@scaled(2)\n", "")), "mine")
    twice, thrice = stamp(made(code), "mine"), stamp(made(code.replace("(2)", "(3)")), "mine")
    quiet = code.replace("@scaled(2)", "@torch.no_grad()")
    assert len({plain, twice, thrice, stamp(made(quiet), "mine")}) == 4
    assert stamp(made(quiet), "mine") != stamp(made(quiet.replace("return task\n", "return task + 1\n")), "mine")
