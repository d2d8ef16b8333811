"""What the store has of all networks on one scene and split: where pages that compare them all start."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hsibook import claims, stats
from hsibook.chapter import SIZES, usual_splits
from hsibook.fields import right
from hsilib.data.splits import split_of
from hsilib.methods import family
from hsilib.study.runs import stored
from hsilib.study.store import Store

DESIGNED = dict(epochs=60, lr=2e-3, schedule="one_cycle")  # the recipe of networks small by design


def flattered(
    store: Store, scene: str, split: str = "", method: str = "cnn2d"
) -> tuple[float, float, float, int]:
    """What a network gains in overall accuracy, its interval, and over how many seeds, when it is judged on
    the random split rather than on ``split``, or on the usual one."""
    split = split or usual_splits(store.card(scene)[0])[0]
    random, apart = (stored(store, scene, [name], [method], (0,)) for name in ("random", split))
    random, apart = (rows.set_index("seed")["oa"] for rows in (random, apart))
    seeds = random.index.intersection(apart.index)
    return *stats.paired(random[seeds], apart[seeds])[:3], len(seeds)


class Evidence:
    """All networks of one scene and split as the store has them, for pages that train nothing.

    ``rows`` and ``oa`` hold the seeds that every small network has.  What is picked as the best of many is
    picked on the first half of them, ``picking``, and repeated on the others, which had no part in it.
    """

    def __init__(self, scene: str, split: str, sizes: Sequence[int]):
        self.scene, self.split, self.store, self.sizes = scene, split, Store(), tuple(sizes)
        self.card = self.store.card(scene)[0]
        self.names = claims.comparable()
        rows = self.stored([*self.names, "simkd", *family("baselines"), *family("quantization")]).copy()
        rows["aa30"] = rows["aa30"].fillna(rows["aa"])  # where no class has 30 test pixels
        self.oa, self.aa30 = (claims.by_seed(rows, self.names, self.sizes, m) for m in ("oa", "aa30"))
        self.divisions = {seed: split_of(self.card, split, seed) for seed in self.oa.index}
        common = rows["seed"].isin(self.oa.index)
        self.rows, half = rows[common], (len(self.oa) + 1) // 2
        self.picking, self.fresh = self.oa.iloc[:half], self.oa.iloc[half:]
        self.parts = {size: stats.components(self.oa.xs(size, axis=1, level=1)) for size in self.sizes}

    def stored(self, names: Sequence[str], ratios: Sequence[int] = (0, *SIZES), **common) -> pd.DataFrame:
        """What the store holds of these methods."""
        return stored(self.store, self.scene, [self.split], names, ratios, **common)

    def runs(self, names: Sequence[str], *ratios: int) -> pd.DataFrame:
        """The rows of these methods at these sizes, or at all; of the seeds that lack none of them."""
        names, ratios = np.atleast_1d(names), ratios or self.sizes
        rows = self.rows[self.rows["method"].isin(names) & self.rows["ratio"].isin(ratios)]
        return rows[rows.groupby("seed")["run"].transform("size") == len(names) * len(ratios)]

    def by_better_recipe(self, name: str) -> pd.DataFrame:
        """Runs of a network of spectra by the better recipe: as long as the reference code's, or ours."""
        longer = self.stored([name], (0,), epochs=300, schedule="constant")
        recipes = stats.pick(longer), stats.pick(self.rows, method=name)
        return max(recipes, key=lambda runs: runs["oa"].mean() if len(runs) > 1 else -1)

    def right(self, name: str, ratio: int) -> dict[int, np.ndarray]:
        """{seed: whether each test pixel is right}"""
        runs = stats.pick(self.rows, method=name, ratio=ratio)["run"].sort_index()
        return {seed: right(self.store, run, self.scene, self.split, seed) for seed, run in runs.items()}
