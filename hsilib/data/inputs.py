"""What a network sees: spectra or PCA patches, standardised over the scene, gathered without copying the scene.

Order of the reference code (methods A.2): PCA on all pixels, mean-centred only, then every component to zero mean and
unit variance over all pixels, then zero padding.  No label is used; spectra of test pixels are.  ``fit="train"``
estimates mean, components and scale on the training pixels only.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from hsilib.data.splits import WINDOW
from hsilib.errors import HsiError, known

MARGIN = WINDOW // 2


@dataclass(frozen=True)
class Inputs:
    """``pixels`` (H*W, C) for spectral models; ``padded`` (H+18, W+18, C) as well for patch models."""

    shape: tuple[int, int]
    pixels: torch.Tensor
    padded: torch.Tensor | None
    reduction: tuple | None = (
        None  # (mean, weight, shift) with which (spectrum - mean) @ weight + shift gives ``pixels``
    )
    turns = 1  # positions in which a sample is trained on

    @property
    def at_once(self):
        """Samples of one pass outside training: bounds the memory."""
        return 4096 if self.padded is None else 500

    def samples(self, index):
        """What a network is given of the pixels ``index``: spectra (B, C), or windows (B, C, 19, 19), channels last in
        memory and gathered from the scene on demand."""
        if self.padded is None:
            return self.pixels[index]
        h, w = self.shape
        wide = w + 2 * MARGIN
        corner = torch.div(index, w, rounding_mode="floor") * wide + index % w
        steps = torch.arange(WINDOW, device=index.device)
        window = (steps[:, None] * wide + steps).flatten()
        flat = self.padded.view(-1, self.padded.shape[-1])
        picked = flat[corner[:, None] + window]
        return picked.view(len(index), WINDOW, WINDOW, -1).permute(0, 3, 1, 2)

    def to(self, device):
        return replace(
            self, pixels=self.pixels.to(device),
            padded=None if self.padded is None else self.padded.to(device)
        )


def turned(x, element):
    """Patches (B, C, S, S) under one of the eight symmetries of the square; 0 leaves them as they are."""
    x = torch.rot90(x, element % 4, (2, 3))
    return x.flip(3) if element >= 4 else x


@dataclass(frozen=True)
class Images:
    """``pixels`` (N, 3, S, S) bytes.  Every image stands there in eight positions, the symmetries of the square: number
    ``t * N + i`` is image ``i`` in position ``t``, so that what is known of an image (a teacher's answer) is known of each."""

    pixels: torch.Tensor
    turns = 8
    at_once = 100

    def samples(self, index):
        """(B, 3, S, S) between -1 and 1, channels last in memory."""
        count = len(self.pixels)
        x = self.pixels[index % count].float() / 127.5 - 1
        for turn in range(1, self.turns):
            rows = index // count == turn
            if rows.any():
                x[rows] = turned(x[rows], turn)
        return x.contiguous(memory_format=torch.channels_last)

    def to(self, device):
        return Images(self.pixels.to(device))


def pca(cube, components, basis):
    """Scores (N, c) of all pixels, mean and components.  Exact: eigenvectors of the covariance, largest loading made positive.

    ``basis`` are the rows that define mean and components.
    """
    mean = basis.mean(0)
    _, vectors = np.linalg.eigh(np.cov(basis - mean, rowvar=False))
    vectors = vectors[:, ::-1][:, :components]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
    return (cube - mean) @ vectors, mean, vectors


def make_inputs(scene, split, kind, components=40, fit="scene"):
    """``kind``: ``bands`` (standardised), ``minmax`` (0 to 1), ``patches`` (PCA, standardised, padded)."""
    h, w, bands = scene.cube.shape
    known("pca_fit", fit, ("scene", "train"))
    if kind == "patches" and not 1 <= components <= bands:
        raise HsiError(f"components must lie between 1 and the scene's {bands} bands, not {components}")
    pixels = scene.cube.reshape(-1, bands).astype(np.float64)
    rows = split.train if fit == "train" else slice(None)
    if kind == "patches":
        pixels, mean, vectors = pca(pixels, components, pixels[rows])
    if kind == "minmax":
        low, high = pixels[rows].min(0), pixels[rows].max(0)
        pixels = (pixels - low) / np.where(high > low, high - low, 1)
    else:
        spread = pixels[rows].std(0)  # a constant band, or a component of rounding errors, becomes zero
        spread, centre = np.where(spread > 1e-7 * spread.max(), spread, 1), pixels[rows].mean(0)
        pixels = (pixels - centre) / spread
    pixels = torch.from_numpy(pixels.astype(np.float32))
    padded = reduction = None
    if kind == "patches":
        reduction = tuple(a.astype(np.float32) for a in (mean, vectors / spread, -centre / spread))
        image = pixels.view(h, w, -1)
        padded = torch.nn.functional.pad(image, (0, 0, MARGIN, MARGIN, MARGIN, MARGIN)).contiguous()
    return Inputs((h, w), pixels, padded, reduction)
