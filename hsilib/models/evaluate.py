"""Scores of every pixel of the scene, and what is computed from them."""

import math

import numpy as np
import torch
from torch import nn

from hsilib.data.inputs import KINDS, WINDOWED, Images, Inputs
from hsilib.data.splits import WINDOW
from hsilib.errors import HsiError
from hsilib.identity import Classical

STRIP = 128  # rows of the scene per pass of dense inference: bounds the memory
ROWS = 1 << 20  # pixels per pass of a classical model
SPECTRA, WINDOWS, IMAGES = 4096, 500, 100  # per pass of a network that has no dense form
LEAST = 30  # test pixels, below which a class counts as small


@torch.no_grad()
def scene_scores(model: nn.Module | Classical, inputs: Inputs | Images) -> np.ndarray:
    """Return the class scores (H*W, K) of every pixel; of one without values they are zero.

    Networks with ``dense`` run each convolution once over the padded scene.  That gives the same logits as
    cutting a patch per pixel, border included, for a small part of the work.

    >>> scene = load_scene("synthetic_urban_small")
    >>> inputs = make_inputs(scene, split_of(scene, "random"), "patches")
    >>> scene_scores(initialise(CNN2D(40, 9), seed=0), inputs).shape
    (3072, 9)
    """
    kind, padded = getattr(model, "kind", ""), getattr(inputs, "padded", None)
    if kind in KINDS and isinstance(inputs, Inputs) and (kind in WINDOWED) != (padded is not None):
        says = f"make_inputs(scene, split, {kind!r}) makes them"
        raise HsiError(f"{type(model).__name__} needs inputs of the kind {kind}, which these are not; {says}")
    out, network = None, isinstance(model, nn.Module)
    for where, scores in _parts(model.eval() if network else model, inputs, network):
        if out is None:
            out = np.zeros((math.prod(inputs.shape), scores.shape[1]), scores.dtype)
        out[where] = scores
        if inputs.disk is not None:
            inputs.release()
    return out


def _parts(model, inputs, network):
    """Give some pixels and their scores, strip by strip or batch by batch: memory is bounded."""
    if hasattr(model, "scene"):  # of all pixels together
        yield slice(None), model.scene(inputs)
    elif hasattr(model, "dense"):
        h, w = inputs.shape
        margin, rows = inputs.padded.shape[0] - h, h if getattr(model, "at_once", False) else STRIP
        for top in range(0, h, rows):
            image = inputs.padded[top : min(top + rows, h) + margin]  # (rows + 18, W + 18, C)
            scores = model.dense(image.permute(2, 0, 1)[None]).flatten(1).T
            yield slice(top * w, (top + rows) * w), scores.cpu().numpy()
    else:
        everywhere = torch.arange(math.prod(inputs.shape), device=inputs.pixels.device)
        index, window = everywhere if inputs.there is None else inputs.there, getattr(model, "window", WINDOW)
        most = IMAGES if isinstance(inputs, Images) else SPECTRA if inputs.padded is None else WINDOWS
        for part in index.split(most if network else ROWS):
            if network:
                scores = model(inputs.samples(part, window)).logits.cpu().numpy()
            else:
                scores = model.scores(inputs.pixels[part].cpu().numpy())
            yield part.cpu().numpy(), scores


@torch.no_grad()
def pixel_scores(
    model: nn.Module, inputs: Inputs | Images, index: torch.Tensor, batch: int = 500
) -> np.ndarray:
    """Return the same scores of the pixels ``index``, computed sample by sample.

    >>> scene = load_scene("synthetic_urban_small")
    >>> inputs = make_inputs(scene, split_of(scene, "random"), "bands")
    >>> pixel_scores(MLP(103, 9), inputs, torch.arange(5)).shape
    (5, 9)
    """
    model.eval()
    return torch.cat([model(inputs.samples(part)).logits for part in index.split(batch)]).cpu().numpy()


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of each true class (row) and predicted class (column), as (K, K).

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def metrics(scores: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Compute the accuracies of scores (N, K) in percent.

    Averages over classes leave out those without test pixels; AA30 leaves out those with fewer than 30, and
    is NaN where there is no other.

    >>> figures = metrics(np.eye(6)[[0, 0, 1, 2]], np.array([0, 0, 1, 1]))
    >>> list(figures), float(figures["oa"])
    (['oa', 'top5', 'aa', 'kappa', 'f1', 'aa30'], 75.0)
    """
    table = confusion(true, scores.argmax(1), scores.shape[1])
    mine = scores[np.arange(len(true)), true][:, None]
    above, equal = (scores > mine).sum(1), (scores == mine).sum(1)
    top5 = ((5 - above) / equal).clip(0, 1).mean()  # equal scores, as a forest gives, share the places left
    total, hits, rows, columns = table.sum(), np.diag(table), table.sum(1), table.sum(0)
    seen = rows > 0
    chance = (rows * columns).sum() / total**2
    kappa = (hits.sum() / total - chance) / (1 - chance) if chance < 1 else 1.0
    f1 = 2 * hits[seen] / (rows + columns)[seen]
    aa = (hits[seen] / rows[seen]).mean()
    shares = {"top5": 100 * top5, "aa": 100 * aa, "kappa": 100 * kappa, "f1": 100 * f1.mean()}
    large = rows >= LEAST
    aa30 = float(per_class(table)[large].mean()) if large.any() else np.nan
    return {"oa": 100 * table.trace() / total, **shares, "aa30": aa30}


def small(counts: np.ndarray) -> str:
    """Name the test pixels of each class with fewer than 30, from below: ``2 10 25``."""
    return " ".join(map(str, sorted(n for n in counts.tolist() if 0 < n < LEAST)))


def per_class(table: np.ndarray) -> np.ndarray:
    """Return the recall of each class in percent from a confusion matrix; NaN where nothing was tested.

    >>> per_class(np.array([[3, 1], [0, 2]])).tolist()
    [75.0, 100.0]
    """
    rows = table.sum(1)
    return np.where(rows > 0, 100 * np.diag(table) / np.maximum(rows, 1), np.nan)
