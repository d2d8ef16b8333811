"""What was declared before a scene was looked at, is older than the first row about it, and has not changed since."""

import subprocess
import tomllib

import pytest
from hsibook.declared import Declared
from hsilib.data.registry import REGISTRY
from hsilib.data.splits import SPLITS
from hsilib.files import project
from hsilib.study.execute import execute
from hsilib.study.runs import declared as runs_of
from hsilib.study.store import Store

DECLARED = sorted((project() / "book" / "declared").glob("*.toml"))


def git(*words):
    return subprocess.run(["git", *words], cwd=project(), capture_output=True, text=True)


def with_history():
    if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("needs the history of the repository: there is none, or a shallow one")


def first_row_of(scene):
    """The first commit of the published rows of a scene; an empty text if there is none."""
    rows = git("log", "--reverse", "--topo-order", "--format=%H", f"-S,{scene},", "--", "book/results/*.csv")
    return rows.stdout.partition("\n")[0]


@pytest.mark.parametrize("path", DECLARED, ids=lambda path: path.stem)
def test_what_is_declared_is_older_than_the_first_row_about_it(path):
    parts = tomllib.loads(path.read_text())["part"]
    scenes = {scene for part in parts for scene in part["scenes"]}
    assert scenes <= set(REGISTRY) and {split for part in parts for split in part["splits"]} <= set(SPLITS)
    with_history()
    last = git("log", "-1", "--format=%H", "--", str(path)).stdout.strip()
    first = list(filter(None, map(first_row_of, scenes)))
    if first:
        assert last and not git("status", "--porcelain", str(path)).stdout, f"{path.name} is not committed as it is"
    for row in first:
        assert row != last and git("merge-base", "--is-ancestor", last, row).returncode == 0, f"{row} is older"


def test_the_first_row_of_a_scene_is_found_in_the_history():
    with_history()
    assert len(first_row_of("salinas_a")) == 40 and first_row_of("no_such_scene") == ""


STUDY = """
[[part]]
title = "one"
scenes = ["synthetic_urban_small"]
splits = ["disjoint", "random"]
methods = ["perceptron", "mlp", "cnn1d"]
ratios = [0]
seeds = 2
epochs = 1
"""
ASKED, POOLS = [(1, "Perceptron", "best"), (2, "MLP", "Perceptron"), (2, "MLP", "CNN1D")], {"best": lambda name: name == "MLP"}


def test_declared_questions_are_answered_by_what_is_stored(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    store, runs = Store(tmp_path / "store"), runs_of(tmp_path / "study.toml")["one"]
    for run in runs:
        if (run.method, run.split, run.seed) != ("cnn1d", "disjoint", 1):
            execute(run, store)
    seen = Declared(tmp_path / "study.toml", store)
    assert seen.missing == ["CNN1D"] and "CNN1D" in seen.found["random"]
    answers = seen.ask(ASKED, POOLS)
    assert len(answers) == 10 and set(answers["p"].dropna() <= 1) == {True}, "CNN1D is in one division of two"
    first = answers.iloc[0]
    means = [store.rows().query("method == @m and split == 'disjoint'")["oa"].mean() for m in ("perceptron", "mlp")]
    assert abs(first["difference"] - (means[0] - means[1])) < 1e-3 and first["against"] == "MLP"
    words = dict(names={"disjoint": "here", "random": "there"})
    assert seen.everywhere("MLP", "CNN1D", **words) == {"holds": None}
    for low, high, level, says in ((1, 2, False, True), (-1, 2, False, "open"), (-2, -1, False, False), (-1, 2, True, "open")):
        seen.answers = answers.assign(low=low, high=high)
        assert seen.everywhere("MLP", "Perceptron", level=level, **words)["holds"] == says
    seen.answers.loc[seen.answers["split"] == "disjoint", ["low", "high"]] = -2, -1
    assert seen.everywhere("MLP", "Perceptron", level=True, **words)["holds"] is False, "behind in one division"
