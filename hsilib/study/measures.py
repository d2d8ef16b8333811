"""What is measured of a run beside its row, such as AA30 and costs from raw bands on.

A row keeps what it said when it was written.  Whatever else is asked of runs stands under ``measured`` in
their ``run.json``, or in ``measures/measures.csv`` beside published tables; readers get it with the rows.
"""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from hsilib.files import readable, write_atomically
from hsilib.study import rows

COSTS = ["macs", "payload"]  # where they are other than the row says
EMPTY = pd.DataFrame(columns=["aa30", "small", *COSTS], index=pd.Index([], name="run"))


def file(folder: Path) -> Path:
    """Return where the measures of packed runs lie."""
    return folder / "measures" / "measures.csv"


@lru_cache
def _table(path, changed):
    """The measures of one store, read once while the file stays as it is."""
    with readable(f"{path}: not the measures of a store; get it from where the store came from"):
        table = pd.read_csv(path, dtype={"run": str, "small": str}).drop_duplicates("run").set_index("run")
        if not table.index.str.fullmatch("[0-9a-f]{12}").all():
            raise ValueError("other runs than a store has")
        return of_runs(table)


def of_runs(table: pd.DataFrame) -> pd.DataFrame:
    """Return measures by run with the columns that readers ask for, and what else there is."""
    table = table.reindex(columns=list(dict.fromkeys([*EMPTY, *table.columns.drop(rows.COLUMNS, "ignore")])))
    small = table["small"].astype(object).fillna("").astype(str)
    return table.assign(small=small, **table[["aa30", *COSTS]].astype(float))


def held(folder: Path) -> pd.DataFrame:
    """Return the measures of packed runs, by run."""
    path = file(folder)
    return _table(path, path.stat().st_mtime_ns) if path.is_file() else EMPTY


def add(folder: Path, measured: dict[str, dict[str, Any]]) -> None:
    """Write the measures of some runs, {run: measures}, beside those of the runs that are packed."""
    new = of_runs(pd.DataFrame.from_dict(measured, orient="index").rename_axis("run"))
    old = held(folder).drop(index=new.index, errors="ignore")
    table = pd.concat([part for part in (old, new) if len(part)])
    table = table.assign(**{name: table[name].astype("Int64") for name in COSTS})
    write_atomically(file(folder), table.sort_index().to_csv(lineterminator="\n"))


def beside(table: pd.DataFrame, measured: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return rows with what is measured of them: AA30 behind AA, costs as they are counted today, then what
    else there is."""
    found = pd.concat([EMPTY, *(part for part in measured if len(part))])
    found = found[~found.index.duplicated()].reindex(table["run"]).reset_index(drop=True)
    found[COSTS] = found[COSTS].astype(float)
    table = table.assign(**{name: found[name].fillna(table[name]) for name in COSTS})
    table.insert(table.columns.get_loc("aa") + 1, "aa30", found["aa30"].to_numpy(float))
    table.insert(table.columns.get_loc("test") + 1, "small", found["small"].fillna("").to_numpy())
    return table.assign(**{name: found[name] for name in found if name not in EMPTY})
