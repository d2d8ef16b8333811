"""What is known of a run beside its row: AA30, the test pixels of small classes, costs from raw bands on.

A row keeps what it said when it was written, and its map is kept too.  What was asked of runs only later is
read off the map once, and lies in ``measures/measures.csv`` of the same store; readers get it with the rows.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hsilib.data.splits import split_of
from hsilib.errors import HsiError, reason
from hsilib.files import write_atomically

if TYPE_CHECKING:
    from hsilib.study.store import Store

COLUMNS = ["run", "aa30", "small", "macs", "payload"]
RANGES = {"aa30": (0, 100), "macs": (0, np.inf), "payload": (0, np.inf)}
COSTS = ["macs", "payload"]  # where they are other than the row says


def file(folder: Path) -> Path:
    """Return where the measures of a store lie."""
    return folder / "measures" / "measures.csv"


@lru_cache
def _table(path, changed, size):
    """The measures of one store, read once while the file stays as it is."""
    try:
        table = pd.read_csv(path, dtype={"run": str, "small": str})
        right = list(table) == COLUMNS and table["run"].str.fullmatch("[0-9a-f]{12}").all()
        numbers = table[list(RANGES)].astype(float) if right else table
        bad = [((numbers[c] < low) | (numbers[c] > high)).any() for c, (low, high) in RANGES.items() if right]
        if not right or any(bad):
            raise ValueError("other columns or values than measures have")
    except (ValueError, OSError) as error:
        says = f"not the measures of a store ({reason(error)}); delete it, and `results --measure` makes it"
        raise HsiError(f"{path}: {says}") from None
    return table.assign(**numbers, small=table["small"].fillna("")).drop_duplicates("run").set_index("run")


def held(folder: Path) -> pd.DataFrame:
    """Return the measures of a store, by run."""
    path = file(folder)
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS[1:]).astype(dict.fromkeys(RANGES, float)).rename_axis("run")
    state = path.stat()
    return _table(path, state.st_mtime_ns, state.st_size)


def add(folder: Path, measured: dict[str, dict[str, Any]]) -> None:
    """Write the measures of some runs, {run: what ``COLUMNS`` names}, beside those that are held."""
    new = pd.DataFrame(measured).T.reindex(columns=COLUMNS[1:]).rename_axis("run")
    old = held(folder)
    table = pd.concat([part for part in (old.drop(index=new.index, errors="ignore"), new) if len(part)])
    for name in COSTS:
        table[name] = table[name].astype(float).astype("Int64")
    write_atomically(file(folder), table.sort_index().to_csv(lineterminator="\n"))


def beside(rows: pd.DataFrame, folders: Sequence[Path]) -> pd.DataFrame:
    """Return rows with what the stores hold of them: AA30 behind AA, and costs as they are counted today."""
    tables = [table for table in map(held, folders) if len(table)]
    table = pd.concat(tables) if tables else held(Path())
    table = table[~table.index.duplicated()].reindex(rows["run"]).reset_index(drop=True)
    rows = rows.assign(**{name: table[name].fillna(rows[name]) for name in COSTS} if tables else {})
    rows.insert(rows.columns.get_loc("aa") + 1, "aa30", table["aa30"].to_numpy(float))
    rows.insert(rows.columns.get_loc("test") + 1, "small", table["small"].fillna("").to_numpy())
    return rows


def complete(store: "Store", cards: "Store") -> int:
    """Measure the runs of a store that lack it, from their maps; return how many.

    ``cards``: the store that has the cards of the scenes.
    """
    from hsilib.models.evaluate import aa30, confusion, small

    rows, found = store.written(), {}
    rows = rows[~rows["run"].isin(held(store.folder).index)]
    for (scene, name, seed), part in rows.groupby(["scene", "split", "seed"]):
        card, _, spectra = cards.card(scene)
        split = split_of(card, name, int(seed))
        for row in part.to_dict("records"):
            drawn = store.read_map(row["run"]).ravel()[split.test].astype(int) - 1
            recall = aa30(confusion(split.test_y, drawn, len(card.classes)))
            found[row["run"]] = {"aa30": round(recall, 4), "small": small(np.bincount(split.test_y))}
            found[row["run"]] |= _costs(row, 0 if spectra is None else len(spectra))
    if found:
        add(store.folder, found)
    return len(found)


def _costs(row, bands):
    """What a row of an earlier edition would say of its costs today, as far as that is something else."""
    from hsilib.models.measure import FLOAT, of_components

    if row["method"] == "mlr":  # a multiply-add a coefficient, of which the intercepts are none
        classes = row["params"] / (bands + 1)
        return {"macs": row["params"] - classes}
    if row["method"] == "low_rank":  # the first half of the pair has no bias
        rank = dict(part.partition("=")[::2] for part in row["options"].split()).get("rank", 6)
        return {"payload": row["payload"] - FLOAT * int(rank)}
    count = components_of(row["method"], row["options"], bands)
    return {"macs": row["macs"] + of_components(bands, count)} if count else {}


def components_of(method: str, options: str, bands: int) -> int:
    """Count the principal components that the network of a row is given; 0 where it takes the bands."""
    from hsilib.methods import METHODS, get

    given = dict(part.partition("=")[::2] for part in options.split())
    if method not in METHODS:
        return 0
    source = get(method).options.get("of", method) if "of" not in given else given["of"]
    if "projected" in (method, source) or get(method).family == "landuse":
        return 0
    source = get(source)
    inside = getattr(source.network, "kind", "patches") == "patches" and source.family != "compact"
    if source.sees != "patches" or not inside:
        return 0
    return min(int(given.get("components", source.options.get("components", 40))), bands)
