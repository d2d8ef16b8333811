"""Training with roundings in place: the network as it will be after conversion."""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.methods.quantize.arithmetic import MovingRange, affine, fake_quantize, symmetric
from hsilib.methods.quantize.integer import LAYERS, Int8CNN2D, convert, fold_batch_norm
from hsilib.models.networks import CNN2D, Outputs


class QAT(nn.Module):
    """CNN2D as it will be after conversion.

    Weights and activations are fake-quantized.  Batch norm is folded into the weights that are quantized and,
    while its statistics are still learnt, undone behind them.
    """

    kind = "patches"

    def __init__(self, net: CNN2D) -> None:
        super().__init__()
        self.net = net
        self.ranges = nn.ModuleList(MovingRange() for _ in LAYERS)

    def forward(self, x: torch.Tensor) -> Outputs:
        net = self.net
        for number, (conv, norm) in enumerate(((net.conv1, net.bn1), (net.conv2, net.bn2))):
            x = fake_quantize(x, self.ranges[number](x))
            if isinstance(norm, nn.Identity):
                weight = fake_quantize(conv.weight, symmetric(conv.weight))
                x = F.relu(conv._conv_forward(x, weight, conv.bias))
                continue
            factor = (norm.weight / torch.sqrt(norm.running_var + norm.eps))[:, None, None]
            factor = torch.where(factor.abs() < 1e-4, 1e-4, factor)
            folded = conv.weight * factor[..., None]
            x = F.conv2d(x, fake_quantize(folded, symmetric(folded))) / factor + conv.bias[:, None, None]
            x = F.relu(norm(x))
        x = torch.flatten(F.max_pool2d(x, 2), 1)
        for number, layer in ((2, net.fc1), (3, net.fc2)):
            x = fake_quantize(x, self.ranges[number](x))
            x = F.linear(x, fake_quantize(layer.weight, symmetric(layer.weight)), layer.bias)
            x = F.relu(x) if layer is net.fc1 else x
        return Outputs(x, {})

    def freeze(self, done: float) -> None:
        """Hold the statistics of batch norm after half of the training, the ranges after 70 %."""
        if done >= 0.5:
            self.net.bn1.eval(), self.net.bn2.eval()
        for observer in self.ranges:
            observer.frozen = done >= 0.7

    def convert(self) -> Int8CNN2D:
        """Return the static form of what was learnt."""
        grids = [affine(*observer.range) for observer in self.ranges]
        return convert(fold_batch_norm(self.net.eval()), grids)
