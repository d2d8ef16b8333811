"""What the rows come to: comparisons that several pages make in the same way."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hsibook import stats
from hsibook.text import signed
from hsilib.data.splits import split_of
from hsilib.errors import HsiError
from hsilib.methods import family, title
from hsilib.study.runs import stored
from hsilib.study.store import Store


def against(
    rows: pd.DataFrame, names: Sequence[str], other: str, split: str, ratios: Sequence[int]
) -> pd.DataFrame:
    """Paired differences of every method at every size to the method ``other`` of the same size."""
    return against_each(rows, {(title(n, r), r): (n, other) for r in ratios for n in names}, split)


def against_each(rows: pd.DataFrame, pairs: dict, split: str, metric: str = "oa") -> pd.DataFrame:
    """Paired differences of pairs of methods, {(how a pair is called, size): (method, other method)}."""

    def runs(name, ratio):
        return (rows["method"] == name) & (rows["ratio"] == ratio) & (rows["split"] == split)

    masks = {label: (runs(a, ratio), runs(b, ratio)) for (label, ratio), (a, b) in pairs.items()}
    return stats.paired_table(rows, masks, metric)


def fitted(store: Store, rows: pd.DataFrame) -> np.ndarray:
    """Accuracy on the very pixels a network was trained on, percent, of each row: how well it fits them."""
    accuracy, splits = [], {}
    for run, *key in rows[["run", "scene", "split", "seed"]].itertuples(index=False):
        if tuple(key) not in splits:
            splits[tuple(key)] = split_of(store.card(key[0])[0], *key[1:])
        split = splits[tuple(key)]
        accuracy.append(100 * np.mean(store.read_map(run).ravel()[split.train] == split.train_y + 1))
    return np.array(accuracy)


def fits(store: Store, scene: str, split: str, names: Sequence[str], ratios: Sequence[int]) -> pd.DataFrame:
    """(method, size): accuracy of the pixels trained on and of the test pixels, means over the seeds that
    all have."""
    rows = stored(store, scene, [split], names, ratios)
    if rows.empty:
        raise HsiError(
            f"the store holds none of the small networks on {split}; see python -m hsilib study --list"
        )
    have = rows["seed"].map(rows["seed"].value_counts())
    rows = rows[have == have.max()]
    return rows.assign(fit=fitted(store, rows)).groupby(["method", "ratio"])[["fit", "oa"]].mean()


def comparable() -> list[str]:
    """Methods that end in the same small network and may be held against each other.  Not SimKD, which
    deploys more, and not what was trained for a third of the time or cut by lot."""
    scratch = ["scratch", "scratch_b", "scratch_aug", "scratch_crops", "label_smoothing"]
    taught = [*family("offline"), *family("online"), *family("self")]
    return [
        *scratch, *family("pruning"), "l1_iterative", "l1_multipass", *(n for n in taught if n != "simkd")
    ]


def by_seed(
    rows: pd.DataFrame, names: Sequence[str], ratios: Sequence[int], metric: str = "oa"
) -> pd.DataFrame:
    """One accuracy, seeds × (method, size): the seeds that have them all, of which there must be two."""
    table = rows.pivot_table(index="seed", columns=["method", "ratio"], values=metric)
    table = table.reindex(columns=pd.MultiIndex.from_product([names, ratios])).dropna()
    if len(table) < 2:
        raise HsiError(
            "the store holds fewer than two seeds of every small network; see python -m hsilib study --list"
        )
    return table


def leader(table: pd.DataFrame) -> tuple[str, list[str]]:
    """The method with the highest mean of a table (seeds × methods), and those that cannot be told from it
    after Holm."""
    best = table.mean().idxmax()
    others = [n for n in table.columns if n != best]
    p = stats.holm([stats.paired(table[best], table[n])[3] for n in others])
    return best, [n for n, value in zip(others, p) if not value < 0.05]


def gains(table: pd.DataFrame, other: str = "scratch") -> pd.DataFrame:
    """Every method against one of them in the mean over the sizes, of ``by_seed`` or ``over_sizes``:
    difference, interval, p after Holm."""
    mean = table.T.groupby(level=0).mean().T if table.columns.nlevels > 1 else table
    pairs = {name: mean[[name, other]].dropna() for name in mean if name != other}
    gains = {name: stats.paired(pair[name], pair[other]) for name, pair in pairs.items()}
    gains = pd.DataFrame(gains, index=["difference", "low", "high", "p"]).T
    return gains.assign(p=stats.holm(gains["p"])).sort_values("difference", ascending=False)


def gain(gained: pd.DataFrame, name: str) -> str:
    """One line of ``gains`` as text; a dash where a method would be held against itself."""
    return signed(*gained.reindex([name])[["difference", "low", "high"]].iloc[0])


SEPARATE = ("salinas_a", "jasper_ridge", "samson")  # scenes that can be divided without leakage


def on_separate(store: Store, keys: Sequence[tuple[str, int]], scenes: Sequence[str] = SEPARATE) -> dict:
    """{scene: overall accuracy on separate blocks, draws × (method, size)}, of scenes with two draws."""
    found = {}
    for scene in scenes:
        rows = stored(store, scene, ["blocks"], [name for name, _ in keys], [size for _, size in keys])
        table = rows.pivot_table("oa", "seed", ["method", "ratio"]).reindex(columns=keys).dropna()
        found |= {scene: table} if len(table) > 1 else {}
    return found
