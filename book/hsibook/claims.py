"""What the rows come to: comparisons that several pages make in the same way."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hsibook import stats
from hsibook.text import brief, many, mean_sd, named, signed
from hsilib.data.scenes import entry
from hsilib.data.splits import split_of
from hsilib.errors import HsiError
from hsilib.methods import family, get, title
from hsilib.study.runs import stored
from hsilib.study.store import Store

if TYPE_CHECKING:
    from hsibook.chapter import Chapter


def by_size(rows: pd.DataFrame, names: Sequence[str], ratios: Sequence[int], split: str) -> dict:
    """{(method, size): overall accuracy by seed} on a split."""
    return {
        (name, ratio): stats.pick(rows, method=name, ratio=ratio, split=split)["oa"]
        for name in names
        for ratio in ratios
    }


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


def over_sizes(
    rows: pd.DataFrame, names: Sequence[str], split: str, ratios: Sequence[int], metric: str = "oa"
) -> pd.DataFrame:
    """One accuracy on a split, mean over the sizes, seeds × methods; missing where a seed lacks a size."""
    part = rows[(rows["split"] == split) & rows["ratio"].isin(ratios) & rows["method"].isin(names)]
    table = part.pivot_table(index="seed", columns=["method", "ratio"], values=metric)
    table = table.reindex(columns=pd.MultiIndex.from_product([names, ratios]))
    means = {name: table[name].mean(axis=1, skipna=False) for name in names}
    return pd.DataFrame(means).dropna(axis=1, how="all")


def gained(
    rows: pd.DataFrame, names: Sequence[str], split: str, ratios: Sequence[int], other: str = "scratch"
) -> dict[str, pd.DataFrame]:
    """What methods change against another one in the mean over the sizes: {"oa": as ``gains``, "aa": …}."""
    every = list(dict.fromkeys([*names, other]))
    tables = {metric: over_sizes(rows, every, split, ratios, metric) for metric in ("oa", "aa")}
    return {metric: gains(table, other) for metric, table in tables.items() if other in table}


def answer(c: "Chapter", rows: pd.DataFrame, far: pd.DataFrame, controls: dict[str, str]) -> str:
    """The answer of a chapter about a family of methods, as Markdown of at most sixty words and six numbers.

    Of several methods it names the one with the highest mean, and whether either half of the seeds alone
    would have named it.  ``controls`` {method: how a sentence calls it}; ``far``: rows of another scene.
    """
    every = [*c.names, "scratch", *controls]
    tables = {metric: over_sizes(rows, every, c.first, c.ratios, metric) for metric in ("oa", "aa")}
    best = gains(tables["oa"]).reindex(c.names)["difference"].idxmax()

    def both(name, found):
        """How a method changes the two accuracies, as two texts."""
        some = [gains(found[metric])["difference"].get(name, np.nan) for metric in ("oa", "aa")]
        return [signed(value, np.nan, np.nan) for value in some]

    seeds = "one seed" if len(tables["oa"]) == 1 else "mean over seeds"
    picked = f"; {confirmed(tables['oa'][list(c.names)], best)}" if len(c.names) > 1 else ""
    text = (
        "{} changes overall accuracy by {} and average accuracy by {} points against labels alone ({}, {}, "
        "{}{}). "
    ).format(title(best), *both(best, tables), brief(c.card.title), c.first, seeds, picked)
    for name, words in controls.items():
        text += "{} changes them by {} and {}. ".format(words, *both(name, tables))
    there = {m: over_sizes(far, [best, "scratch"], c.first, c.ratios, m) for m in ("oa", "aa")}
    if {best, "scratch"} <= set(there["oa"]):
        where = brief(entry(far["scene"].iloc[0]).title).partition(",")[0]
        text += "On {}, {} changes them by {} and {}{}.".format(
            where, title(best), *both(best, there), beyond_zero([gains(t) for t in there.values()], best)
        )
    return text


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


def clear(changes: dict[str, pd.DataFrame]) -> str:
    """Which methods' intervals leave out zero, as Markdown; ``changes`` as ``gained`` returns it."""
    if all(table["low"].isna().all() for table in changes.values()):
        return "One seed shows nothing: no difference has an interval."
    told = []
    for words, end, way in (("above", "low", 1), ("below", "high", -1)):
        for metric, table in changes.items():
            names = table.index[table[end] * way > 0]
            if len(names):
                told.append(f"- {metric.upper()}, interval {words} zero: {named(map(title, names))}.")
    return "\n".join(told) + (
        "\n\nThe intervals are not corrected for the number of methods; what is left among all methods is in "
        "[What to believe](11-what-to-believe)."
    )


def mean_change(rows: pd.DataFrame, names: Sequence[str], split: str, ratios: Sequence[int]) -> str:
    """Mean difference to Scratch over all methods and sizes, with its interval over the seeds that have them
    all."""
    part = rows[(rows["split"] == split) & rows["ratio"].isin(ratios)]
    table = part[part["method"].isin([*names, "scratch"])].pivot_table(
        index="seed", columns=["method", "ratio"], values="oa"
    )
    change = sum(
        (table[name] - table["scratch"]).mean(axis=1, skipna=False) for name in names
    ).dropna() / len(names)
    return signed(*stats.paired(change, 0 * change)[:3])


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


def apart(table: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of two square tables off the diagonal."""
    return off_diagonal(np.abs(np.array(table, float) - np.array(other, float)))


def off_diagonal(table: np.ndarray) -> float:
    """Mean of a square table without its diagonal."""
    table = np.array(table, float)
    return table[~np.eye(len(table), dtype=bool)].mean()


class Trials:
    """Other values of one option of some methods, tried at the smallest size on pixels held out of the
    training map, and then the best of them on the first split: {method: (option, values)}.

    ``plans`` is what the chapter is to collect, and ``read`` takes what came of it.
    """

    def __init__(self, chapter: "Chapter", weights: dict, seeds: int = 2):
        self.chapter, self.weights = chapter, weights
        self.split = "validation" if chapter.card.train_map is not None else chapter.first
        self.count = min(seeds, chapter.seeds[chapter.first])
        self.usual = {n: get(n).options[o] for n, (o, _) in weights.items()}
        tried = {(n, v): {o: v} for n, (o, values) in weights.items() for v in values}
        tried |= {("scratch", None): {}} if weights else {}
        self.plans = {("held", *key): self._plan(key[0], o, held=True) for key, o in tried.items()}
        shown = {("scratch", None): {}} if weights else {}
        shown |= {(n, self.usual[n]): {o: self.usual[n]} for n, (o, _) in weights.items()}
        self.plans |= {("tested", *key): self._plan(key[0], options) for key, options in shown.items()}

    def read(self, found: dict) -> None:
        """Take the rows of ``plans``; which value is best is known only now, and trained on the first split
        if need be."""
        self.held = {key[1:]: found[key]["oa"] for key in self.plans if key[0] == "held"}
        self.tested = {key[1:]: found[key]["oa"] for key in self.plans if key[0] == "tested"}
        self.best = {
            n: max(values, key=lambda v: self.held[n, v].mean()) for n, (_, values) in self.weights.items()
        }
        late = {(n, v): self._plan(n, {self.weights[n][0]: v}) for n, v in self.best.items()}
        late = {key: plan for key, plan in late.items() if key not in self.tested}
        self.tested |= {key: rows["oa"] for key, rows in self.chapter.collect_each(late).items()}

    def _plan(self, name, options, held=False):
        c = self.chapter
        split, seeds = (self.split, self.count) if held else (c.first, c.few)
        return c.plan([name], [c.small], [split], seeds, options=options)

    def table(self) -> pd.DataFrame:
        lines = []
        for (name, value), oa in self.held.items():
            default = ", default" if value == self.usual.get(name) else ""
            weight = "" if value is None else f"{self.weights[name][0]} {value:g}{default}"
            lines.append([title(name), weight, mean_sd(oa), mean_sd(self.tested.get((name, value), []))])
        columns = ["method", "weight", f"OA on {self.split} pixels", f"OA on {self.chapter.first}"]
        return pd.DataFrame(lines, columns=columns)

    def caption(self) -> str:
        return (
            f"Other weights at the {self.chapter.small} % size; overall accuracy, percent, mean ± sd over "
            f"seeds ({self.count} for the trials). Test accuracy for the default and the weight that "
            "validation prefers."
        )

    def text(self) -> str:
        """What validation prefers, as a sentence."""
        if not self.weights:
            return "They were not tried in this run."
        told = []
        for name, best in self.best.items():
            than = ", its default" if best == self.usual[name] else f" rather than {self.usual[name]:g}"
            told.append(f"{title(name)} {self.weights[name][0]} {best:g}{than}")
        return (
            f"Validation prefers: {'; '.join(told)}. With {many(self.count, 'seed')} that is a hint and not "
            "a choice, and the tables above keep the defaults."
        )


SEPARATE = ("salinas_a", "jasper_ridge", "samson")  # scenes that can be divided without leakage


def on_separate(store: Store, keys: Sequence[tuple[str, int]], scenes: Sequence[str] = SEPARATE) -> dict:
    """{scene: overall accuracy on separate blocks, draws × (method, size)}, of scenes with two draws."""
    found = {}
    for scene in scenes:
        rows = stored(store, scene, ["blocks"], [name for name, _ in keys], [size for _, size in keys])
        table = rows.pivot_table("oa", "seed", ["method", "ratio"]).reindex(columns=keys).dropna()
        found |= {scene: table} if len(table) > 1 else {}
    return found
