"""Two networks compared field by field: intervals over seeds and fields, signs of fields, a map."""

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd

from hsibook import stats
from hsibook.chapter import Chapter
from hsibook.claim import above, agreed
from hsibook.tables import METRICS
from hsibook.text import between, signed
from hsilib.data.scenes import Scene
from hsilib.data.splits import split_of, whole
from hsilib.models.evaluate import LEAST
from hsilib.study.store import Store

LABELS = {metric: label.removesuffix(" %") for metric, label in METRICS.items()}
CLASSES = {"oa": None, "aa30": LEAST, "aa": 1}  # of which test pixels a class needs so many to count
LARGER = 10  # pixels of a field, from which on the sign test counts it


class Pair:
    """Two networks, or the means of two groups of them, on the seeds that both have, on one scene and split.

    ``mine`` and ``other`` are rows of the store, a row for each seed, or as many for each seed of a group.
    Where no seed has both, every difference is NaN.
    """

    def __init__(self, store: Store, mine: pd.DataFrame, other: pd.DataFrame) -> None:
        self.store, self.seeds = store, sorted(set(mine["seed"]) & set(other["seed"]))
        self.rows = [part[part["seed"].isin(self.seeds)].reset_index(drop=True) for part in (mine, other)]
        self.runs = [part[["run", "scene", "split", "seed"]].to_numpy() for part in self.rows]
        self.gained, self.sizes, self.classes = [], [], []
        if not self.seeds:
            return
        scene, split = mine[["scene", "split"]].iloc[0]
        cards, self.divisions, self.numbers = zip(*(_division(store, scene, split, s) for s in self.seeds))
        self.card: Scene = cards[0]
        for seed, division, numbers in zip(self.seeds, self.divisions, self.numbers):
            self.sizes.append(np.bincount(numbers))
            self.gained.append(np.bincount(numbers, self.gain(seed)))
            self.classes.append(division.test_y[np.unique(numbers, return_index=True)[1]])

    def gain(self, seed: int) -> np.ndarray:
        """For each test pixel of a seed the share of networks that are right, the one's less the other's."""
        parts = ([run for run in runs if run[-1] == seed] for runs in self.runs)
        mine, other = (np.mean([right(self.store, *run) for run in part], axis=0) for part in parts)
        return mine - other

    @property
    def one_division(self) -> bool:
        """Whether all seeds test the same pixels."""
        return all(np.array_equal(one.test, self.divisions[0].test) for one in self.divisions)

    def interval(self, metric: str, draws: int = 4000) -> tuple[float, float, float]:
        """Difference in points, and its 95 % interval over seeds and fields."""
        return self._ends(metric, draws)[:3]

    def _ends(self, metric, draws=4000):
        """The same with the interval that is corrected for bias."""
        seeds = self.over_seeds(metric)
        if len(self.seeds) < 2 or np.isnan(seeds[0]):  # no class may have 30 test pixels
            return *seeds, *seeds[1:]
        return stats.over_fields(self.gained, self.sizes, self.classes, CLASSES[metric], draws)

    def over_seeds(self, metric: str) -> tuple[float, float, float]:
        """The same over seeds alone, on the test pixels as they are."""
        return stats.paired(*(part.groupby("seed")[metric].mean() for part in self.rows))[:3]

    @cached_property
    def _both(self):
        found = {metric: self._ends(metric) for metric in ("oa", "aa30")}
        return {metric: ends for metric, ends in found.items() if metric == "oa" or not np.isnan(ends[0])}

    @property
    def both(self) -> dict[str, tuple[float, float, float]]:
        """``interval`` of overall accuracy, and of AA30 where a class has 30 test pixels."""
        return {metric: ends[:3] for metric, ends in self._both.items()}

    @property
    def corrected(self) -> dict[str, tuple[float, float]]:
        """The ends of these intervals corrected for bias and skew."""
        return {metric: ends[3:] for metric, ends in self._both.items()}

    def better(self, margin: float = 0.0) -> dict:
        """Whether the first is better in both measures, as ``claim`` takes it; with a ``margin`` whether it
        is not worse by so many points.  One seed leaves it open, and so does a correction for bias that
        says otherwise."""
        if not self.seeds:
            return {"holds": None}
        plain, mended = (agreed(*(above(ends[-2] + margin, ends[-1] + margin) for ends in found.values()))
                         for found in (self.both, self.corrected))
        each = (f"{LABELS[metric]} {signed(*ends)}" for metric, ends in self.both.items())
        told = f"{', '.join(each)} points{', one seed' * (len(self.seeds) == 1)}"
        if plain != mended:
            each = (f"{LABELS[metric]} {between(*ends)}" for metric, ends in self.corrected.items())
            told += f"; corrected for bias {', '.join(each)}"
        holds = "open" if len(self.seeds) == 1 else agreed(plain, mended)
        return {"holds": holds, "evidence": told, "runs": [run for rows in self.rows for run in rows["run"]]}

    def signs(self) -> tuple[int, int, float]:
        """(fields in which the first is better, in which it is worse, p), of those of ten pixels or more.

        Where seeds have divisions of their own, a field is a piece of a class in the whole scene, and counts
        with the pixels that any seed tests.
        """
        if self.one_division:
            sizes, gained = self.sizes[0], np.mean(self.gained, axis=0)
        else:
            whole = stats.fields(self.card.labels).ravel()
            sizes, gained = np.zeros((2, whole.max() + 1))
            for seed, division in zip(self.seeds, self.divisions):
                sizes += np.bincount(whole[division.test], minlength=len(sizes))
                gained += np.bincount(whole[division.test], self.gain(seed), len(sizes))
        return stats.sign_test(gained[sizes >= LARGER].round(9))

    def most(self) -> tuple[str, float]:
        """The field that moves the difference of overall accuracy most, in words, and by how many points."""
        points = 100 * np.mean(self.gained, axis=0) / self.sizes[0].sum()
        field = int(np.abs(points).argmax())
        pixels = self.divisions[0].test[self.numbers[0] == field]
        row, column = (round(float(x.mean())) for x in np.divmod(pixels, self.card.labels.shape[1]))
        name = self.card.classes[self.classes[0][field]]
        return f"{name}, {len(pixels)} pixels around row {row}, column {column}", float(points[field])


@lru_cache(maxsize=200)  # of few labels, those of one seed are one
def _division(store, scene, split, seed):
    """A scene, a split of it, and the number of the field of each test pixel, whatever is trained on."""
    card = store.card(scene)[0]
    if whole(card, split) != split:
        return _division(store, scene, whole(card, split), seed)
    division = split_of(card, split, seed)
    tested = np.zeros(card.labels.size, int)
    tested[division.test] = division.test_y + 1
    return card, division, stats.fields(tested.reshape(card.labels.shape)).ravel()[division.test] - 1


@lru_cache(maxsize=500)
def right(store: Store, run: str, scene: str, split: str, seed: int) -> np.ndarray:
    """Which test pixels the network of a run has right."""
    division = _division(store, scene, split, seed)[1]
    return store.read_map(run).ravel()[division.test] == division.test_y + 1


class Less:
    """Methods of a chapter less others, on its first split.

    >>> less = Less(c, rows)
    >>> claim("CA-MKD helps.", **less("ca_mkd", "scratch").better())  # at all sizes that both have
    """

    def __init__(self, c: Chapter, rows: pd.DataFrame) -> None:
        self.store, self.rows, self.found = c.store, rows[rows["split"] == c.first], {}

    def __call__(
        self, mine: str | Sequence[str] | pd.DataFrame, other: str | Sequence[str] | pd.DataFrame,
        ratios: Sequence[int] = ()
    ) -> Pair:
        """Compare two methods, groups of them, or rows of one's own, at all sizes or at ``ratios``."""
        parts = [part if isinstance(part, pd.DataFrame) else self._of(part) for part in (mine, other)]
        common = set(parts[0]["ratio"]) & set(parts[1]["ratio"])
        common &= set(ratios or common)
        parts = [_whole(part[part["ratio"].isin(common)].reset_index(drop=True)) for part in parts]
        key = tuple(parts[0]["run"]), tuple(parts[1]["run"])
        if key not in self.found:
            self.found[key] = Pair(self.store, *parts)
        return self.found[key]

    def _of(self, names):
        """The rows of some methods; none where one of them has none."""
        names = {names} if isinstance(names, str) else set(names)
        rows = self.rows[self.rows["method"].isin(names)]
        return rows[: 0 if names - set(rows["method"]) else None]

    def gains(self, names: Sequence[str], other: str) -> dict[str, pd.DataFrame]:
        """{measure: difference, low and high of each of these methods} less ``other``, for a figure."""
        ends = {name: self(name, other).both for name in names}
        parts = {m: {name: found[m] for name, found in ends.items() if m in found} for m in ("oa", "aa30")}
        tables = {m: pd.DataFrame(part, ["difference", "low", "high"]).T for m, part in parts.items()}
        return {m: table.dropna(how="all") for m, table in tables.items() if table.notna().any(axis=None)}


def _whole(rows):
    """The rows of the seeds that lack none of a group."""
    count = rows.groupby("seed")["run"].transform("size")
    return rows[count == count.max()]


def table(pairs: dict[str, Pair], metrics: Sequence[str] = ("oa", "aa30", "aa")) -> pd.DataFrame:
    """A line for each pair and measure: the difference and both of its intervals; with overall accuracy the
    signs of fields and the field that matters most, where all seeds have one division."""
    lines = []
    for name, pair in pairs.items():
        counts = {len(sizes) for sizes in pair.sizes}
        line = {"comparison": name, "seeds": len(pair.seeds), "fields": f"{min(counts)}"}
        line["fields"] += f" to {max(counts)}" if len(counts) > 1 else ""
        for metric in metrics:
            ends = (*pair.over_seeds(metric), *pair.interval(metric)[1:])
            heads = ("difference", "low", "high", "low, fields", "high, fields")
            lines.append(line | {"metric": metric} | dict(zip(heads, ends)))
            if metric == "oa" and pair.one_division:
                signs = dict(zip(("better", "worse", "p"), pair.signs()))
                lines[-1] |= signs | dict(zip(("most", "points"), pair.most()))
    return pd.DataFrame(lines)
