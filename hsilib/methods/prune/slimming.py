"""Network slimming: train with a penalty on the scales of batch norm, then drop channels of vanished scale.

Liu, Li, Shen, Huang, Yan, Zhang, Learning Efficient Convolutional Networks through Network Slimming, ICCV
2017; methods C.5.
"""

import torch

from hsilib.methods.prune.criterion import criterion
from hsilib.methods.prune.l1 import l1
from hsilib.methods.prune.surgery import strongest
from hsilib.methods.registry import dense, method
from hsilib.models.networks import CNN2D
from hsilib.models.train import cross_entropy

# s was chosen on the validation split, d set beforehand and not varied
PENALTY = dict(sparsity=0.03, decay=0.01)


@method("cnn2d_sparse", "controls", "CNN2D, sparse scales", mark="red s", sees="patches", **PENALTY)
def cnn2d_sparse(task):
    """Train the dense CNN2D with penalties on the scales of its batch norms (L1) and on its weights (L2)."""
    o = task.options
    net = task.network(CNN2D)
    for norm in (net.bn1, net.bn2):
        torch.nn.init.constant_(norm.weight, 0.5)

    # L = CE + s sum |gamma| + d/2 sum w^2; without d, growing weights make up for fading scales
    def loss(model, batch):
        scales = torch.cat([model.bn1.weight, model.bn2.weight]).abs().sum()
        layers = model.conv1, model.conv2, model.fc1, model.fc2
        weights = sum(layer.weight.square().sum() for layer in layers)
        return cross_entropy(model, batch) | {"sparsity": o.sparsity * scales, "decay": o.decay / 2 * weights}

    task.fit(net, loss=loss)
    task.notes["scales"] = {layer: getattr(net, layer).weight.tolist() for layer in ("bn1", "bn2")}
    return net


def sparse(run):
    """Return the run whose network is slimmed: the dense CNN2D with sparse scales."""
    return dense(run, "cnn2d_sparse", **{name: dict(run.options)[name] for name in PENALTY})


@criterion("slimming", "Network slimming", mark="green D", paper="Network Slimming", start=sparse, **PENALTY)
def slimming(net, widths, task=None):
    """Keep the channels with the largest |gamma| of a network trained to have few; fc1, without batch norm,
    by L1-norm."""
    keep = l1(net, widths)
    for layer, norm in (("conv1", net.bn1), ("conv2", net.bn2)):
        keep[layer] = strongest(norm.weight.detach().abs(), widths[layer])
    return keep
