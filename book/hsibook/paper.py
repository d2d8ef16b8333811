"""The numbers of the paper, and ours beside them."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from hsibook import stats
from hsibook.text import number, pm, signed
from hsilib.files import project
from hsilib.methods import get, title

PAPER_SCENES = {"indian_pines_8bit": "IP", "indian_pines": "IP", "pavia_university": "UP"}


@lru_cache
def paper(table: int) -> pd.DataFrame:
    """The paper's numbers of one table, tidy."""
    return pd.read_csv(next((project() / "book" / "paper").glob(f"table{table:02d}_*.csv")))


def paper_value(
    table: int, name: str, scene: str, split: str | None, metric: str = "top1", ratio: int | None = None
) -> float:
    """One number of the paper, or NaN when the paper gives none for this scene, split and method."""
    t = paper(table)
    rows = t[(t["method"] == name) & (t["dataset"] == PAPER_SCENES.get(scene)) & (t["metric"] == metric)]
    rows = rows[rows["split"].isna() if split is None else rows["split"] == split]
    rows = rows[rows["ratio"] == ratio] if ratio else rows
    return float(rows["value"].iloc[0]) if len(rows) else float("nan")


def within(values: Sequence, published: float) -> float:
    """Whether a published value, rounded to a tenth, lies within the 95 % prediction interval for one more
    run; for a method without randomness, whether it is the same; NaN where neither can be told."""
    mean, sd, _ = stats.spread(values)
    low, high = (mean, mean) if sd == 0 else stats.prediction_interval(values)
    return np.nan if pd.isna(low) or pd.isna(published) else float(low - 0.05 <= published <= high + 0.05)


def beside_paper(rows: pd.DataFrame, table: int, scene: str) -> pd.DataFrame:
    """Ours beside the paper's table: per method and split, mean ± sd, the paper's value, the difference, and
    whether the paper's single value lies within our 95 % prediction interval for one run."""
    out, keys = [], ["method", "split", "ratio", "options"]
    for (name, split, ratio, options), group in rows.groupby(keys, sort=False):
        theirs = paper_value(table, get(name).paper, scene, split, ratio=ratio)
        mean, sd, _ = stats.spread(group["oa"])
        inside = {1.0: "yes", 0.0: "no"}.get(within(group["oa"], theirs), "–")
        line = {"method": name, "model": title(name, ratio, options), "split": split, "seeds": len(group)}
        line |= {"ours": pm(mean, sd), "paper": number(theirs)}
        line |= {"difference": signed(mean - theirs, np.nan, np.nan), "inside": inside}
        out.append(line | {"mean": mean, "sd": sd, "paper_value": theirs})
    return pd.DataFrame(out)


SMALL = {90: 11, 95: 12, 98: 13}  # the tables of distillation, which hold Scratch too
PRUNED = {90: 6, 95: 7, 98: 8}  # the tables of pruning


def in_tables(scene: str, places: dict[int, int]) -> Callable:
    """A function (method, split, size) -> the paper's value in these tables, {size: table}, for plots."""
    first = next(iter(places.values()))  # has the dense network too
    return lambda name, split, ratio: paper_value(
        places.get(ratio, first), get(name).paper, scene, split, ratio=ratio)
