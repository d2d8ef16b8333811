"""Two networks compared field by field: intervals over seeds and fields, signs of fields, a map."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from hsilib.data.scenes import Scene
from hsilib.data.splits import split_of
from hsilib.models.evaluate import LEAST
from hsilib.pages import stats
from hsilib.pages.drawings import bare
from hsilib.study.store import Store

CLASSES = {"oa": None, "aa30": LEAST, "aa": 1}  # of which test pixels a class needs so many to count
LARGER = 10  # pixels of a field, from which on the sign test counts it


class Pair:
    """Two networks on the seeds that both have, one scene and split: where each is right.

    ``mine`` and ``other`` are rows of the store, a row for each seed.
    """

    def __init__(self, store: Store, mine: pd.DataFrame, other: pd.DataFrame) -> None:
        rows = [part.set_index("seed", drop=False).sort_index() for part in (mine, other)]
        self.seeds = sorted(set(rows[0].index) & set(rows[1].index))
        self.rows = [part.loc[self.seeds] for part in rows]
        scene, split = rows[0][["scene", "split"]].iloc[0]
        self.card: Scene = store.card(scene)[0]
        self.divisions = [split_of(self.card, split, seed) for seed in self.seeds]
        self.gained, self.sizes, self.classes, self.numbers, self.right = [], [], [], [], []
        for place, division in enumerate(self.divisions):
            tested = np.zeros(self.card.labels.size, int)
            tested[division.test] = division.test_y + 1
            numbers = stats.fields(tested.reshape(self.card.labels.shape)).ravel()[division.test] - 1
            maps = (store.read_map(part["run"].iloc[place]).ravel() for part in self.rows)
            hits = [drawn[division.test] == division.test_y + 1 for drawn in maps]
            self.numbers.append(numbers)
            self.right.append(hits)
            self.sizes.append(np.bincount(numbers))
            self.gained.append(np.bincount(numbers, hits[0].astype(float) - hits[1]))
            self.classes.append(division.test_y[np.unique(numbers, return_index=True)[1]])

    @property
    def one_division(self) -> bool:
        """Whether all seeds test the same pixels."""
        return all(np.array_equal(one.test, self.divisions[0].test) for one in self.divisions)

    def interval(self, metric: str) -> tuple[float, float, float]:
        """Difference in points, and its 95 % interval over seeds and fields."""
        if len(self.seeds) < 2:
            return (self.rows[0][metric] - self.rows[1][metric]).mean(), np.nan, np.nan
        return stats.over_fields(self.gained, self.sizes, self.classes, CLASSES[metric])

    def over_seeds(self, metric: str) -> tuple[float, float, float]:
        """The same over seeds alone, on the test pixels as they are."""
        return stats.paired(self.rows[0][metric], self.rows[1][metric])[:3]

    def signs(self) -> tuple[int, int, float]:
        """(fields in which the first is better, in which it is worse, p), of those of ten pixels or more."""
        larger = self.sizes[0] >= LARGER
        return stats.sign_test(np.mean(self.gained, axis=0)[larger].round(9))

    def most(self) -> tuple[str, float]:
        """The field that moves the difference of overall accuracy most, in words, and by how many points."""
        points = 100 * np.mean(self.gained, axis=0) / self.sizes[0].sum()
        field = int(np.abs(points).argmax())
        pixels = self.divisions[0].test[self.numbers[0] == field]
        row, column = (round(float(x.mean())) for x in np.divmod(pixels, self.card.labels.shape[1]))
        name = self.card.classes[self.classes[0][field]]
        return f"{name}, {len(pixels)} pixels around row {row}, column {column}", float(points[field])


def differing(ax: plt.Axes, pair: Pair, title: str = "") -> None:
    """Map where two networks differ: blue where more seeds of the first are right, orange of the second.

    White: both as often; grey: not tested.
    """
    shown = np.full(pair.card.labels.size, np.nan)
    shown[pair.divisions[0].test] = np.mean([a.astype(float) - b for a, b in pair.right], axis=0)
    bare(ax, title).set_facecolor("#bbbbbb")
    ax.set_frame_on(True)
    look = dict(cmap="PuOr", vmin=-1, vmax=1, interpolation="nearest")
    ax.imshow(shown.reshape(pair.card.labels.shape), **look)


def table(pairs: dict[str, Pair], metrics: Sequence[str] = ("oa", "aa30", "aa")) -> pd.DataFrame:
    """A line for each pair and measure: difference, both intervals, signs of fields, the field that matters.

    Where seeds have divisions of their own, fields are other ones for each: no signs, no field.
    """
    lines = []
    for name, pair in pairs.items():
        counts = {len(sizes) for sizes in pair.sizes}
        line = {"comparison": name, "seeds": len(pair.seeds), "fields": f"{min(counts)}"}
        line["fields"] += f" to {max(counts)}" if len(counts) > 1 else ""
        for metric in metrics:
            difference, low, high = pair.over_seeds(metric)
            _, least, most = pair.interval(metric)
            ends = {"low": low, "high": high, "low, fields": least, "high, fields": most}
            lines.append(line | {"metric": metric, "difference": difference} | ends)
            if metric == "oa" and pair.one_division:
                better, worse, p = pair.signs()
                where, points = pair.most()
                signs = {"better": better, "worse": worse, "p": p}
                lines[-1] |= signs | {"most": where, "points": points}
    return pd.DataFrame(lines)
