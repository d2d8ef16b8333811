"""The library without the book, the book by its old name, and stamps that outlive a move."""

import subprocess
import sys
from pathlib import Path

import pytest
from hsibook import text
from hsilib import CNN2D, Method, Recipe, Run, Task, methods
from hsilib.__main__ import main
from hsilib.methods.compact import lens
from hsilib.methods.compact.lens import Lens
from hsilib.methods.prune.surgery import LAYERS, strongest
from hsilib.source import stamp

ROOT = Path(__file__).resolve().parents[1]


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_the_library_loads_without_what_only_the_book_needs():
    code = """
import sys
from importlib import import_module
from pkgutil import walk_packages

for name in "matplotlib seaborn jupytext papermill ipykernel nbformat hsibook".split():
    sys.modules[name] = None  # as if it were not installed
import hsilib
for found in walk_packages(hsilib.__path__, "hsilib."):
    if found.name != "hsilib.pages":
        import_module(found.name)
print(len(hsilib.methods.METHODS))
"""
    assert int(run(code)[0]) > 50


@pytest.mark.parametrize("words", [["run", "baselines", "--list"], ["notebooks", "somewhere"]], ids=" ".join)
def test_words_of_the_book_say_what_is_missing(monkeypatch, capsys, words):
    for name in ("seaborn", "papermill"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "seaborn, papermill not installed; chapters need more packages" in error and error.count("\n") == 1


def test_without_the_book_its_words_and_names_say_where_it_is(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("hsilib.__main__.entry_points", lambda group: [])
    for words in (["run", "baselines", "-p", "seeds", "2"], ["chapters"], ["new", "my_loss"]):
        with pytest.raises(SystemExit):
            main(words)
        told = capsys.readouterr().err
        assert told == "error: the chapters are a package of their own: pip install hsibook (in a clone: ./book)\n"
    monkeypatch.setenv("HSILIB_PROJECT", str(tmp_path))
    assert main(["study", "--list"]) == 2 and "pip install hsibook" in capsys.readouterr().err
    code = """
import sys
sys.modules["hsibook"] = None
from hsilib import *
try:
    from hsilib import publish
except ImportError:
    print(hasattr(sys.modules["hsilib"], "publish"), plan.__name__)
"""
    assert run(code)[0] == "False plan\n"


@pytest.mark.nightly
def test_the_book_by_its_old_name_warns_and_works():
    code = "from hsilib.pages.text import number; import hsilib.pages.stats as s; from hsibook import stats, text"
    assert "hsilib.pages is called hsibook now" in run(f"{code}; assert s is stats and number is text.number")[1]
    assert run("from hsilib import pick, mean_sd, __version__")[1] == "", "public names have not moved"


def a(task):
    return Lens, LAYERS, strongest


def b(task):
    return lens.Lens, methods.get


def c(task):
    return Recipe(epochs=3), Run, Task, Method, CNN2D


def d(task):
    return text.number(3)


def test_stamps_of_own_methods_are_those_of_the_edition_before():
    """They were computed when a room of each chapter stood beside ``data``, and the book's code in ``pages``."""
    stamps = {a: "b74f1536", b: "9bb72443", c: "24eb0e7c", d: "4b8d5c42"}
    assert {function: stamp(function, "x") for function in stamps} == stamps
