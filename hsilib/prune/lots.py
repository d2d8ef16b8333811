"""Channels drawn by lot: what a criterion has to be better than."""

import torch

from hsilib.prune.criterion import criterion
from hsilib.prune.surgery import LAYERS


@criterion("lots", "Drawn by lot", mark="light X", family="controls")
def lots(net, widths, task):
    """Keep channels drawn at random: the control of all criteria."""
    draw = torch.Generator().manual_seed(task.seed("lots"))
    return {
        layer: torch.randperm(len(getattr(net, layer).bias), generator=draw)[: widths[layer]].sort().values
        for layer in LAYERS
    }
