"""Large scenes: read by rows, twice, and kept on disk as the networks see them."""

import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hsilib.files import cache_folder

if TYPE_CHECKING:
    from hsilib.data.scenes import Scene


class Moments(NamedTuple):
    """The number of spectra, their mean, covariance (as ``np.cov`` has it) and range."""

    count: int
    mean: np.ndarray
    covariance: np.ndarray
    low: np.ndarray
    high: np.ndarray


def moments(scene: "Scene", only: np.ndarray | None = None) -> Moments:
    """Gather the moments of all pixels with data, or of ``only`` these flat indices, strip by strip."""
    wanted = np.ones(scene.labels.shape, bool) if scene.there is None else scene.there
    if only is not None:
        wanted = np.zeros_like(wanted)
        wanted.flat[only] = True
    count = 0
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


def on_disk(scene: "Scene", channels: int, margin: int, change: Callable) -> np.memmap:
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
