"""The command line as a user meets it: results where they belong, mistakes in one line, exit code 2."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hsibook import commands, rendered, runner
from hsilib.__main__ import main
from hsilib.errors import HsiError
from hsilib.study import machine
from hsilib.study.runs import declared, make_run
from hsilib.study.sweep import collect
from PIL import Image


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["run", "baseline"], "baselines"),
        (["run", "baselines", "-p", "sceen", "salinas_a"], "scene"),
        (["run", "baselines", "-p", "scene", "salinas_b"], "salinas_a"),
        (["run", "baselines", "-p", "scene", "salinas_a"], "SalinasA_corrected.mat not found"),
        (["run", "baselines", "-p", "methods", "['cnn2']"], "cnn2d"),
        (["run", "baselines", "-p", "splits", "['dijoint']"], "disjoint"),
        (["run", "baselines", "-p", "splits", "random"], "must be like []"),
        (["run", "baselines", "-p", "seeds", "'three'"], "must be like 10"),
        (["run", "baselines", "-p", "epochs", "True"], "must be like 30"),
        (["map", "cnn2d", "--scene", "synthetic_fields_small", "-o", "batchnorm", "False"], "batch_norm"),
        (["map", "cnn2d", "--scene", "synthetic_fields_small", "--ratio", "90"], "has no size 90"),
        (["scenes", "--add", "mine", "nowhere.npy", "nowhere_gt.npy"], "no such file"),
        (["scenes", "--add", "mine"], "NAME CUBE LABELS"),
        (["bench", "dens"], "dense"),
        (["study", "no-such.toml"], "No such file"),
        (["study", "README.md"], "not a study file"),
        (["study", "--check", "0"], "at least 1"),
        (["run", "quickstart", "-p", "ratio", "50"], "90, 95, 98"),
        (["run", "pruning", "-p", "ratios", "['98']"], "must be a list like [90, 95, 98]"),
        (["run", "pruning", "-p", "seeds", "0"], "at least 1"),
        (["run", "README.md"], "no notebook"),
        (["map", "mlp", "--scene", "synthetic_fields_small", "--seed", "-3"], "at least 0, not -3"),
    ],
)
def test_a_mistake_is_one_line(arguments, says, capsys, monkeypatch):
    monkeypatch.setattr("pooch.retrieve", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert says in err and err.startswith("error: ") and err.count("\n") == 1 and out == ""


def test_a_map_is_png_and_npy_and_files_go_to_results_unless_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["mlp", "--scene", "synthetic_urban_small", "--epochs", "1"]
    assert main(["map", *words]) == main(["export", *words]) == main(["map", *words, "--output", "map"]) == 0
    made = sorted(path.suffix for path in (tmp_path / "results").iterdir())
    assert made == [".npy", ".onnx", ".png"] and not list(tmp_path.glob("mlp*"))
    labels = np.load(tmp_path / "map.npy")
    assert labels.shape == (64, 48) and labels.min() >= 1 and labels.max() <= 9
    assert (np.array(Image.open(tmp_path / "map.png")) == labels).all()


STUDY = """
[[part]]
title = "small"
scenes = ["synthetic_urban_small"]
splits = ["disjoint"]
methods = ["baselines", "scratch"]
ratios = [98]
seeds = 2
epochs = 1
"""


def test_a_declared_study_says_what_is_missing_trains_it_and_is_checked_by_training_anew(tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text(STUDY.replace('"baselines", ', ""))
    assert main(["study", str(path), "--check", "1"]) == 2 and "nothing to check" in capsys.readouterr().err
    assert main(["study", str(path), "--list"]) == 0
    said = capsys.readouterr().out
    assert "small: 0 of 2 runs stored, about" in said and said.endswith("of one core missing\n")
    pruned = path.with_name("pruned.toml")
    pruned.write_text(STUDY.replace('"baselines", "scratch"', '"l1"'))
    assert main(["study", str(pruned), "--list"]) == 0
    assert capsys.readouterr().out.endswith("of one core missing, with the runs that they start from\n")
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()], "a list writes nothing"
    assert main(["study", str(path)]) == 0 and main(["study", str(path), "--list"]) == 0
    assert capsys.readouterr().out.endswith("small: 2 of 2 runs stored\n")
    assert main(["study", str(path), "--check", "5"]) == 0
    assert capsys.readouterr().out.count(", the same") == 2
    for file in (tmp_path / "store").glob("*/run.json"):
        said = json.loads(file.read_text())
        file.write_text(json.dumps(said | {"row": said["row"] | {"oa": said["row"]["oa"] + 1}}))
    assert main(["study", str(path), "--check", "1"]) == 2
    out, err = capsys.readouterr()
    assert "off by 1.0000 points" in out and "stored accuracies" in err


@pytest.mark.parametrize(
    "right, wrong, says",
    [
        ("seeds = 2", 'seeds = "two"', "seeds must be a whole number"), ("seeds", "sedes", "seeds"),
        ("disjoint", "dijoint", "disjoint"), ("scratch", "scrach", "scratch"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_study_file_is_one_line(right, wrong, says, tmp_path, capsys, monkeypatch):
    (tmp_path / "study.toml").write_text(STUDY.replace(right, wrong))
    test_a_mistake_is_one_line(["study", str(tmp_path / "study.toml")], says, capsys, monkeypatch)


def test_a_family_stands_for_its_methods_and_those_without_sizes_need_no_ratios(tmp_path):
    path, without = tmp_path / "study.toml", STUDY.replace("ratios = [98]\n", "")
    path.write_text(STUDY)
    assert {"rf", "cnn3d", "scratch"} <= {run.method for run in declared(path)["small"]}
    path.write_text(without.replace('"baselines", "scratch"', '"mlp", "mlr"'))
    assert len(declared(path)["small"]) == 4
    path.write_text(without)
    with pytest.raises(HsiError, match="'small' has no ratios; scratch has the sizes 90, 95, 98"):
        declared(path)


def test_lists(capsys):
    assert main(["scenes"]) == 0 and "indian_pines_8bit" in capsys.readouterr().out
    assert main(["methods", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cnn2d"]["options"]["components"] == 40
    assert main(["methods"]) == 0 and main(["run", "baselines", "--list"]) == 0
    assert "seeds" in capsys.readouterr().out


def test_help_shows_an_example(capsys):
    for command in ("scenes", "methods", "run", "study", "map", "bench"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0 and "example:" in capsys.readouterr().out


NOTEBOOK = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Mine, after {cite:p}`hinton2015distilling`

```{code-cell} ipython3
:tags: [parameters]
scene: str = "synthetic_urban_small"  # a scene
factor: int = 2  # a number
```

```{code-cell} ipython3
%s
```
"""


def at_home(tmp_path, monkeypatch, module=runner):
    """A folder is the project."""
    for name in ("project", "built"):
        monkeypatch.setattr(module, name, lambda: tmp_path)


def styled(tmp_path):
    """The folder has what the pages of the book look like."""
    for name in ("_config.yml", "book"):
        (tmp_path / name).symlink_to(Path(__file__).parents[1] / name)


def executed(tmp_path, monkeypatch, body, given):
    at_home(tmp_path, monkeypatch)
    path = tmp_path / "90-mine.md"
    path.write_text(NOTEBOOK % body)
    return runner.run(str(path.with_suffix("")), given, say=lambda text: None)  # as one says it, without .md


def test_a_notebook_of_ones_own_runs_says_where_it_came_from_and_is_a_page(tmp_path, monkeypatch):
    body = "import pandas as pd\nfrom hsilib import publish\nprint(factor * 21)\npublish(pd.DataFrame({'x': [factor]}), 'sizes')"
    made = executed(tmp_path, monkeypatch, body, {"factor": 2})
    done = json.loads(made.read_text())
    assert pd.read_csv(made.parent / "tables" / "90-mine-sizes.csv")["x"].tolist() == [2]
    assert "[This table as CSV](tables/90-mine-sizes.csv)" in made.read_text()
    assert "42" in json.dumps(done["cells"][-1]["outputs"])
    assert "".join(done["cells"][0]["source"]).startswith(
        "# Mine, after {cite:p}`hinton2015distilling`\n\n```{important}\nMade with `factor = 2`."
    )
    about = done["metadata"]["hsilib"]
    assert about["parameters"] == {"factor": 2} and about["source"] == "90-mine.md" and len(about["source_sha256"]) == 64
    injected = [c for c in done["cells"] if "injected-parameters" in c["metadata"].get("tags", [])]
    assert "remove-cell" in injected[0]["metadata"]["tags"]
    assert str(tmp_path) not in json.dumps(done)
    styled(tmp_path)
    monkeypatch.chdir(tmp_path / "data")  # its page is rendered from any folder, with its references
    page = rendered.render(made).read_text()
    assert "Distilling the knowledge" in page and ">42" in page


def test_a_page_of_ones_own_takes_no_page_of_the_book_and_sweeps_up_after_a_kill(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    chapter = tmp_path / "notebooks" / "90-mine.md"
    chapter.write_text(NOTEBOOK % "print(1)")
    book = tmp_path / "book" / "chapters" / "90-mine.ipynb"
    book.parent.mkdir(parents=True)
    left = [book.with_name(f".90-mine.{process}.part.ipynb") for process in (2**30, 2**30 + 1)]
    for path, age in zip(left, (90_000, 60)):
        path.write_text("half a page")
        os.utime(path, (time.time() - age,) * 2)
    mine = executed(tmp_path, monkeypatch, "print(factor)", {})
    assert mine != book and mine.parent.parent == tmp_path / "_build" / "runs" and not book.exists()
    assert runner.run(str(chapter), {}, say=lambda text: None) == book
    assert list(book.parent.glob(".*")) == left[1:], "what is older than a day has nobody who still writes it"


def test_a_chapter_about_families_is_a_page_of_the_book_for_each(tmp_path, monkeypatch):
    at_home(tmp_path, monkeypatch)
    (tmp_path / "notebooks").mkdir()
    text = (NOTEBOOK % "print(family)").replace("factor: int = 2", 'family: str = "pruning"')
    (tmp_path / "notebooks" / "90-each.md").write_text(text)
    (tmp_path / "_toc.yml").write_text("- file: book/chapters/90-each-self\n")
    runner.check_contents()
    for given, family in (({}, "pruning"), ({"family": "self"}, "self")):
        page = runner.run("each", dict(given), say=lambda text: None)
        assert page == tmp_path / "book" / "chapters" / f"90-each-{family}.ipynb"
        heading, *rest = "".join(json.loads(page.read_text())["cells"][0]["source"]).split("\n")
        assert heading.endswith(f": {family}") and "Made with" not in "".join(rest)
    assert runner.source_of("90-each-self").name == "90-each.md" and runner.source_of("91-each") is None


def test_a_page_is_rendered_twice_at_once(tmp_path, monkeypatch):
    page, others = tmp_path / "runs" / "mine" / "mine.ipynb", []
    page.parent.mkdir(parents=True)
    page.write_text('{"cells": []}')
    styled(tmp_path)
    at_home(tmp_path, monkeypatch, rendered)

    def build(command, **_):
        if not others:  # another process begins, and is done first
            others.append(os.getpid())
            monkeypatch.setattr(os, "getpid", lambda: 2)
            rendered.render(page)
            monkeypatch.setattr(os, "getpid", lambda: others[0])
        html = Path(command[-1]) / "_build" / "html"
        html.mkdir(parents=True)
        (html / "mine.html").write_text("page")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", build)
    assert rendered.render(page).read_text() == "page" and len(list((tmp_path / "_build" / "pages").iterdir())) == 1


def test_an_error_in_a_notebook_leaves_nothing_half_written(tmp_path, monkeypatch):
    body = "from hsilib import make_run\nmake_run(scene, 'randm', 'mlp')"
    with pytest.raises(HsiError, match="unknown split 'randm'") as error:
        executed(tmp_path, monkeypatch, body, {})
    assert "\n" not in str(error.value)
    assert not [p for p in tmp_path.rglob("*.ipynb")]


def test_words_that_do_not_fit_are_one_line_with_an_example(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["run", "baselines", "-p", "seeds=2"])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "two words, -p seeds 2; for example: hsilib run baselines -p scene" in said


def test_an_installed_package_without_a_checkout_says_so_before_it_trains(tmp_path, monkeypatch, capsys):
    (tmp_path / "90-mine.md").write_text(NOTEBOOK % "print(factor)")
    monkeypatch.setenv("HSILIB_PROJECT", str(tmp_path))
    assert main(["run", str(tmp_path / "90-mine.md"), "-p", "factor", "3"]) == 2
    assert "HSILIB_PROJECT names one" in capsys.readouterr().err and not (tmp_path / "_build").exists()


def test_a_list_of_what_is_missing_downloads_nothing(monkeypatch, capsys):
    monkeypatch.setattr("pooch.retrieve", lambda *a, **k: pytest.fail("it downloads"))
    assert main(["study", "--list"]) == 0
    needed = r"0 of \d+ runs stored; to train the others needs the files of jasper_ridge, salinas_a, samson"
    assert re.search(needed, capsys.readouterr().out)


def test_what_is_wrong_with_a_file_names_the_word_that_mends_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("labels.npy", np.ones((20, 20), np.uint8))
    for huge in (1e30, -1e13):
        cube = np.random.default_rng(0).normal(size=(20, 20, 6)).astype(np.float32)
        cube[3, 4, 5] = huge
        np.save("cube.npy", cube)
        assert main(["scenes", "--add", "mine", "cube.npy", "labels.npy"]) == 2
        assert "no instrument measures that; if it stands for no data, say so with --nodata" in capsys.readouterr().err
    np.savez("two.npz", a=np.zeros((20, 20, 4)), b=np.zeros((20, 20, 4)))
    for more in ([], ["--cube-key", "c"]):
        assert main(["scenes", "--add", "mine", "two.npz", "labels.npy", *more]) == 2
        assert "a (20, 20, 4), b (20, 20, 4); name one with --cube-key" in capsys.readouterr().err


def test_chapters_as_notebooks_run_with_papermill_from_anywhere(tmp_path, monkeypatch):
    assert main(["notebooks", str(tmp_path / "mine")]) == 0
    names = sorted(path.name for path in (tmp_path / "mine").glob("*.ipynb"))
    assert len(names) == len(runner.chapters()) and "03-baselines.ipynb" in names
    monkeypatch.chdir(tmp_path)
    words = ["papermill", "mine/01-quickstart.ipynb", "out.ipynb", "-p", "epochs", "1", "--kernel", "python3"]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "OA %" in (tmp_path / "out.ipynb").read_text()


def test_a_chapters_kernel_trains_as_the_command_line_says(tmp_path, monkeypatch):
    page = tmp_path / "90-mine.md"
    cell = "from hsilib.study.machine import TRAINING\nfrom hsibook import kernel\nprint(TRAINING, kernel.PAGE)"
    page.write_text(NOTEBOOK % cell)
    usual = dict(machine.TRAINING)
    try:
        machine.TRAINING |= {"jobs": 3, "on": "tcp://a's:1"}
        done = runner.run(str(page), {}, say=lambda text: None).read_text()
        assert "{'jobs': 3, 'device': 'cpu', 'on': \\\"tcp://a's:1\\\", 'most': 0}" in done and "90-mine" in done
        machine.TRAINING |= {"on": "", "device": "tpu"}
        with pytest.raises(HsiError, match="unknown device 'tpu'"):
            collect([make_run("synthetic_urban_small", "random", "mlp", epochs=1)])
    finally:
        machine.TRAINING |= usual


def test_a_chapter_says_what_it_costs_and_above_an_hour_wants_to_be_told(monkeypatch, capsys):
    """Also of what its later cells show, and of the runs that others start from."""
    monkeypatch.setattr(machine, "TRAINING", dict(machine.TRAINING))
    monkeypatch.setattr(commands, "LONG", 1e-9)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    words = "run offline -p scene synthetic_fields_small -p methods ['dkd','kl_cosine'] -p seeds 1 -p ratios [98]"
    assert main(words.split()) == 2
    # on two splits dense, Scratch, flips and two methods; the plain one, the parts, and weights tried on validation or tested
    said = capsys.readouterr().err
    found = re.match(r"error: (\d+) runs to train on \d+ cores, about .*, 1 MB of disk; nothing was trained: -y", said)
    assert found and int(found[1]) >= 5
