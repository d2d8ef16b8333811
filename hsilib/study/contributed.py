"""Rows from somebody else: is each what it says it is?"""

import io
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hsilib import methods
from hsilib.data.cards import fits
from hsilib.data.splits import split_of
from hsilib.errors import HsiError
from hsilib.files import inside
from hsilib.identity import Recipe, Run
from hsilib.models.evaluate import metrics
from hsilib.study.merge import told
from hsilib.study.runs import make_run
from hsilib.study.store import Store

SEEN = ("oa", "aa", "aa30", "kappa", "f1")  # what a map tells; top-5 needs scores
APART = 2e-4  # percent by which a stored figure may be rounded


def run_of(row: dict[str, Any]) -> Run:
    """Return the run that a row says it is."""
    usual = methods.get(row["method"]).defaults(row["scene"])
    options = dict(part.partition("=")[::2] for part in row["options"].split())
    for name, text in options.items():
        kind = type(usual.get(name, ""))
        options[name] = text == "True" if kind is bool else kind(text)
    run = make_run(*(row[k] for k in ("scene", "split", "method", "ratio", "seed")), options=options)
    return replace(run, recipe=Recipe(**{name: row[name] for name in Recipe.__dataclass_fields__}))


def differ(found: float, said: float, apart: float = APART) -> bool:
    """Tell whether a figure is another than the row says; one that nobody has is the same."""
    return not np.isclose(found, said, rtol=0, atol=apart, equal_nan=True)


def _wrong(row, store):
    """Say what is wrong with a row, or nothing."""
    try:
        known = {"version": methods.get(row["method"]).version, "code": methods.code(row["method"])}
        for name, here in known.items():
            if isinstance(said := row.get(name), str | int) and str(said) != str(here):
                return f"the code of {row['method']} is another: version {said}, here it is {here}"
        if (run := run_of(row)).id != row["run"]:
            return f"its identity is {run.id}, by what it says of itself"
        path = store.map_path(run.id)
        if not path.is_file() or not inside(path, store.folder):
            return "its map is missing"
        scene, labels = Store().card(run.scene)[0], store.read_map(run.id)
        split = split_of(scene, run.split, run.seed)
        if not fits(labels, scene) or not (drawn := labels.ravel()[split.test].astype(int)).all():
            return f"its map is none of {run.scene}"
        found = metrics(np.eye(len(scene.classes))[drawn - 1], split.test_y)
        apart = [name for name in SEEN if not np.isnan(row[name]) and differ(found[name], row[name])]
        says = [f"{name} is {row[name]}, its map gives {found[name]:.4f}" for name in apart]
        here = {"train": len(split.train), "test": len(split.test), "leakage": 100 * split.leakage}
        says += [f"{name} is {row[name]}, its split gives {value:.6g}" for name, value in here.items()
                 if differ(value, row[name], 0.006)]
        return "; ".join(says)
    except (HsiError, ValueError) as error:
        return str(error)


def check(folder: Path | str) -> tuple[int, list[str]]:
    """Recompute the identity and the accuracies of the rows in a folder.

    Returns how many rows there are, and a line for each that is not what it says.
    """
    store = Store(folder)
    with redirect_stderr(io.StringIO()) as unread:
        rows = store.rows().to_dict("records")
    refused = unread.getvalue().splitlines()
    many = len(rows) + len(refused)
    if not many:
        raise HsiError(f"{folder}: no folder with rows of yours")
    wrong = ((row, _wrong(row, store)) for row in rows)
    return many, refused + [f"{told(row)}: {says}" for row, says in wrong if says]
