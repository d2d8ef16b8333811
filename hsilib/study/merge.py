"""Stores side by side: what each holds, and rows of another one taken over."""

import shutil
from pathlib import Path

import pandas as pd

from hsilib.data.cards import fits
from hsilib.errors import HsiError, known
from hsilib.files import inside
from hsilib.study import measures
from hsilib.study.rows import COLUMNS
from hsilib.study.store import Store, published

# what a run is; two rows of one identity that differ here are not of one run
DECIDED = "scene split method ratio seed options epochs lr batch schedule precision version parents".split()
MEASURED = ("oa", "top5", "aa", "kappa", "f1")
BESIDE = {"maps": "png", "logs": "csv", "notes": "json"}


def listing(store: Store) -> pd.DataFrame:
    """Count the runs by scene, split and family: published ones and yours."""
    table = _counted(store.rows())
    mine = _counted(Store(store.folder).rows()).rename("yours")
    table = table.rename("all").to_frame().join(mine).fillna(0).astype(int)
    table.insert(0, "published", table.pop("all") - table["yours"])
    return table.reset_index()


def _counted(rows):
    from hsilib import methods

    known = rows["method"].map(lambda name: getattr(methods.METHODS.get(name), "family", "yours"))
    return rows.assign(family=known).groupby(["scene", "split", "family"], sort=True).size()


def _beside(store, run, scene):
    """Say what is wrong with what lies beside a run of another store."""
    if not all(inside(store.folder / part / f"{run}.{kind}", store.folder) for part, kind in BESIDE.items()):
        return "a link out of its folder lies beside it"
    if not store.map_path(run).is_file():
        return "its map is missing"
    try:
        labels = store.read_map(run)
        for part, read in (("logs", store.read_log), ("notes", store.read_note)):
            if store.find(part, f"{run}.{BESIDE[part]}").exists():
                read(run)
    except HsiError as error:
        return str(error)
    try:
        there = Store().card(scene)[0]
    except HsiError:  # a scene that is not here: nothing is shown of it
        return "" if labels.ndim == 2 else "its map is none"
    return "" if fits(labels, there) else f"its map is none of {scene}"


def merge(store: Store, folder: Path) -> tuple[int, int, list[str]]:
    """Take over the rows of another store with all that lies beside them.

    Returns how many were taken, how many were there already, and what is refused: a row that says otherwise
    than the one that is there, or that has no map.
    """
    if not folder.is_dir() or not list(folder.glob("*.csv")):
        raise HsiError(f"{folder}: no folder with the rows of a store (*.csv)")
    for path in folder.glob("*.csv"):
        if not inside(path, folder):
            raise HsiError(f"{path}: a link out of the store; put a copy in its place")
    there, own, other = store.written().set_index("run"), Store(folder), Store(folder).written()
    held = measures.held(folder)
    taken, same, refused = 0, 0, []
    files = {path.stem: path.read_text() for path in folder.glob("*.csv") if path.is_file()}
    for row in other.to_dict("records"):
        run = row["run"]
        what = f"{run} ({row['method']}, {row['scene']}, {row['split']}, seed {row['seed']})"
        if run in there.index:
            apart = [c for c in (*DECIDED, *MEASURED) if str(there.at[run, c]) != str(row[c])]
            same += not apart
            refused += [f"{what}: another {', '.join(apart)} than the row that is here"] if apart else []
        elif says := _beside(own, run, row["scene"]):
            refused.append(f"{what}: {says}")
        else:
            family = next((name for name, text in files.items() if f"\n{run}," in text), "")
            if not family:
                refused.append(f"{what}: its line is not written as a store writes it")
                continue
            for part, kind in BESIDE.items():
                source = folder / part / f"{run}.{kind}"
                if source.is_file():
                    (store.folder / part).mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, store.folder / part / source.name)
            beside = held.loc[run].to_dict() if run in held.index else None
            store.append(family, {column: row[column] for column in COLUMNS}, beside)
            taken += 1
    return taken, same, refused


def drop(store: Store, method: str) -> int:
    """Take the rows of a method out of your store, with all that lies beside them; published ones stay."""
    if published() is not None and store.folder.resolve() == published().resolve():
        raise HsiError(f"{store.folder}: published rows are not taken out")
    mine = Store(store.folder).rows()
    chosen = set(mine.loc[mine["method"] == known("method of your rows", method, set(mine["method"])), "run"])
    store.remove(chosen)
    for run in chosen:
        for part, kind in BESIDE.items():
            (store.folder / part / f"{run}.{kind}").unlink(missing_ok=True)
    return len(chosen)
