"""What the store has of all networks on one scene and split: where pages that compare them all start."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from hsibook import claims, stats
from hsibook.chapter import usual_splits
from hsibook.fields import Pair
from hsilib.data.splits import split_of
from hsilib.errors import joined
from hsilib.methods import family, get
from hsilib.models.networks import WIDTHS
from hsilib.study.runs import stored
from hsilib.study.store import Store

DESIGNED = dict(epochs=60, lr=2e-3, schedule="one_cycle")  # the recipe of networks small by design


def flattered(store: Store, scene: str, split: str = "") -> tuple[float, float, float]:
    """What the dense network gains in overall accuracy, and its interval, when it is judged on the random
    split rather than on ``split``, or on the usual one."""
    split = split or usual_splits(store.card(scene)[0])[0]
    random, apart = (stored(store, scene, [name], ["cnn2d"], (0,)) for name in ("random", split))
    random, apart = (rows.set_index("seed")["oa"] for rows in (random, apart))
    seeds = random.index.intersection(apart.index)
    return stats.paired(random[seeds], apart[seeds])[:3]


class Evidence:
    """All networks of one scene and split as the store has them, for pages that train nothing.

    ``rows`` and ``oa`` hold the seeds that every small network has.  What is picked as the best of many is
    picked on the first half of them, ``picking``, and repeated on the others, which had no part in it.
    """

    sizes = tuple(ratio for ratio in WIDTHS if ratio)

    def __init__(self, scene: str, split: str):
        self.scene, self.split, self.store = scene, split, Store()
        self.card, _, _ = self.store.card(scene)
        self.names = claims.comparable()
        self.taught = [name for name in self.names if get(name).family in ("offline", "online", "self")]
        rows = self.stored([*self.names, "simkd", *family("baselines"), *family("quantization")]).copy()
        rows["aa30"] = rows["aa30"].fillna(rows["aa"])  # where no class has 30 test pixels
        self.oa, self.aa30, self.aa = (
            claims.by_seed(rows, self.names, self.sizes, metric) for metric in ("oa", "aa30", "aa")
        )
        self.divisions = {seed: split_of(self.card, split, seed) for seed in self.oa.index}
        common = rows["seed"].isin(self.oa.index)
        self.rows, half = rows[common], (len(self.oa) + 1) // 2
        self.picking, self.fresh = self.oa.iloc[:half], self.oa.iloc[half:]
        self._all = self.rows.pivot_table(index="seed", columns=["method", "ratio"], values="oa")
        self.gained = claims.gains(self.picking)
        self.top = self.gained.index[0]  # gains most over Scratch in the mean over the sizes
        leaders = {size: claims.leader(self.at(size)) for size in self.sizes}
        self.best = {size: name for size, (name, _) in leaders.items()}
        self.tied = {size: names for size, (_, names) in leaders.items()}  # cannot be told from the best
        self.parts = {size: stats.components(self.at(size)) for size in self.sizes}

    def stored(self, names: Sequence[str], ratios: Sequence[int] = (0, *sizes), **common) -> pd.DataFrame:
        """What the store holds of these methods."""
        return stored(self.store, self.scene, [self.split], names, ratios, **common)

    def designed(self) -> pd.DataFrame:
        """The networks small by design, and their forms in whole numbers, as far as the store has them."""
        names = family("compact")
        parts = [self.stored(["static"], (0,), options={"of": name}, **DESIGNED) for name in names]
        parts += [self.stored([*names, "cnn2d_taught"], (0,), **DESIGNED)]
        return pd.concat(parts, ignore_index=True)

    def at(self, size: int) -> pd.DataFrame:
        """Overall accuracy at one size, seeds × methods."""
        return self.oa.xs(size, axis=1, level=1)

    def of(self, names: Sequence[str], ratios: Sequence[int] = sizes) -> pd.DataFrame:
        """Overall accuracy by seed, mean over methods and sizes; a seed counts when it has them all."""
        keys = pd.MultiIndex.from_product([np.atleast_1d(names), np.atleast_1d(ratios)])
        return self._all.reindex(columns=keys).dropna().mean(axis=1)

    def runs(self, names: Sequence[str], ratios: Sequence[int] = sizes) -> pd.DataFrame:
        """The rows behind ``of``."""
        seeds = self.of(names, ratios).index
        some = self.rows["method"].isin(np.atleast_1d(names)) & self.rows["ratio"].isin(np.atleast_1d(ratios))
        return self.rows[some & self.rows["seed"].isin(seeds)]

    def each(self, text: Callable) -> str:
        """A text for each size, ``text(size)``, as a, b and c."""
        return joined(text(size) for size in self.sizes)

    def repeated(self, names: Sequence[str]) -> pd.DataFrame:
        """As ``oa``, on the seeds that had no part in picking these methods."""
        return self.fresh[list(names)]

    def fits(self, ratios: Sequence[int]) -> pd.DataFrame:
        """Accuracy of training and test pixels, on the random split and here: methods that ran on both."""
        random, here = (
            claims.fits(self.store, self.scene, split, self.names, ratios) for split in ("random", self.split)
        )
        return random.add_suffix("_random").join(here.add_suffix("_here")).dropna()

    def by_better_recipe(self, name: str) -> pd.DataFrame:
        """Runs of a network of spectra by the better recipe: as long as the reference code's, or ours."""
        longer = self.stored([name], (0,), epochs=300, schedule="constant")
        recipes = stats.pick(longer), stats.pick(self.rows, method=name)
        return max(recipes, key=lambda runs: runs["oa"].mean() if len(runs) > 1 else -1)

    def claims(self, margin: float = 1.0) -> pd.DataFrame:
        """What the seeds say of the paper's claims, and of controls of ours: a line for each, as ``judged``
        returns it, with intervals over seeds and fields beside.  A claim whose interval over seeds and fields
        does not leave out zero is open.  ``margin``: points; a loss of less counts as none.  What the store
        cannot tell is left out."""
        criteria = family("pruning")
        offline, online, alone = (
            [n for n in family(mode) if get(n).paper] for mode in ("offline", "online", "self")
        )
        kd = [*offline, *online, *alone]  # without the two that we added
        spectral = {name: self.by_better_recipe(name) for name in ("mlp", "cnn1d")}
        loss = f"static integers lose less than {margin:g} point"
        pairs = {
            "pruning beats Scratch": (self.runs(criteria), self.runs("scratch")),
            "control: pruning beats Scratch trained as long": (self.runs(criteria), self.runs("scratch_b")),
            "strategy II beats I": (self.runs("l1_iterative"), self.runs("l1")),
            "strategy II beats III": (self.runs("l1_iterative"), self.runs("l1_multipass")),
            "98 % pruned beats MLP": (self.runs(criteria, 98), spectral["mlp"]),
            "98 % pruned beats CNN1D": (self.runs(criteria, 98), spectral["cnn1d"]),
            "distillation beats Scratch": (self.runs(kd), self.runs("scratch")),
            "offline beats online": (self.runs(offline), self.runs(online)),
            "offline beats self": (self.runs(offline), self.runs(alone)),
        }
        for name in ("okddip", "ddgsd"):
            others = [other for other in kd if other != name]
            pairs[f"{get(name).title} beats the mean of the others"] = self.runs(name), self.runs(others)
        crops = "control: DDGSD beats Scratch on windows like its own"
        pairs[crops] = self.runs("ddgsd"), self.runs("scratch_crops")
        own = stats.pick(self.rows, method="mlp")
        if not own["oa"].equals(spectral["mlp"]["oa"]):  # the paper does not say how long it trained
            pairs["control: 98 % pruned beats MLP of our recipe"] = self.runs(criteria, 98), own
        pairs[loss] = self.runs("static", 0), self.runs("cnn2d", 0)
        means = {
            claim: tuple(part.set_index("seed")["oa"].groupby("seed").mean() for part in two)
            for claim, two in pairs.items()
        }
        means = {claim: (a, b) for claim, (a, b) in means.items() if len(a.index.intersection(b.index)) > 1}
        table = claims.judged(means, {loss: margin} if loss in means else {})
        wide = [Pair(self.store, *pairs[claim]).interval("oa")[1:] for claim in means]
        table["low, fields"], table["high, fields"] = zip(*wide) if wide else ((), ())
        shift = margin * (table["comparison"] == loss)
        ends = (table[end] + shift for end in ("low, fields", "high, fields"))
        return table.assign(verdict=claims.settled(table["verdict"], *ends))

    def right(self, name: str, ratio: int) -> np.ndarray:
        """{seed: whether each test pixel is right}"""
        hits = {}
        for seed, run in stats.pick(self.rows, method=name, ratio=ratio)["run"].sort_index().items():
            split = self.divisions[seed]
            hits[seed] = self.store.read_map(run).ravel()[split.test] == split.test_y + 1
        return hits
