"""Trained networks whose answers are averaged: what the teachers of a taught network know together.

Hansen, Salamon, Neural network ensembles, TPAMI 1990; methods J.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.errors import HsiError
from hsilib.methods.compact.compact import RECIPE
from hsilib.methods.compact.taught import teachers
from hsilib.methods.registry import method
from hsilib.models.networks import NETWORKS, Outputs, stored


@stored
class Together(nn.Module):
    """Networks of windows; the score of a class is the log of the mean of their softmax."""

    kind = "windows"

    def __init__(self, nets):
        super().__init__()
        self.config = dict(nets=[list(one) for one in nets])
        self.nets = nn.ModuleList(NETWORKS[name](**config) for name, config in nets)

    def forward(self, x):
        return Outputs(mean([net(x).logits for net in self.nets], 1), {})

    def dense(self, image):
        return mean([net.dense(image) for net in self.nets], 0)


def mean(logits, axis):
    """log 1/T sum_k softmax(z_k)"""
    return torch.stack([F.softmax(z, axis) for z in logits]).mean(0).log()


@method(
    "ensemble", "compact", "Three Lens 20 kB, averaged", mark="slate s", sees="patches", parents=teachers,
    recipe=RECIPE, by="3*lens_20k",
)
def ensemble(task):
    """The networks that ``by`` names are trained alone, each from its own start; their answers are
    averaged."""
    nets = [task.parent(run) for run in teachers(task.run)]
    if not all(getattr(net, "kind", "") == "windows" and hasattr(net, "dense") for net in nets):
        raise HsiError(f"`by` names networks of windows, such as 3*lens_20k, not {task.options.by!r}")
    made = Together([(type(net).__name__, net.config) for net in nets]).to(task.device)
    for mine, net in zip(made.nets, nets):
        mine.load_state_dict(net.state_dict())
    return made.eval()
