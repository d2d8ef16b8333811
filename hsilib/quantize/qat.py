"""Training with roundings in place: the network as it will be after conversion."""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.models.networks import Outputs
from hsilib.quantize.arithmetic import MovingRange, affine, fake_quantize, symmetric
from hsilib.quantize.integer import LAYERS, convert, fold_batch_norm


class QAT(nn.Module):
    """CNN2D as it will be after conversion: weights and activations fake-quantized, batch norm folded into the weights that
    are quantized and, while its statistics are still learnt, undone behind them."""

    kind = "patches"

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.ranges = nn.ModuleList(MovingRange() for _ in LAYERS)

    def forward(self, x):
        net = self.net
        for number in (0, 1):
            conv, norm = ((net.conv1, net.bn1), (net.conv2, net.bn2))[number]
            x = fake_quantize(x, self.ranges[number](x))
            if isinstance(norm, nn.Identity):
                x = F.relu(
                    conv._conv_forward(x, fake_quantize(conv.weight, symmetric(conv.weight)), conv.bias)
                )
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

    def freeze(self, done):
        """Statistics of batch norm stand still after half of the training, ranges of activations after 70 %."""
        if done >= 0.5:
            self.net.bn1.eval(), self.net.bn2.eval()
        for observer in self.ranges:
            observer.frozen = done >= 0.7

    def convert(self):
        return convert(
            fold_batch_norm(self.net.eval()), [affine(*observer.range) for observer in self.ranges]
        )
