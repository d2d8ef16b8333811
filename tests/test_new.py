"""Pages of one's own, and what "Write your own" prints: each piece runs as printed."""

import ast
import linecache
import re
import shutil
import types

import jupytext
import pytest
from hsibook import apps, runner
from hsibook.new import KINDS, TEMPLATE, block
from hsilib import methods
from hsilib.__main__ import main
from hsilib.errors import HsiError
from hsilib.files import project
from hsilib.models.networks import NETWORKS
from hsilib.study.runs import plan
from hsilib.study.store import Store
from hsilib.study.sweep import collect

SMALL = "synthetic_urban_small"
PRINTED = [kind for kind in KINDS if KINDS[kind][0]]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A project that may be written to."""
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    shutil.copy(project() / "notebooks" / TEMPLATE, tmp_path / "project" / "notebooks")
    (tmp_path / "project" / "book").mkdir()
    for name in ("_toc.yml", "book/page.template"):
        shutil.copy(project() / name, tmp_path / "project" / name)
    monkeypatch.setenv("HSILIB_PROJECT", str(tmp_path / "project"))
    return tmp_path / "project"


@pytest.fixture
def known_before():
    """The methods that are there before a test adds to them; afterwards they are the same again."""
    before = [(registered, dict(registered)) for registered in (methods.METHODS, NETWORKS)]
    yield before[0][1]
    for registered, was in before:
        registered.clear(), registered.update(was)


@pytest.mark.parametrize("kind", PRINTED)
def test_what_the_template_prints_runs_as_printed(kind, known_before, tmp_path):
    code = block(kind)
    linecache.cache[f"<{kind}>"] = (len(code), None, code.splitlines(True), f"<{kind}>")
    exec(compile(code, f"<{kind}>", "exec"), types.ModuleType("__main__").__dict__)
    (name,) = set(methods.METHODS) - set(known_before)
    assert name == KINDS[kind][1] and methods.get(name).family == "mine"
    names = [name, "l1"] if kind == "quantization" else [name]
    runs = plan(SMALL, ["random"], names, [98], seeds=1, epochs=1)
    one, *wide = collect(runs, Store(tmp_path), say=lambda text: None).to_dict("records")
    assert one["payload"] > 0 and str(one["version"]).startswith("1-")
    if wide:  # two bits a weight, beside a scale and a bias each, and the components
        assert one["payload"] < wide[0]["payload"] - 3 * one["params"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_page_has_names_of_its_own_and_a_place(kind, copy, capsys):
    assert main(["new", "my_thing", "--kind", kind]) == 0
    said = capsys.readouterr().out
    path = copy / "notebooks" / "14-my-thing.md"
    assert "14-my-thing.md, and its place in _toc.yml; next: hsilib run my-thing" in said
    assert runner.source("my-thing") == path and runner.parameters_of("my-thing")["budget"][0] == "smoke"
    notebook = jupytext.read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source.partition("---\n---")[2] or cell.source)
    text, template = path.read_text(), (project() / "notebooks" / TEMPLATE).read_text()
    assert "fig-own" not in text and "fig-my-thing" in text and "# My thing" in text
    assert KINDS[kind][1] not in text or kind == "chapter"
    assert ("my_thing" in text) == (kind != "chapter") and max(map(len, text.splitlines())) <= 120
    assert (copy / "_toc.yml").read_text().count("book/chapters/14-my-thing") == 1
    assert (copy / "notebooks" / TEMPLATE).read_text() == template
    assert main(["new", "my_thing", "--kind", kind]) == 2
    assert "is taken" in capsys.readouterr().err


def test_pages_of_ones_own_stand_last_in_their_order_and_go_again(copy, capsys):
    before = (copy / "_toc.yml").read_text()
    for chapter in re.findall(r"book/chapters/(\S+)", before):
        (copy / "notebooks" / f"{chapter}.md").touch()
    for file in re.findall(r"file: (book/\w+)$", before, re.M):
        (copy / f"{file}.md").touch()
    runner.check_contents()
    assert main(["new", "first_one"]) == main(["new", "second_one"]) == 0
    text = (copy / "_toc.yml").read_text()
    listed = re.findall(r"file: (\S+)", text)
    old = re.findall(r"file: (\S+)", before)
    last = old.index("book/reexecute")
    assert listed[:last] == old[:last] and listed[last:][:2] == ["book/chapters/25-first-one", "book/chapters/26-second-one"]
    (copy / "notebooks" / "25-first-one.md").unlink()  # by hand
    with pytest.raises(HsiError, match="25-first-one.md is not there; hsilib new first-one --remove strikes it"):
        runner.check_contents()
    assert main(["new", "first-one", "--remove"]) == main(["new", "second_one", "--remove"]) == 0
    assert (copy / "_toc.yml").read_text() == before and (copy / "results" / "pages" / "26-second-one.md").is_file()
    capsys.readouterr()
    assert main(["new", "baselines", "--remove"]) == 2 and "unknown page of yours" in capsys.readouterr().err


def test_rows_of_ones_own_can_be_taken_out(tmp_path, capsys):
    runs = plan(SMALL, "random", ["mlp", "mlr"], seeds=1, epochs=1)
    collect(runs, Store(), say=lambda text: None)
    assert main(["results", "--remove", "mpl"]) == 2 and "unknown method of your rows" in capsys.readouterr().err
    assert main(["results", "--remove", "mlp"]) == 0
    assert Store().rows()["method"].tolist() == ["mlr"]
    assert Store().runs() == [runs[1].id]


def test_a_page_that_cannot_be_made_says_why(copy, capsys):
    for words, says in (
        (["scratch"], "the name scratch is taken"), (["My-Loss"], "use small letters"), (["x", "--kind", "los"], "unknown kind"),
    ):
        assert main(["new", *words]) == 2
        assert says in capsys.readouterr().err


def test_the_lists(capsys):
    assert main(["chapters"]) == 0 and "write-your-own     Write your own" in capsys.readouterr().out
    assert main(["splits"]) == 0 and capsys.readouterr().out.startswith("random ")


def test_a_method_of_a_page_is_mapped_and_exported_from_the_command_line(copy, known_before, capsys, tmp_path):
    words = ["--scene", SMALL, "--split", "disjoint", "--epochs", "1"]
    assert main(["new", "own_net", "--kind", "network"]) == 0
    assert main(["map", "own_net", *words]) == 2
    assert "--page PAGE" in capsys.readouterr().err
    assert main(["map", "own_net", *words, "--page", "own-net", "--output", str(tmp_path / "map")]) == 0
    page = str(next((copy / "notebooks").glob("*own-net.md")))
    capsys.readouterr()
    small = ["export", "static", "-o", "of", "own_net", *words, "--page", page, "--output", str(tmp_path / "own.onnx")]
    assert main(small) == 0 and (tmp_path / "own.onnx").stat().st_size > 1000
    assert sorted(Store().rows()["method"]) == ["own_net", "static"], "what the map trained is what the file starts from"
    rows = Store().rows().query("method == 'own_net'")
    methods.METHODS.pop("own_net")  # a page of another process does not know it
    one = apps.networks(rows, least=1)[0]
    assert one["name"].startswith("Own net") and one["payload"] > 0 and one["command"] is None
    assert apps.called("own_net", 98, "width=3") == "Own net 98 %, width 3"
    apps.explorer(Store())
    assert main(["map", "own_net", *words, "--page", "baselines"]) == 2
    assert main(["map", "own_net", *words, "--page", str(tmp_path / "none.md")]) == 2
