"""Network slimming: train with a penalty on the scales of batch norm, then drop the channels whose scale has vanished.

Liu, Li, Shen, Huang, Yan, Zhang, Learning Efficient Convolutional Networks through Network Slimming, ICCV 2017; methods C.5.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F

from hsilib.models import CNN2D
from hsilib.prune import criterion, strongest
from hsilib.prune.l1 import l1
from hsilib.registry import get, method

SPARSITY = 1.0  # chosen on the validation split


@method("cnn2d_sparse", "controls", "CNN2D, sparse scales", version=2, sparsity=SPARSITY)
def cnn2d_sparse(task):
    """The dense CNN2D, trained to minimise CE + s sum |gamma| over the scales gamma of its batch norms.

    The penalty takes the form of a proximal step after each step of Adam.  As a term of the loss its gradient would be divided
    by the running size of all gradients, and every scale would shrink alike, important or not.
    """
    net = task.network(CNN2D)
    for norm in (net.bn1, net.bn2):
        torch.nn.init.constant_(norm.weight, 0.5)

    @torch.no_grad()
    def shrink(model, rate):  # gamma <- sign(gamma) max(|gamma| - rate s, 0)
        for norm in (model.bn1, model.bn2):
            norm.weight.copy_(F.softshrink(norm.weight, rate * task.options.sparsity))

    task.fit(net, after_step=shrink)
    task.notes["scales"] = {layer: getattr(net, layer).weight.tolist() for layer in ("bn1", "bn2")}
    return net


def sparse(run):
    about = get("cnn2d_sparse").defaults(run.scene) | {"sparsity": dict(run.options)["sparsity"]}
    return replace(run, method="cnn2d_sparse", ratio=0, options=tuple(sorted(about.items())))


@criterion("slimming", "Network slimming", paper="Network Slimming", start=sparse, sparsity=SPARSITY)
def slimming(net, widths, task=None):
    """Keep the channels with the largest |gamma| of a network trained to have few; fc1, without batch norm, by L1-norm."""
    keep = l1(net, widths)
    for layer, norm in (("conv1", net.bn1), ("conv2", net.bn2)):
        keep[layer] = strongest(norm.weight.detach().abs(), widths[layer])
    return keep
