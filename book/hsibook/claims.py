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


def beyond_zero(tables: Sequence[pd.DataFrame], name: str) -> str:
    """Which of the two accuracies' intervals holds zero, as words in brackets; nothing where none is."""
    ends = [found["low"].get(name, np.nan) * found["high"].get(name, np.nan) for found in tables]
    if np.isnan(ends).any():
        return ""
    words = {
        (False, False): "neither interval leaves out zero", (True, True): "",
        (True, False): "the interval of the second holds zero",
        (False, True): "the interval of the first holds zero",
    }[tuple(end > 0 for end in ends)]
    return f" ({words})" if words else ""


def confirmed(table: pd.DataFrame, best: str) -> str:
    """Whether the method with the highest mean (seeds × methods) is first on either half of the seeds, in
    words; with fewer than four seeds nothing can tell."""
    half = (len(table) + 1) // 2
    if len(table) < 4:
        return "the highest of several"
    firsts = sum(part.mean().idxmax() == best for part in (table.iloc[:half], table.iloc[half:]))
    return f"the highest on {('neither half', 'one half', 'both halves')[firsts]} of the seeds"


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


def judged(pairs: dict, margins: dict) -> pd.DataFrame:
    """What seeds say of claims, ``pairs`` {claim: (a, b)} that a is higher than b, both indexed by seed.

    A line for each: difference, interval, p after Holm's correction for all of them, and whether the claim
    holds, is contradicted, or is open at 5 %.  ``margins`` {claim: points}: claims that a is not lower than
    b by so much, with a one-sided p.
    """
    lines = []
    for claim, (a, b) in pairs.items():
        a, b = a.align(b, join="inner")
        margin = margins.get(claim, 0)
        mean, low, high, _ = stats.paired(a, b)
        shifted, _, _, p = stats.paired(a + margin, b)
        if claim in margins:
            p = p / 2 if shifted > 0 else 1 - p / 2
        interval = dict(difference=mean, low=low, high=high, p=p)
        lines.append(dict(comparison=claim, seeds=len(a), **interval, right=shifted > 0))
    table = pd.DataFrame(lines)
    table["p"] = stats.holm(table["p"])
    side = np.where(table.pop("right"), "holds", "contradicted")
    return table.assign(verdict=np.where(table["p"] < 0.05, side, "open"))


def settled(verdicts: pd.Series, low: pd.Series, high: pd.Series) -> pd.Series:
    """Verdicts over seeds, but open where an interval over seeds and fields holds zero."""
    return verdicts.mask((low <= 0) & (high >= 0), "open")


SEPARATE = ("salinas_a", "jasper_ridge", "samson")  # scenes that can be divided without leakage


def on_separate(store: Store, keys: Sequence[tuple[str, int]], scenes: Sequence[str] = SEPARATE) -> dict:
    """{scene: overall accuracy on separate blocks, draws × (method, size)}, of scenes with two draws."""
    found = {}
    for scene in scenes:
        rows = stored(store, scene, ["blocks"], [name for name, _ in keys], [size for _, size in keys])
        table = rows.pivot_table("oa", "seed", ["method", "ratio"]).reindex(columns=keys).dropna()
        found |= {scene: table} if len(table) > 1 else {}
    return found
