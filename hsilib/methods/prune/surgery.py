"""From channel sets to a genuinely smaller network (methods C.1)."""

import torch

from hsilib.models.measure import BATCH_NORMS
from hsilib.models.networks import CNN2D

LAYERS = ("conv1", "conv2", "fc1")  # what is pruned; fc2 keeps its outputs, conv1 its inputs
CELLS = 25  # columns of fc1 per filter of conv2: the 5 x 5 cells of the pooled map


def strongest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Return the indices of the ``count`` largest scores, ascending.

    >>> strongest(torch.tensor([0.1, 3.0, 2.0]), 2).tolist()
    [1, 2]
    """
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def columns(filters):
    """Return the inputs of fc1 that come from these filters of conv2."""
    return (CELLS * filters[:, None] + torch.arange(CELLS, device=filters.device)).flatten()


def cut(net, keep):
    """Build the network of the channels ``keep`` {layer: indices}; it is ``net`` with the others silenced."""
    out = keep | {"bn1": keep["conv1"], "bn2": keep["conv2"]}
    into = {"conv2": keep["conv1"], "fc1": columns(keep["conv2"]), "fc2": keep["fc1"]}
    state = {}
    for name, value in net.state_dict().items():
        layer, _, part = name.rpartition(".")
        if layer in out and value.ndim:  # the batch counter of batch norm has no channels
            value = value[out[layer]]
        if layer in into and part == "weight":
            value = value[:, into[layer]]
        state[name] = value
    small = CNN2D(**net.config | {"widths": [len(keep[layer]) for layer in LAYERS]})
    small.load_state_dict(state)
    return small.to(state["fc2.bias"].device).eval()


@torch.no_grad()
def refresh_batch_norm(net, data):
    """Estimate anew, on the training pixels, the running statistics: they still describe the wide network."""
    norms = [m for m in net.modules() if isinstance(m, BATCH_NORMS)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    net.train()
    for index in torch.arange(len(data.y), device=data.y.device).split(500):
        net(data.x(index))
    for norm in norms:
        norm.momentum = 0.1
    return net.eval()
