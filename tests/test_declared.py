"""What was declared before a scene was looked at, is older than the first row about it, and has not changed since."""

import subprocess
import tomllib

import pytest
from hsilib.data.registry import REGISTRY
from hsilib.data.splits import SPLITS
from hsilib.files import project

DECLARED = sorted((project() / "book" / "declared").glob("*.toml"))


def git(*words):
    return subprocess.run(["git", *words], cwd=project(), capture_output=True, text=True)


def first_row_of(scene):
    """The first commit of the published rows of a scene; an empty text if there is none."""
    rows = git("log", "--reverse", "--topo-order", "--format=%H", f"-S,{scene},", "--", "book/results/*.csv")
    return rows.stdout.partition("\n")[0]


@pytest.mark.parametrize("path", DECLARED, ids=lambda path: path.stem)
def test_what_is_declared_is_older_than_the_first_row_about_it(path):
    parts = tomllib.loads(path.read_text())["part"]
    scenes = {scene for part in parts for scene in part["scenes"]}
    assert scenes <= set(REGISTRY) and {split for part in parts for split in part["splits"]} <= set(SPLITS)
    if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("needs the history of the repository: there is none, or a shallow one")
    last = git("log", "-1", "--format=%H", "--", str(path)).stdout.strip()
    first = list(filter(None, map(first_row_of, scenes)))
    if first:
        assert last and not git("status", "--porcelain", str(path)).stdout, f"{path.name} is not committed as it is"
    for row in first:
        assert row != last and git("merge-base", "--is-ancestor", last, row).returncode == 0, f"{row} is older"


def test_the_first_row_of_a_scene_is_found_in_the_history():
    if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("needs the history of the repository: there is none, or a shallow one")
    assert len(first_row_of("salinas_a")) == 40 and first_row_of("no_such_scene") == ""
