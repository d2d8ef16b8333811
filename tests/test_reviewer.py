"""The headline, recomputed by a script that shares nothing with the library."""

import ast
from pathlib import Path

import pandas as pd
import pytest
from hsibook import fields
from hsilib import Store
from hsilib.files import project

import reviewer

RECIPE = dict(epochs=60, lr=2e-3, schedule="one_cycle", split="disjoint")


def test_the_reviewer_shares_no_code_with_the_library():
    tree = ast.parse(Path(reviewer.__file__).read_text())
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert {name.split(".")[0] for name in names} == {"pathlib", "numpy", "pandas", "PIL", "scipy"}


def test_the_reviewer_finds_what_the_pages_say():
    lines, runs = reviewer.claims(draws=600)
    store = Store(project() / "book" / "results")
    rows = store.rows()
    held = rows.set_index("run")
    assert len(runs) >= 100
    for run, found in runs.items():
        assert found == pytest.approx(held.loc[run, ["oa", "aa30", "aa"]].tolist(), abs=1e-3), run

    def of(scene, name):
        method, options, size = reviewer.NETWORKS[name]
        words = RECIPE | dict(scene=scene, method=method, options=options, ratio=size)
        return rows[(rows[list(words)] == pd.Series(words)).all(axis=1)]

    for scene, one, other in (reviewer.CLAIMS[0], reviewer.CLAIMS[7]):
        mine = lines[(lines["scene"] == scene) & (lines["claim"] == f"{one} less {other}")]
        pair = fields.Pair(store, of(scene, one), of(scene, other))
        for found, said in zip(mine.to_dict("records"), fields.table({"": pair}).to_dict("records")):
            assert str(found["fields"]) == said["fields"] and found["seeds"] == said["seeds"]
            assert found["difference"] == pytest.approx(said["difference"], abs=1e-3)
            assert (found["low"], found["high"]) == pytest.approx((said["low"], said["high"]), abs=1e-3)
            reach = (said["high, fields"] - said["low, fields"]) / 8  # both are draws
            assert found["low, fields"] == pytest.approx(said["low, fields"], abs=reach)
            assert found["high, fields"] == pytest.approx(said["high, fields"], abs=reach)
            if said["metric"] == "oa":
                assert (found["better"], found["worse"]) == (said["better"], said["worse"])
                assert found["most"] == pytest.approx(said["points"], abs=1e-3)
