"""What a network sees: spectra or PCA patches, standardised over the scene, gathered without copying it.

The order is that of the reference code: PCA on all pixels, mean-centred only; then each component is scaled
to zero mean and unit variance; then zeros are padded.  No label is used, but spectra of test pixels are.
"""

import mmap
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from hsilib.data.formats import of_array
from hsilib.data.scenes import Scene
from hsilib.data.splits import WINDOW, Split
from hsilib.errors import HsiError, known
from hsilib.files import cache_folder

MARGIN = WINDOW // 2
WHOLE = 1 << 26  # bytes of a cube that is prepared at once, in seven times as many; larger ones by strips
WINDOWED = ("patches", "windows")
KINDS = ("bands", "minmax", *WINDOWED)


@dataclass(frozen=True, repr=False)
class Inputs:
    """What the networks see of a scene; only patch models need ``padded``.

    >>> scene = load_scene("synthetic_urban_small")
    >>> make_inputs(scene, split_of(scene, "disjoint"), "bands")
    Inputs(64 x 48 pixels, 103 channels)
    """

    shape: tuple[int, int]
    pixels: torch.Tensor  # (H*W, C), none where ``padded`` of a large scene holds them
    padded: torch.Tensor | None  # (H+18, W+18, C)
    # how a spectrum becomes ``pixels``: of patches (mean, weight, shift), (spectrum - mean) @ weight + shift;
    # of bands and windows (mean, spread), (spectrum - mean) / spread
    reduction: tuple[np.ndarray, ...] | None = None
    there: torch.Tensor | None = None  # which pixels have values, as flat indices; None: all
    disk: np.memmap | None = None  # what holds them of a large scene
    bands: int = 0  # of a spectrum as it was measured
    turns: ClassVar[int] = 1  # positions in which a sample is trained on

    def __repr__(self) -> str:
        windows = ", windows" * (self.padded is not None)
        return f"Inputs({self.shape[0]} x {self.shape[1]} pixels, {self.pixels.shape[1]} channels{windows})"

    @property
    def count(self) -> int:
        """How many pixels the scene has."""
        return self.shape[0] * self.shape[1]

    def release(self) -> None:
        """Let go of what was read of a large scene: it counts as memory until somebody needs that."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.disk._mmap.madvise(mmap.MADV_DONTNEED)

    def samples(self, index: torch.Tensor, window: int = WINDOW) -> torch.Tensor:
        """Gather what a network is given of the pixels ``index``: spectra (B, C), or windows (B, C, 19, 19).

        Of a network that sees the middle of windows alone, so wide a ``window`` is enough.
        """
        if self.padded is None:
            return self.pixels[index]
        picked = self.padded.view(-1, self.padded.shape[-1])[self.cells(index, window)]
        return picked.view(len(index), window, window, -1).permute(0, 3, 1, 2)

    def cells(self, index: torch.Tensor, window: int = WINDOW) -> torch.Tensor:
        """Return the places (B, window^2) in the padded scene of the pixels of each window."""
        w = self.shape[1]
        wide = w + 2 * MARGIN
        corner = torch.div(index, w, rounding_mode="floor") * wide + index % w
        steps = torch.arange(window, device=index.device) + (WINDOW - window) // 2
        return corner[:, None] + (steps[:, None] * wide + steps).flatten()

    def to(self, device: str | torch.device) -> "Inputs":
        """Return the same inputs on a device."""
        held = {name: getattr(self, name) for name in ("pixels", "padded", "there")}
        return replace(self, **{name: t.to(device) for name, t in held.items() if t is not None})


def middle(x: torch.Tensor, window: int) -> torch.Tensor:
    """Return the middle of windows (B, C, h, w), so many pixels wide."""
    edge = (x.shape[2] - window) // 2
    return x[:, :, edge : edge + window, edge : edge + window]


def turned(x: torch.Tensor, element: int) -> torch.Tensor:
    """Turn patches (B, C, S, S) by one of the eight symmetries of the square; 0 leaves them as they are."""
    x = torch.rot90(x, element % 4, (2, 3))
    return x.flip(3) if element >= 4 else x


@dataclass(frozen=True)
class Images:
    """What the networks see of a set of images, each in eight positions: number t * N + i is image i in t."""

    pixels: torch.Tensor  # (N, 3, S, S) bytes
    there: ClassVar[None] = None  # all are
    turns: ClassVar[int] = 8
    disk: ClassVar[None] = None
    bands: ClassVar[int] = 3

    def samples(self, index: torch.Tensor, window: int = 0) -> torch.Tensor:
        """Return the images ``index`` (B, 3, S, S) between -1 and 1, with their channels last in memory."""
        count = len(self.pixels)
        x = self.pixels[index % count].float() / 127.5 - 1
        for turn in range(1, self.turns):
            rows = index // count == turn
            if rows.any():
                x[rows] = turned(x[rows], turn)
        return x.contiguous(memory_format=torch.channels_last)

    @property
    def shape(self) -> tuple[int, int]:
        """How many images there are, as rows and columns."""
        return len(self.pixels), 1

    def to(self, device: str | torch.device) -> "Images":
        """Return the same images on a device."""
        return Images(self.pixels.to(device))


def principal(covariance: np.ndarray, components: int) -> np.ndarray:
    """Return the first eigenvectors of a covariance (B, B), exact, each with its largest loading positive."""
    vectors = np.linalg.eigh(covariance)[1][:, ::-1][:, :components]
    return vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])


def make_inputs(scene: Scene, split: Split, kind: str, components: int = 40, fit: str = "scene") -> Inputs:
    """Prepare a scene for networks of a kind.

    ``kind`` is ``bands`` (standardised), ``minmax`` (scaled to 0 to 1), ``windows`` (standardised and padded)
    or ``patches`` (PCA, standardised and padded), with at most so many ``components``: no more than the scene
    has bands.  ``fit`` says on which pixels means, components and scales are estimated: ``scene`` or
    ``train``.

    >>> scene = load_scene("synthetic_urban_small")
    >>> inputs = make_inputs(scene, split_of(scene, "random"), "patches", components=40)
    >>> inputs.samples(torch.tensor([0, 100])).shape
    torch.Size([2, 40, 19, 19])
    """
    h, w = scene.labels.shape
    for what, given, names in (("kind of inputs", kind, KINDS), ("pca_fit", fit, ("scene", "train"))):
        known(what, given, names)
    if kind in WINDOWED and scene.of_spectra:
        raise HsiError(f"{scene.name} is a set of spectra: it has no windows, which this method needs")
    if kind == "patches" and components < 1:
        raise HsiError(f"components must be at least 1, not {components}")
    if scene.cube is not None and scene.cube.nbytes > WHOLE:
        scene = replace(scene, image=of_array(scene.cube, scene.name))
    if scene.image is not None:
        return _large_inputs(scene, split, kind, components, fit)
    there, rows, reduction, padded = None, split.train, None, None
    pixels = scene.spectra if scene.of_spectra else scene.cube.reshape(h * w, -1)
    if scene.there is not None:  # only pixels with data count
        there = np.flatnonzero(scene.there)
        pixels, rows = pixels if scene.of_spectra else pixels[there], np.searchsorted(there, rows)
    pixels, rows, bands = pixels.astype(np.float64), rows if fit == "train" else slice(None), pixels.shape[1]
    if kind == "patches":
        mean = pixels[rows].mean(0)
        vectors = principal(np.cov(pixels[rows] - mean, rowvar=False), min(components, bands))
        pixels = (pixels - mean) @ vectors
    if kind == "minmax":
        low, high = pixels[rows].min(0), pixels[rows].max(0)
        pixels = (pixels - low) / np.where(high > low, high - low, 1)
    else:
        spread, centre = _spread(pixels[rows].std(0)), pixels[rows].mean(0)
        pixels = (pixels - centre) / spread
        reduction = centre, spread
    pixels = torch.from_numpy(pixels.astype(np.float32))
    if there is not None:
        there = torch.from_numpy(there)
        pixels = torch.zeros(h * w, pixels.shape[1]).index_copy_(0, there, pixels)
    if kind == "patches":
        reduction = mean, vectors / spread, -centre / spread
    if kind in WINDOWED:
        padded = torch.nn.functional.pad(pixels.view(h, w, -1), (0, 0, *[MARGIN] * 4)).contiguous()
    return Inputs((h, w), pixels, padded, _single(reduction), there, bands=bands)


def _spread(sd):
    """Take one for the sd of a constant band, or of a component of rounding errors, which becomes zero."""
    return np.where(sd > 1e-7 * sd.max(), sd, 1)


def _single(reduction):
    return reduction and tuple(a.astype(np.float32) for a in reduction)


# ----------------------------- large scenes: read by rows, twice, and kept on disk as the networks see them


def _large_inputs(scene, split, kind, components, fit):
    """Do the same by strips, in two passes over the cube or its file; the last digits may differ."""
    h, w = scene.labels.shape
    seen = moments(scene, split.train if fit == "train" else None)
    mean, reduction, margin = seen.mean, None, MARGIN if kind in WINDOWED else 0
    if kind == "minmax":
        mean, weight = seen.low, np.diag(1 / np.where(seen.high > seen.low, seen.high - seen.low, 1))
    else:
        weight = principal(seen.covariance, components) if kind == "patches" else np.eye(len(mean))
        along = np.einsum("bc,bd,dc->c", weight, seen.covariance, weight)
        spread = _spread(np.sqrt(along * (seen.count - 1) / seen.count))
        weight = weight / spread
        reduction = (mean, weight, np.zeros(len(spread))) if kind == "patches" else (mean, spread)
    array = _on_disk(scene, weight.shape[1], margin, lambda spectra: (spectra - mean) @ weight)
    there = None if scene.there is None else torch.from_numpy(np.flatnonzero(scene.there))
    values = torch.from_numpy(array)
    pixels, padded = (values[0, :0], values) if margin else (values.view(h * w, -1), None)
    return Inputs((h, w), pixels, padded, _single(reduction), there, array, len(mean))


class Moments(NamedTuple):
    """The number of spectra, their mean, covariance (as ``np.cov`` has it) and range."""

    count: int
    mean: np.ndarray
    covariance: np.ndarray
    low: np.ndarray
    high: np.ndarray


def moments(scene: Scene, only: np.ndarray | None = None) -> Moments:
    """Gather the moments of all pixels with data, or of ``only`` these flat indices, strip by strip."""
    wanted, count = np.ones(scene.labels.shape, bool) if scene.there is None else scene.there, 0
    if only is not None:
        wanted = np.isin(np.arange(wanted.size), only).reshape(wanted.shape)
    for top, bottom in scene.image.strips():
        x = scene.image.rows(top, bottom)[0][wanted[top:bottom]].astype(np.float64)
        if not len(x):
            continue
        if count == 0:  # sums of what is left lose no digits
            start, low, high, total, products = x.mean(0), x.min(0), x.max(0), 0.0, 0.0
        low, high = np.minimum(low, x.min(0)), np.maximum(high, x.max(0))
        x -= start
        count, total, products = count + len(x), total + x.sum(0), products + x.T @ x
    centre = total / count
    covariance = (products - count * np.outer(centre, centre)) / (count - 1)
    return Moments(count, start + centre, covariance, low, high)


def _on_disk(scene: Scene, channels: int, margin: int, change: Callable) -> np.memmap:
    """Write ``change`` of all spectra (N, B) -> (N, C), with a margin of zeros around: (H+2m, W+2m, C).

    The file has no name: it goes when nobody holds the array any more.
    """
    h, w = scene.labels.shape
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache_folder()) as file:
        file.truncate(4 * channels * (h + 2 * margin) * (w + 2 * margin))  # zeros
        file.seek(4 * channels * margin * (w + 2 * margin))
        for top, bottom in scene.image.strips():
            values = scene.image.rows(top, bottom)[0]
            there = np.ones(values.shape[:2], bool) if scene.there is None else scene.there[top:bottom]
            strip = np.zeros((bottom - top, w + 2 * margin, channels), np.float32)
            strip[:, margin : margin + w][there] = change(values[there])
            strip.tofile(file)
        return np.memmap(file, np.float32, "r+", shape=(h + 2 * margin, w + 2 * margin, channels))
