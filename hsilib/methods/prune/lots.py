"""Channels drawn at random: what a criterion has to be better than."""

import torch

from hsilib.methods.prune.criterion import criterion
from hsilib.methods.prune.surgery import LAYERS


@criterion("lots", "Random channels", mark="light X", family="controls")
def lots(net, widths, task):
    """Keep channels drawn at random: the control of all criteria."""
    draw = torch.Generator().manual_seed(task.seed("lots"))
    order = {layer: torch.randperm(len(getattr(net, layer).bias), generator=draw) for layer in LAYERS}
    return {layer: order[layer][: widths[layer]].sort().values for layer in LAYERS}
