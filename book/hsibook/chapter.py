"""What a chapter runs on: its parameters, completed and checked, as one object that its cells ask for
runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from hsibook import figures, kernel
from hsilib.data.own import is_own
from hsilib.data.scenes import Scene
from hsilib.data.splits import split_of
from hsilib.errors import HsiError, known
from hsilib.identity import Run
from hsilib.methods import registry, title
from hsilib.models.evaluate import confusion, per_class
from hsilib.models.networks import WIDTHS
from hsilib.study.runs import plan
from hsilib.study.store import Store, smoke_store
from hsilib.study.sweep import collect

FEW = 5
SIZES = tuple(ratio for ratio in WIDTHS if ratio)  # by the paper's names: percent that are cut
# seconds, to see that a page works; ratios: the smallest
SMOKE = dict(scene="synthetic_urban_small", seeds=2, epochs=2)


@dataclass(frozen=True)
class Chapter:
    """Everything a chapter's cells need to know of what was asked for.  Every field is always there.

    >>> c = chapter("offline", scene="synthetic_urban_small", budget="smoke")
    >>> c.first, c.small
    ('disjoint', 98)
    """

    family: str  # of the methods the chapter is about
    names: tuple[str, ...]  # of these methods, in the order of the tables
    scene: str
    splits: tuple[str, ...]
    ratios: tuple[int, ...]  # sizes of the small networks
    seeds: dict[str, int]  # split -> repetitions
    epochs: int
    budget: str  # "paper" or "smoke"
    store: Store = field(repr=False)
    card: Scene = field(repr=False)  # the scene without its cube
    rgb: np.ndarray | None = field(repr=False)  # its false-colour image
    spectra: pd.DataFrame | None = field(repr=False)  # mean and sd of every class

    @property
    def first(self) -> str:
        """The split that comes first: the one for claims."""
        return self.splits[0]

    @property
    def small(self) -> int:
        """The smallest size."""
        return max(self.ratios)

    @property
    def large(self) -> int:
        """The largest size of the small networks."""
        return min(self.ratios)

    @property
    def components(self) -> int:
        """How many components the networks of windows see: as many as the scene has bands, 40 at most."""
        return min(registry.get("cnn2d").options["components"], len(self.spectra))

    @property
    def few(self) -> dict[str, int]:
        """Repetitions of variants and trials, beside what the chapter is about: five at most."""
        return {split: min(count, FEW) for split, count in self.seeds.items()}

    @property
    def smoke(self) -> bool:
        return self.budget == "smoke"

    def log(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Loss terms per epoch of the first of these runs."""
        return self.store.read_log(rows["run"].iloc[0])

    def noted(self, rows: pd.DataFrame, what: str) -> pd.Series:
        """What each of these runs noted under this name, by seed."""
        return rows["run"].map(lambda run: self.store.read_note(run)[what])

    def traces(self, rows: pd.DataFrame, what: str) -> list[np.ndarray]:
        """What each of these runs noted under this name once an epoch, by seed."""
        return [np.array(list(noted.values())) for noted in self.noted(rows, what)]

    def recall(self, rows: pd.DataFrame) -> np.ndarray:
        """Recall of every class, percent, mean over these runs, from their stored maps."""
        found = []
        for run, name, seed in rows[["run", "split", "seed"]].itertuples(index=False):
            split = split_of(self.card, name, seed)
            predicted = self.store.read_map(run).ravel()[split.test].astype(int) - 1
            found.append(per_class(confusion(split.test_y, predicted, len(self.card.classes))))
        return np.mean(found, 0)

    def plan(
        self, names: Sequence[str], ratios: Sequence[int] | None = None, splits: Sequence[str] | None = None,
        seeds: dict | int | None = None, **common: Any
    ) -> list[Run]:
        """The runs of these methods; what is not said is as the chapter was asked for."""
        sizes = (0, *self.ratios) if ratios is None else ratios
        splits, common = self.splits if splits is None else splits, {"epochs": self.epochs} | common
        return plan(self.scene, splits, names, sizes, seeds or self.seeds, **common)

    def collect(self, *plans: list[Run]) -> pd.DataFrame | list[pd.DataFrame]:
        """The rows of a plan; of several plans a list of them, trained in one sweep with one estimate of
        what it takes."""
        frames = list(self.collect_each(dict(enumerate(plans))).values())
        return frames[0] if len(plans) == 1 else frames

    def collect_each(self, plans: dict) -> dict:
        """{name: the rows of its plan}, trained in one sweep with one estimate of what it takes."""
        runs = list(dict.fromkeys(run for part in plans.values() for run in part))
        if not runs:
            return dict.fromkeys(plans)
        rows = self.store.rows() if kernel.PAGE.held else collect(runs, self.store)
        rows = rows.set_index("run", drop=False)
        ids = {name: [run.id for run in part if run.id in rows.index] for name, part in plans.items()}
        return {name: rows.loc[part].reset_index(drop=True) for name, part in ids.items()}


def chapter(
    family: str, *, scene: str, seeds: int = 1, epochs: int = 1, splits: Sequence[str] = (),
    ratios: Sequence[int] = (), methods: Sequence[str] = (), further_seeds: int | None = None,
    budget: str = "paper", smoke: str = SMOKE["scene"],
) -> Chapter:
    """A chapter about a family of methods, from its parameters; without one (``""``), about ``methods``.

    ``budget``: ``paper`` runs what is asked for and keeps it in the book's store; ``smoke`` runs your own
    scene, or in place of any other the small synthetic one that ``smoke`` names, with two seeds and two
    epochs, in a store of its own.  Without ``splits`` it takes the published split, or blocks, and but for
    ``smoke`` the random one; ``further_seeds``: repetitions of the splits after the first, if those are to be
    fewer.

    >>> c = chapter("baselines", scene="synthetic_urban_small", methods=["mlp"], budget="smoke")
    >>> rows = c.collect(c.plan(c.names))
    """
    known("budget", budget, ("paper", "smoke"))
    figures.style()
    store, names = Store(), registry.family(family, methods) if family else list(methods)
    ratios = tuple(ratios) or SIZES
    if budget == "smoke":
        store, ratios = smoke_store(), (max(ratios),)
        scene = scene if is_own(scene) else smoke
        seeds, epochs = SMOKE["seeds"], SMOKE["epochs"]
    card, rgb, spectra = store.card(scene)
    names = tuple(_able(names, card, spectra))
    splits = tuple(splits) or usual_splits(card)[: 1 if budget == "smoke" else None]
    fewer = seeds if further_seeds is None else min(seeds, further_seeds)
    each = {split: fewer if number else seeds for number, split in enumerate(splits)}
    return Chapter(family, names, scene, splits, ratios, each, epochs, budget, store, card, rgb, spectra)


def _able(names, card, spectra):
    """Leave out, and say so, the methods that cannot run on this scene."""
    if card.of_images:
        return names
    lacks = {name: registry.get(name).lacks(len(spectra), card.of_spectra) for name in names}
    left = [f"{title(name)}: {why}" for name, why in lacks.items() if why]
    if names and len(left) == len(names):
        raise HsiError(f"scene {card.name}: no method of this chapter can run on it ({left[0]})")
    if left:
        print("Left out on this scene:", "; ".join(left))
    return [name for name in names if not lacks[name]]


def usual_splits(scene: Scene) -> tuple[str, ...]:
    """The published split where there is one, else blocks where the scene has some, and the random split."""
    if scene.of_images:
        return ("random",)
    first = "disjoint" if scene.train_map is not None else "blocks"
    try:
        split_of(scene, first)
    except HsiError:  # no leak-free blocks in this scene
        return ("random",)
    return (first, "random")
