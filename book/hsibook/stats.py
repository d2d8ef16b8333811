"""Intervals over seeds, and over seeds and fields, and paired comparisons.

The unit is a run or a field, never a pixel: pixels of a field are not independent.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import special  # scipy.stats takes a second to load


def pick(rows: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows in which every named column has the given value, or one of a list; their index is the seed.

    >>> pick(rows, method="scratch", ratio=98, split="disjoint")["oa"]
    """
    these = np.full(len(rows), True)
    for column, value in wanted.items():
        found = rows[column].isin(value) if isinstance(value, list | tuple) else rows[column] == value
        these &= found.to_numpy(bool)
    return rows[these].set_index("seed", drop=False)


def quantile(share: float, freedom: int) -> float:
    """The quantile of Student's t."""
    return special.stdtrit(freedom, share)


def spread(values: Sequence) -> tuple[float, float, float]:
    """(mean, sd, half-width of the 95 % interval of the mean); sd and interval are NaN for a single run."""
    values = np.asarray(values, float)
    n = len(values)
    if n < 2:
        return values.mean() if n else np.nan, np.nan, np.nan
    sd = values.std(ddof=1)
    return values.mean(), sd, quantile(0.975, n - 1) * sd / np.sqrt(n)


def prediction_interval(values: Sequence) -> tuple[float, float]:
    """Where the next single run would lie with 95 % probability: a single published value is held against it.

    It needs three runs that differ: two tell next to nothing of a spread, a deterministic method has none.
    """
    mean, sd, _ = spread(values)
    n = len(values)
    half = quantile(0.975, n - 1) * sd * np.sqrt(1 + 1 / n) if n > 2 and sd > 0 else np.nan
    return mean - half, mean + half


def paired(a: Sequence, b: Sequence) -> tuple[float, float, float, float]:
    """Difference a - b over common seeds: (mean, low, high, p of a paired t-test)."""
    difference = np.asarray(a, float) - np.asarray(b, float)
    mean, sd, half = spread(difference)
    if len(difference) < 2 or sd == 0:  # one run, or two deterministic methods: nothing to infer from
        return mean, np.nan, np.nan, np.nan
    n = len(difference)
    return mean, mean - half, mean + half, float(2 * special.stdtr(n - 1, -abs(mean) / sd * np.sqrt(n)))


def holm(p: Sequence) -> np.ndarray:
    """Holm-adjusted p-values of one declared family of comparisons; NaN stays NaN and does not count."""
    p = np.asarray(p, float)
    order, left = np.argsort(p), np.count_nonzero(~np.isnan(p)) - np.arange(len(p))  # NaN comes last
    out = np.empty(len(p))
    out[order] = np.maximum.accumulate(np.minimum(1, left * p[order]))
    return out


def alike(a: pd.Series, b: pd.Series) -> pd.Series:
    """Rank correlation of two accuracies or gains by (method, size), at each size of two methods or more."""
    both = pd.DataFrame({"a": a, "b": b}).dropna().astype(float).round(9)  # equal means have one rank
    sizes = {size: part for size, part in both.groupby(level=1) if len(part) > 1}
    return pd.Series({size: part.corr("spearman").loc["a", "b"] for size, part in sizes.items()}, dtype=float)


def alike_between(a: pd.DataFrame, b: pd.DataFrame, size: int, draws: int = 2000) -> tuple[float, float]:
    """Where the rank correlation of two orders at a size lies in 95 % of draws of seeds, put back each time.

    Tables of seeds × (method, size).  Fewer than three seeds have no such interval.
    """
    shared = [key for key in a.columns.intersection(b.columns) if key[1] == size]
    tables = [table[shared].dropna().to_numpy(float) for table in (a, b)]
    if len(shared) < 2 or min(map(len, tables)) < 3:
        return np.nan, np.nan
    from scipy.stats import rankdata

    rng, ranks = np.random.default_rng(0), []
    for table in tables:
        means = table[rng.integers(0, len(table), (draws, len(table)))].mean(1).round(9)
        ranks.append(rankdata(means, axis=1) - (len(shared) + 1) / 2)
    x, y = ranks
    found = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    return tuple(map(float, np.quantile(found, [0.025, 0.975])))


def fields(test: np.ndarray) -> np.ndarray:
    """Number the fields of a map of tested classes from 1; both maps are 0 where nothing is tested.

    A field is a connected piece of one class, in which corners join.
    """
    from scipy.ndimage import label

    found = np.zeros(test.shape, int)
    for number in np.unique(test[test > 0]):
        pieces, count = label(test == number, np.ones((3, 3)))
        found[pieces > 0] = pieces[pieces > 0] + found.max()
    return found


def over_fields(
    gained: Sequence[np.ndarray], sizes: Sequence[np.ndarray], classes: Sequence[np.ndarray],
    least: int | None = None, draws: int = 4000
) -> tuple[float, ...]:
    """Difference of two networks in points, where it lies in 95 % of draws of seeds and of fields, and the
    same two ends corrected for bias and skew (BCa).

    Each argument has an array over fields for every seed: the pixels right by the one less those by the
    other, the pixels of a field, its class.  Seeds are drawn with replacement, and fields too: the same for
    all seeds if these share a division, else anew for each.  ``least`` None: of overall accuracy.  Otherwise
    of the mean recall of classes with at least so many pixels; those of which no field was drawn are left
    out.  Draws without the one large field of a class move that class to its slivers, which the
    correction mends in part.
    """
    count, kept = len(gained), []
    for size, kind in zip(sizes, classes):
        groups = np.eye(kind.max() + 1)[kind] if least is not None else np.ones((len(kind), 1))
        kept.append(groups[:, size @ groups >= (least or 1)])

    def points(weights, gain, size, groups):
        total = (weights * size) @ groups
        hits = (weights * gain) @ groups
        share = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
        return 100 * share.sum(1) / np.maximum((total > 0).sum(1), 1)

    parts = list(zip(gained, sizes, kept))
    each = np.array([points(np.ones((1, len(part[1]))), *part)[0] for part in parts])
    shared = all(np.array_equal(size, sizes[0]) for size in sizes)
    chosen, weights = _drawn(tuple(map(len, sizes)), shared, draws)
    if shared:
        drawn = points(weights[0, 0], np.array(gained)[chosen].mean(1), *parts[0][1:])
    else:
        drawn = np.zeros(draws)
        for (place, seed), times in weights.items():
            drawn[chosen[:, place] == seed] += points(times, *parts[seed]) / count
    pulls, groups = [], [(np.mean(gained, axis=0)[None], *parts[0][1:])] if shared else parts
    for part in groups:  # how much each field moves the difference, by leaving it out; and each seed
        without = points(1 - np.eye(len(part[1])), *part)
        pulls.append((len(without) - 1) / len(without) * (without.mean() - without) / len(groups))
    pulls = np.concatenate([*pulls, (each - each.mean()) / count])
    return float(each.mean()), *_ends(drawn), *_ends(drawn, each.mean(), pulls)


def _ends(drawn, mean=None, pulls=None):
    """The ends of 95 % of draws; with the pull of each field and seed those of BCa, after Efron 1987."""
    at = normal = special.ndtri(np.array([0.025, 0.975]))
    if pulls is not None and pulls.any() and np.ptp(drawn):
        share = ((drawn < mean).mean() + (drawn <= mean).mean()) / 2
        bias = special.ndtri(np.clip(share, 1 / len(drawn), 1 - 1 / len(drawn)))
        skew = (pulls**3).sum() / (6 * (pulls**2).sum() ** 1.5)
        at = bias + (bias + normal) / (1 - skew * (bias + normal))
    return map(float, np.quantile(drawn, special.ndtr(at)))


@lru_cache(maxsize=8)  # all comparisons on the same fields have the same draws
def _drawn(fields, shared, draws):
    """Which seeds are drawn, draws × places, and {(place, seed): how often each field is drawn with it}."""
    rng, count = np.random.default_rng(0), len(fields)
    chosen = rng.integers(0, count, (draws, count))
    pairs = [(0, 0)] if shared else [(place, seed) for place in range(count) for seed in range(count)]
    weights = {}
    for place, seed in pairs:
        many, size = draws if shared else (chosen[:, place] == seed).sum(), fields[seed]
        weights[place, seed] = rng.multinomial(size, np.full(size, 1 / size), many).astype(np.uint16)
    return chosen, weights


def sign_test(differences: Sequence) -> tuple[int, int, float]:
    """(how many are above zero, how many below, two-sided p of a sign test); zeros do not count."""
    better, worse = (int((np.sign(differences) == side).sum()) for side in (1, -1))
    return better, worse, float(min(1, 2 * special.bdtr(min(better, worse), better + worse, 0.5)))


def components(table: pd.DataFrame) -> tuple[float, float, float]:
    """What a table of results (seeds × cells) varies by: standard deviations between cells, between seeds as
    far as all cells share it, and of the rest.

    These are two-way random effects from the mean squares; a negative variance reads as zero.
    """
    y = np.asarray(table, float)
    seeds, cells = y.mean(1), y.mean(0)
    rest = ((y - seeds[:, None] - cells + y.mean()) ** 2).sum() / ((y.shape[0] - 1) * (y.shape[1] - 1))
    between = (max(means.var(ddof=1) - rest / each, 0.0)
               for means, each in ((cells, len(seeds)), (seeds, len(cells))))
    return tuple(map(float, np.sqrt([*between, rest])))


def _power(n, effect, sd):
    """How often a paired t-test at 5 % finds this effect from ``n`` seeds whose differences have this
    spread."""
    return 1 - special.nctdtr(n - 1, effect / sd * np.sqrt(n), quantile(0.975, n - 1))


def seeds_needed(effect: float, sd: float) -> float:
    """The fewest seeds with which a difference of this size is found four times out of five."""
    return next((n for n in range(2, 10_000) if _power(n, effect, sd) >= 0.8), np.inf)


def detectable(n: int, sd: float) -> float:
    """The smallest difference that is found four times out of five from ``n`` seeds."""
    from scipy.optimize import brentq

    return brentq(lambda effect: _power(n, effect, sd) - 0.8, 0, 100 * sd)
