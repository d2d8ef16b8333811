"""Scores of every pixel of the scene, and what is computed from them."""

import numpy as np
import torch

STRIP = 128  # rows of the scene per pass of dense inference: bounds the memory


@torch.no_grad()
def scene_scores(model, inputs):
    """Class scores (H*W, K) of every pixel.

    Networks with ``dense`` run each convolution once over the padded scene, which gives the same logits as cutting a
    patch per pixel (border included) for a small part of the work.
    """
    if not isinstance(model, torch.nn.Module):
        return model.scores(inputs.pixels.cpu().numpy())
    model.eval()
    if hasattr(model, "dense"):
        h, margin = inputs.shape[0], inputs.padded.shape[0] - inputs.shape[0]
        strips, rows = [], h if getattr(model, "at_once", False) else STRIP
        for top in range(0, h, rows):
            image = inputs.padded[top : min(top + rows, h) + margin]  # (rows + 18, W + 18, C)
            strips.append(model.dense(image.permute(2, 0, 1)[None]).flatten(1).T)
        return torch.cat(strips).cpu().numpy()
    every = torch.arange(len(inputs.pixels), device=inputs.pixels.device)
    return pixel_scores(model, inputs, every, inputs.at_once)


@torch.no_grad()
def pixel_scores(model, inputs, index, batch=500):
    """The same scores for the pixels ``index``, sample by sample: for patch models the reference of the dense form."""
    model.eval()
    return torch.cat([model(inputs.samples(part)).logits for part in index.split(batch)]).cpu().numpy()


def confusion(true, predicted, classes):
    """(K, K) counts, rows = true class."""
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def metrics(scores, true):
    """Percentages over the test pixels; averages run over the classes that have test pixels."""
    table = confusion(true, scores.argmax(1), scores.shape[1])
    mine = scores[np.arange(len(true)), true][:, None]
    above, equal = (scores > mine).sum(1), (scores == mine).sum(1)
    top5 = ((5 - above) / equal).clip(0, 1).mean()  # equal scores, as a forest gives, share the places left
    total, hits = table.sum(), np.diag(table)
    rows, columns = table.sum(1), table.sum(0)
    seen = rows > 0
    chance = (rows * columns).sum() / total**2
    kappa = (hits.sum() / total - chance) / (1 - chance) if chance < 1 else 1.0
    f1 = 2 * hits[seen] / (rows + columns)[seen]
    aa = (hits[seen] / rows[seen]).mean()
    return {
        "oa": 100 * table.trace() / total, "top5": 100 * top5, "aa": 100 * aa, "kappa": 100 * kappa,
        "f1": 100 * f1.mean()
    }


def per_class(table):
    """Recall per class in percent, NaN for a class without test pixels."""
    rows = table.sum(1)
    return np.where(rows > 0, 100 * np.diag(table) / np.maximum(rows, 1), np.nan)
