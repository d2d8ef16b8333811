"""Stores side by side: what each holds, and how runs go from one to another, or from folders into tables."""

import csv
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsilib.data.cards import fits, png
from hsilib.errors import HsiError, known
from hsilib.files import inside, write_atomically
from hsilib.study import measures, rows
from hsilib.study.store import PARTS, Store, packed, published

# what a run is; two rows of one identity that differ here are not of one run
DECIDED = "scene split method ratio seed options epochs lr batch schedule precision version parents".split()
LARGE = 400_000  # pixels of a scene, from which on a packed map keeps those alone that have a true class


def told(row: Mapping[str, Any]) -> str:
    """Return how a row is called in one line."""
    return f"{row['run']} ({row['method']}, {row['scene']}, {row['split']}, seed {row['seed']})"


def listing(store: Store) -> pd.DataFrame:
    """Count the runs by scene, split and family: published ones and yours."""
    from hsilib import methods

    table, mine = store.written(), set(Store(store.folder).written()["run"])
    family = table["method"].map(lambda name: getattr(methods.METHODS.get(name), "family", "yours"))
    table = table.assign(family=family, yours=table["run"].isin(mine), published=~table["run"].isin(mine))
    return table.groupby(["scene", "split", "family"])[["published", "yours"]].sum().reset_index()


def _wrong(store, run, scene):
    """Say what is wrong with the files of a run of another store, or nothing."""
    if not all(inside(store.path(run, part), store.folder) for part in ("run.json", *PARTS)):
        return "a link out of its folder lies beside it"
    files = store.files(run)
    if "map.png" not in files:
        return "its map is missing"
    try:
        labels = store.read_map(run)
        for part, read in (("log.csv", store.read_log), ("notes.json", store.read_note)):
            if part in files:
                read(run)
    except HsiError as error:
        return str(error)
    with suppress(HsiError):  # a scene that is not here: nothing is shown of it
        return "" if fits(labels, Store().card(scene)[0]) else f"its map is none of {scene}"
    return "" if labels.ndim == 2 else "its map is none"


def merge(store: Store, folder: Path) -> tuple[int, int, list[str]]:
    """Take over the runs of another store.

    Returns how many were taken, how many were there already, and what is refused: a row that says otherwise
    than the one that is there, or that has no map.
    """
    other = Store(folder)
    if not folder.is_dir() or not (other.runs() or list(folder.glob("*.csv"))):
        raise HsiError(f"{folder}: no folder with the runs of a store")
    for path in folder.glob("*.csv"):
        if not inside(path, folder):
            raise HsiError(f"{path}: a link out of the store; put a copy in its place")
    held = store.written().set_index("run")
    taken, same, refused = 0, 0, []
    for row in other.written().to_dict("records"):
        run = row["run"]
        if run in held.index:
            differs = [c for c in (*DECIDED, *rows.ACCURACIES) if str(held.at[run, c]) != str(row[c])]
            says = f"another {', '.join(differs)} than the row that is here" if differs else ""
            same += not differs
        elif not (says := _wrong(other, run, row["scene"])):
            store.take(run, other.files(run))
            taken += 1
        if says:
            refused.append(f"{told(row)}: {says}")
    return taken, same, refused


def convert(store: Store) -> int:
    """Make folders of your runs that an earlier edition packed into tables; return how many."""
    if published() is not None and store.folder.resolve() == published().resolve():
        raise HsiError(f"{store.folder}: published runs stay in tables")
    mine, tables = Store(store.folder), packed(store.folder)
    for family, table in tables.items():
        for run in table["run"]:
            store.take(run, mine.files(run))
        (store.folder / f"{family}.csv").unlink()
        for run in table["run"]:
            for part, ending in PARTS.values():
                (store.folder / part / f"{run}.{ending}").unlink(missing_ok=True)
    measures.file(store.folder).unlink(missing_ok=True)
    return sum(map(len, tables.values()))


def pack(store: Store) -> int:
    """Move the runs of a store that are folders into its tables; return how many."""
    whole, beside, lines = set(store.written()["run"]), {}, {}
    for run in filter(whole.__contains__, store.runs()):
        files = store.files(run)
        said = json.loads(files["run.json"])
        if "map.png" in files and (drawn := store.read_map(run)).size >= LARGE:
            files["map.png"] = png(np.where(store.card(said["row"]["scene"])[0].labels > 0, drawn, 0))
        for part, (folder, ending) in PARTS.items():
            if part in files:
                write_atomically(store.folder / folder / f"{run}.{ending}", files[part])
        beside[run] = rows.measured(said.get("measured"))
        lines.setdefault(said["family"], []).append(said["row"])
    if beside:
        measures.add(store.folder, beside)
    for family, more in lines.items():
        path = store.folder / f"{family}.csv"
        write_atomically(path, _joined(path.read_text("utf-8") if path.exists() else "", more))
    store.remove(set(beside))
    return len(beside)


def _joined(text, more):
    """Return the text of a table with further rows: the cells that are there stay as they are written."""
    header, *lines = csv.reader(io.StringIO(text)) if text else [rows.COLUMNS]
    lines = [line for line in lines if len(line) == len(header)]
    held = pd.DataFrame(lines, columns=header, dtype=object).reindex(columns=rows.COLUMNS, fill_value="")
    new = pd.DataFrame(more, columns=rows.COLUMNS, dtype=object)
    table = pd.concat([held, new[~new["run"].isin(held["run"])]])
    return table.to_csv(index=False, lineterminator="\n")


def book() -> Store:
    """Return the published rows as a store to write in."""
    if published() is None:
        raise HsiError("no published rows here: --publish is for a checkout of the book")
    return Store(published())


def drop(store: Store, method: str) -> int:
    """Remove your runs of a method; published ones stay."""
    convert(store)
    mine = Store(store.folder).written()
    chosen = set(mine.loc[mine["method"] == known("method of your rows", method, set(mine["method"])), "run"])
    store.remove(chosen)
    return len(chosen)
