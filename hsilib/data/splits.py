"""Splits: which pixels train, which test, and how far the test windows reach into the training pixels.

``leakage`` is the share of test pixels that have at least one training pixel inside their own 19 x 19 window.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_cdt, label, maximum_filter

from hsilib.data.scenes import Scene
from hsilib.errors import HsiError, known

WINDOW = 19  # rows and columns of a patch
SPLITS = {
    "random": "stratified, at the ratio of the published split",
    "disjoint": "the published training map, as the reference code reads it",
    "disjoint-labelled": "the same, without training pixels that the ground truth leaves unlabelled",
    "disjoint-corrected":
        "the same, training pixels whose class contradicts the ground truth moved to the test set",
    "buffered": "the published training map; only test pixels with no training pixel in their window",
    "blocks":
        "square blocks drawn to train or test; test windows touch no training pixel (in a set of spectra, "
        "which has no windows: none lies within two pixels)",
    "validation":
        "for choices: a quarter of the training pixels of `disjoint`, in 8 x 8 blocks; never a test pixel",
    "choice":
        "for choices: almost half of the training pixels of `disjoint`, drawn anew for each seed, as far "
        "from the others as its test pixels are; never a test pixel",
    "transfer":
        "of two images side by side: 200 pixels a class of the first train, the second tests; inputs are "
        "standardised on training pixels alone",
    "transfer_back": "the same the other way round",
}
TRANSFER = {"transfer": 200, "transfer_back": 200}
FEW = {f"labels_{count}": count for count in (10, 25, 50, 100, 200)}
SPLITS |= {
    name: f"{count} training pixels a class (all where fewer), drawn from those of `disjoint`, or of "
    "`blocks` where no map is published; its test pixels"
    for name, count in FEW.items()
}


@dataclass(frozen=True, repr=False)
class Split:
    """The training and test pixels as flat indices (row-major), with their 0-based classes.

    >>> split_of(load_scene("synthetic_urban_small"), "disjoint")
    Split('disjoint', 378 training and 1132 test pixels, leakage 83 %)
    """

    name: str
    train: np.ndarray  # (N,) int64
    train_y: np.ndarray
    test: np.ndarray
    test_y: np.ndarray
    leakage: float  # share of test pixels with a training pixel in their window

    def __repr__(self) -> str:
        leak = "" if np.isnan(self.leakage) else f", leakage {100 * self.leakage:.0f} %"
        return f"Split({self.name!r}, {len(self.train)} training and {len(self.test)} test pixels{leak})"


def seed_of(*axes: str | int) -> int:
    """Compute a seed from named axes, so that methods share splits, initial weights and batch order.

    >>> seed_of("synthetic_urban_small", "random", 0, "init") % 1000
    741
    """
    return int.from_bytes(hashlib.sha256("/".join(map(str, axes)).encode()).digest()[:7], "big")


def split_of(scene: Scene, name: str, seed: int = 0) -> Split:
    """Return the split of a repetition: all runs with this scene, split and seed train and test on it.

    >>> split = split_of(load_scene("synthetic_urban_small"), "random", seed=1)
    >>> set(split.train) & set(split.test)
    set()
    """
    return make_split(scene, name, seed_of(scene.name, whole(scene, name), seed, "split"))


def make_split(scene: Scene, name: str, seed: int) -> Split:
    """Make a split from a raw seed, which drives all that is drawn; runs have ``split_of``."""
    known("split", name, SPLITS)
    if scene.of_images and name != "random":
        raise HsiError(f"{scene.name} is a set of images: it has the split random only")
    rng = np.random.default_rng(seed)
    train, test = _maps(scene, whole(scene, name), rng)
    if name in FEW | TRANSFER:  # so many pixels of each class; a larger draw holds all of a smaller one
        few = np.zeros_like(train)
        for c in np.unique(train[train > 0]):
            few.flat[rng.permutation(np.flatnonzero(train == c))[: (FEW | TRANSFER)[name]]] = c
        train = few
    train, test = train.ravel(), test.ravel()
    a, b = np.flatnonzero(train), np.flatnonzero(test)
    missing = sorted(set(test[b]) - set(train[a]))
    wrong = f"no training pixel of {', '.join(scene.classes[c - 1] for c in missing)}" if missing else ""
    if len(set(train[a])) == 1:
        wrong = "training pixels of one class only"
    if len(a) == 0 or len(b) == 0:
        wrong = f"no {'test' if len(a) else 'training'} pixel left"
    if wrong:
        raise HsiError(f"scene {scene.name}, split {name}: {wrong}")
    leak = np.nan if scene.of_images else near((train > 0).reshape(scene.labels.shape)).ravel()[b].mean()
    return Split(name, a, train[a].astype(np.int64) - 1, b, test[b].astype(np.int64) - 1, float(leak))


def whole(scene: Scene, name: str) -> str:
    """Return the split that few labels are drawn from, whose test pixels they keep; any other is its own."""
    return name if name not in FEW else "blocks" if scene.train_map is None else "disjoint"


def _maps(scene, name, rng):
    """The training and the test pixels as maps of class numbers."""
    labels, train = scene.labels, scene.train_map
    if name == "random":
        return _random(labels, scene.train_fraction, rng)
    if name == "blocks":
        return _blocks(scene, rng)
    if name in TRANSFER:
        if not scene.second:
            raise HsiError(f"scene {scene.name} is one image: the splits transfer need two side by side")
        first = np.arange(labels.shape[1]) < scene.second
        first = first if name == "transfer" else ~first
        return np.where(first, labels, 0), np.where(first, 0, labels)
    if train is None:
        raise HsiError(f"scene {scene.name} has no published training map; use split random or blocks")
    test = np.where(train > 0, 0, labels if scene.test_map is None else scene.test_map)
    if name == "disjoint-labelled":
        train = np.where(labels > 0, train, 0)
    elif name == "disjoint-corrected":
        wrong = (train > 0) & (labels > 0) & (train != labels)
        train, test = np.where(wrong, 0, train), np.where(wrong, labels, test)
    elif name == "buffered":
        test = np.where(near(train > 0), 0, test)
    elif name == "validation":
        return _validation(train)
    elif name == "choice":
        return _choice(train, test, rng)
    return train, test


def near(mask: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Return a map that is True where a pixel's window holds a pixel of ``mask``."""
    return maximum_filter(mask, size=window, mode="constant", cval=False)


def _random(labels, fraction, rng):
    """Draw a fraction of each class to train, and leave at least one pixel on either side."""
    train = np.zeros_like(labels)
    for c in np.unique(labels[labels > 0]):
        pixels = rng.permutation(np.flatnonzero(labels == c))
        if len(pixels) < 2:
            raise HsiError(f"split random: class {c} has {len(pixels)} labelled pixel, needs 2")
        count = min(max(round(fraction * len(pixels)), 1), len(pixels) - 1)
        train.flat[pixels[:count]] = c
    return train, np.where(train > 0, 0, labels)


def _validation(train):
    """Hold out every fourth 8 x 8 block, except where that would take all of a class."""
    rows, cols = np.indices(train.shape) // 8
    held = (rows % 2 == 0) & (cols % 2 == 0) & (train > 0)
    for c in np.unique(train[train > 0]):
        mine = train == c
        if (mine & ~held).sum() < 3:
            held &= ~mine
    return np.where(held, 0, train), np.where(held, train, 0)


def _choice(train, test, rng, share=0.45, least=3):
    """Hold out a part of every class as far from what trains on as ``test`` is.

    Every connected piece is cut across a direction that is drawn, as a field that lies half in the training
    map; or whole pieces are held out.  That is taken whose distances come nearer to those of ``test``.
    """
    pieces, (cut, whole) = [], np.zeros((2, *train.shape), bool)
    for c in np.unique(train[train > 0]):
        numbers, count = label(train == c, np.ones((3, 3)))
        pieces.append([np.nonzero(numbers == number) for number in range(1, count + 1)])
    for rows, cols in (piece for mine in pieces for piece in mine):  # what lies furthest along the direction
        angle = rng.uniform(0, 2 * np.pi)
        along = np.argsort(rows * np.sin(angle) + cols * np.cos(angle), kind="stable")
        out = along[len(along) - round(share * len(along)) :]
        cut[rows[out], cols[out]] = True
    for mine in pieces:  # drawn as long as no more than a share of the class is held out
        left = share * sum(len(rows) for rows, _ in mine)
        for number in rng.permutation(len(mine)):
            rows, cols = mine[number]
            if len(rows) <= left:
                whole[rows, cols], left = True, left - len(rows)
    for mask in (cut, whole):
        for c in np.unique(train[train > 0]):
            mine = train == c
            if min((mine & mask).sum(), (mine & ~mask).sum()) < least:
                mask &= ~mine
    wanted = _distances(train > 0, test > 0)
    gaps = [abs(_distances((train > 0) & ~mask, mask) - wanted).max() for mask in (cut, whole)]
    mask = (cut, whole)[int(np.argmin(gaps))]
    return np.where(mask, 0, train), np.where(mask, train, 0)


def _distances(train, test):
    """The share of test pixels that have a training pixel within 0, 1, 2 ... rows and columns of a window."""
    steps = distance_transform_cdt(~train, "chessboard")[test]
    return np.bincount(steps.clip(max=WINDOW), minlength=WINDOW + 1).cumsum() / max(len(steps), 1)


def _blocks(scene, rng, draws=300):
    """Draw many block patterns, and keep the one whose worst-off class has most pixels on both sides."""
    h, w = scene.labels.shape
    reach = 5 if scene.of_spectra else WINDOW
    r, c = np.nonzero(scene.labels)
    classes = scene.labels[r, c].astype(np.intp) - 1
    totals = np.bincount(classes, minlength=len(scene.classes))
    present, best = totals > 0, (-1.0, 0, None)

    def score(sides):
        """How many classes have pixels on both sides, and the least share of a class on one."""
        worst = np.minimum(*(side[present] for side in sides)) / totals[present]
        return (worst > 0).sum() + worst.min(), int((worst > 0).sum())

    for _ in range(draws):
        side = int(rng.integers(WINDOW, max(WINDOW + 1, max(h, w) // 2 + 1)))
        shift = rng.integers(0, side, 2)
        grid = rng.random(((h + 2 * side) // side, (w + 2 * side) // side)) < 0.5
        rows, cols = (np.arange(h) + shift[0]) // side, (np.arange(w) + shift[1]) // side
        count = np.bincount(classes[grid[rows[r], cols[c]]], minlength=len(totals))
        if score((count, totals - count))[0] <= best[0]:  # the buffer only takes test pixels away
            continue
        side_a = grid[rows][:, cols]
        train = np.where(side_a, scene.labels, 0)
        test = np.where(side_a | near(train > 0, reach), 0, scene.labels)
        found = score((count, np.bincount(test[r, c], minlength=len(totals) + 1)[1:]))
        if found[0] > best[0]:
            best = (*found, (train, test))
    if best[1] < present.sum():
        says = f"(best of {draws} draws: {best[1]} of {present.sum()}); its fields are too few or too close"
        raise HsiError(f"scene {scene.name} has no blocks split with all classes on both sides {says}")
    return best[2]
