"""From a criterion to a method of pruning.

A criterion is one function ``kept(net, widths, task) -> {layer: indices of the channels that stay}``.
Registering it with ``criterion`` gives it the surgery, the fine-tuning, a row in the tables and a mark in the
plots.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from typing import Any

import torch

from hsilib.identity import Run
from hsilib.methods.prune.strategies import one_shot
from hsilib.methods.prune.surgery import LAYERS, cut, refresh_batch_norm
from hsilib.methods.registry import dense, method
from hsilib.models import evaluate
from hsilib.models.networks import WIDTHS

Kept = Callable[..., dict[str, torch.Tensor]]  # kept(net, widths, task) -> {layer: channels}


def criterion(
    name: str, title: str, *, strategy: Callable = one_shot, start: Callable[[Run], Run] = dense,
    family: str = "pruning", finetune: float = 1.0, rate: float = 1.0, **fields: Any
) -> Callable[[Kept], Kept]:
    """Register ``kept(net, widths, task)`` as a pruning method.

    net: the network to prune, the method's own copy, which it may train or rescale; widths: {layer: channels
    that are to stay}; start(run): the run whose trained network is pruned.  After every pass of the strategy
    the small network is fine-tuned for a share ``finetune`` of the recipe's epochs at a share ``rate`` of its
    rate; by default it is given what Scratch is given.  All other words are those of ``method``.

    >>> @criterion("first", "First channels")
    ... def first(net, widths, task):
    ...     return {layer: torch.arange(count) for layer, count in widths.items()}
    """

    def register(kept):
        @wraps(kept)
        def train(task):
            net = deepcopy(task.parent(start(task.run)))
            origin = [torch.arange(n) for n in net.config["widths"]]  # channel numbers in the dense network
            passes = []
            for goal in strategy(tuple(net.config["widths"]), WIDTHS[task.run.ratio]):
                keep = kept(net, dict(zip(LAYERS, goal)), task)
                net = cut(net, keep)
                origin = [numbers[keep[layer].cpu()] for layer, numbers in zip(LAYERS, origin)]
                passes.append({"widths": net.config["widths"], "cut": _accuracy(net, task)})
                passes[-1]["refreshed"] = _accuracy(refresh_batch_norm(deepcopy(net), task.data(net)), task)
                task.fit(net, task.options.finetune, task.options.rate)
                passes[-1]["tuned"] = _accuracy(net, task)
            task.notes |= {"kept": {k: v.tolist() for k, v in zip(LAYERS, origin)}, "passes": passes}
            return net

        settings = {"ratios": (90, 95, 98), "finetune": finetune, "rate": rate} | fields
        method(name, family, title, sees="patches", parents=lambda run: (start(run),), **settings)(train)
        return kept

    return register


def _accuracy(net, task):
    """Overall accuracy on the test pixels, in percent: to be shown, never to choose by."""
    scores = evaluate.scene_scores(net, task.inputs(net.kind))
    return round(float(evaluate.metrics(scores[task.split.test], task.split.test_y)["oa"]), 4)
