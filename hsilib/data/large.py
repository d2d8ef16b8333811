"""Large scenes: read by rows, twice, and kept on disk as the networks see them."""

import mmap
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hsilib.files import cache_folder

if TYPE_CHECKING:
    from hsilib.data.scenes import Scene


class Moments:
    """The mean, covariance and range of spectra, gathered strip by strip."""

    def __init__(self) -> None:
        self.count, self.start = 0, None

    def add(self, spectra: np.ndarray) -> None:
        """Take some more spectra (N, B)."""
        if not len(spectra):
            return
        x = spectra.astype(np.float64)
        if self.start is None:  # sums of what is left lose no digits
            self.start = x.mean(0)
            self.low, self.high = x.min(0), x.max(0)
            self.sum, self.products = np.zeros_like(self.start), np.zeros((x.shape[1], x.shape[1]))
        self.low, self.high = np.minimum(self.low, x.min(0)), np.maximum(self.high, x.max(0))
        x -= self.start
        self.count += len(x)
        self.sum += x.sum(0)
        self.products += x.T @ x

    @property
    def mean(self) -> np.ndarray:
        return self.start + self.sum / self.count

    @property
    def covariance(self) -> np.ndarray:
        """As ``np.cov`` has it, over one less than the count."""
        centre = self.sum / self.count
        return (self.products - self.count * np.outer(centre, centre)) / (self.count - 1)


def moments(scene: "Scene", only: np.ndarray | None = None) -> Moments:
    """Gather the moments of all pixels with data, or of ``only`` these flat indices."""
    wanted = np.ones(scene.labels.shape, bool) if scene.there is None else scene.there
    if only is not None:
        wanted = np.zeros_like(wanted)
        wanted.flat[only] = True
    found = Moments()
    for top, bottom in scene.image.strips():
        found.add(scene.image.rows(top, bottom)[0][wanted[top:bottom]])
    return found


def on_disk(scene: "Scene", channels: int, margin: int, change: Callable) -> np.memmap:
    """Write ``change`` of all spectra (N, B) -> (N, C), with a margin of zeros around: (H+2m, W+2m, C).

    The file has no name: it goes when nobody holds the array any more.
    """
    h, w = scene.labels.shape
    cache_folder().mkdir(parents=True, exist_ok=True)
    wide = w + 2 * margin
    with tempfile.TemporaryFile(dir=cache_folder()) as file:
        np.zeros((margin, wide, channels), np.float32).tofile(file)
        for top, bottom in scene.image.strips():
            values = scene.image.rows(top, bottom)[0]
            there = np.ones(values.shape[:2], bool) if scene.there is None else scene.there[top:bottom]
            strip = np.zeros((bottom - top, wide, channels), np.float32)
            strip[:, margin : margin + w][there] = change(values[there])
            strip.tofile(file)
        np.zeros((margin, wide, channels), np.float32).tofile(file)
        return np.memmap(file, np.float32, "r+", shape=(h + 2 * margin, wide, channels))


def release(array: np.memmap | None) -> None:
    """Let go of what was read of an array on disk: it counts as memory until somebody needs that."""
    if array is not None and hasattr(mmap, "MADV_DONTNEED"):
        array._mmap.madvise(mmap.MADV_DONTNEED)
