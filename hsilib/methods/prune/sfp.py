"""Soft filter pruning: zero the weakest filters after every epoch, let them grow again, cut at the end.

He, Kang, Dong, Fu, Yang, Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks, IJCAI 2018;
methods C.6.
"""

import torch
import torch.nn.functional as F

from hsilib.methods.prune.criterion import criterion
from hsilib.methods.prune.surgery import LAYERS, columns, strongest


def norms(net):
    """Return {layer: ||W_j||_2 of each filter or row}."""
    return {layer: getattr(net, layer).weight.detach().flatten(1).norm(dim=1) for layer in LAYERS}


@torch.no_grad()
def zero_weakest(net, widths):
    """Zero the weights of all but the ``widths`` strongest filters, and return those that stay."""
    keep = {layer: strongest(norm, widths[layer]) for layer, norm in norms(net).items()}
    for layer in LAYERS:
        weight = getattr(net, layer).weight
        stays = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
        stays[keep[layer]] = True
        weight[~stays] = 0
    return keep


@torch.no_grad()
def fold_constants(net, keep):
    """Move the constant that a filter of zeros still sends on, through its own bias and batch norm, into the
    next layer's bias: exactly so, since no convolution pads its input."""
    sizes = {layer: len(getattr(net, layer).bias) for layer in LAYERS}
    gone = {layer: [c for c in range(sizes[layer]) if c not in keep[layer].tolist()] for layer in LAYERS}
    net.eval()
    one = F.relu(net.bn1(net.conv1.bias[None, :, None, None]))[0, gone["conv1"], 0, 0]
    net.conv2.bias += net.conv2.weight[:, gone["conv1"]].sum((2, 3)) @ one
    two = F.relu(net.bn2(net.conv2.bias[None, :, None, None]))[0, gone["conv2"], 0, 0]
    cells = net.fc1.weight[:, columns(torch.tensor(gone["conv2"]))].unflatten(1, (-1, 25))
    net.fc1.bias += cells.sum(2) @ two
    three = F.relu(net.fc1.bias)[gone["fc1"]]
    net.fc2.bias += net.fc2.weight[:, gone["fc1"]] @ three


@criterion("sfp", "Soft filter pruning", mark="pink P", paper="SFP", soft=1 / 3)
def sfp(net, widths, task):
    """Zero the filters of least L2 norm before and after each epoch of further training, in which all may
    grow again; the training takes a share ``soft`` of the recipe's epochs, at its full rate."""
    start, keep = zero_weakest(net, widths), {}
    task.fit(net, task.options.soft, after_epoch=lambda model, _: keep.update(zero_weakest(model, widths)))
    regrown = {layer: set(keep[layer].tolist()) - set(start[layer].tolist()) for layer in LAYERS}
    task.notes["regrown"] = {layer: len(filters) for layer, filters in regrown.items()}
    fold_constants(net, keep)
    return keep
