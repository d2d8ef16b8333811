"""Training with roundings in place: a network as it will be after conversion."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.methods.quantize.arithmetic import MovingRange, affine, fake_quantize, symmetric
from hsilib.methods.quantize.integer import LAYERS, Int8CNN2D, convert, fold_batch_norm
from hsilib.methods.quantize.layers import FIRST_BITS, Int8Net, fold, how, plan_of, put, whole
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


class Rounding(nn.Module):
    """A layer as it will be after conversion: weights and input are rounded, and training goes on."""

    def __init__(self, layer: nn.Module, bits: int, spread: torch.Tensor | None) -> None:
        super().__init__()
        self.layer, self.bits = layer, bits if spread is None else FIRST_BITS
        self.register_buffer("spread", spread)
        self.range = MovingRange() if spread is None else None

    def forward(self, x: torch.Tensor, dilation: int | None = None) -> torch.Tensor:
        layer, spread = self.layer, 1 if self.spread is None else self.spread
        if self.range is not None:
            x = fake_quantize(x, self.range(x))
        weight = layer.weight / spread
        weight = fake_quantize(weight, symmetric(weight, bits=self.bits)) * spread
        apply = (F.linear, F.conv1d, F.conv2d)[weight.ndim - 2]
        return apply(x, weight, layer.bias, **how(layer) | ({"dilation": dilation} if dilation else {}))


class Aware(nn.Module):
    """A network that trains with all roundings in place; batch norm is folded before."""

    def __init__(self, net: nn.Module, x: torch.Tensor, reduction: tuple, bits: int = 7) -> None:
        super().__init__()
        self.kind, self.origin, self.reduction, self.bits = net.kind, [net], reduction, bits
        self.plan = plan_of(net, x)
        self.net = fold(net, self.plan)
        for name in self.plan.layers:
            layer = self.net.get_submodule(name).requires_grad_(True)
            spread = None
            if name == self.plan.first:
                spread = torch.from_numpy(reduction[1]).view(-1, *[1] * (layer.weight.ndim - 2))
            put(self.net, name, Rounding(layer, bits, spread))

    def forward(self, x: torch.Tensor) -> Outputs:
        return self.net(x)

    def freeze(self, done: float) -> None:
        """Hold the ranges after 70 % of the training."""
        for module in self.modules():
            if isinstance(module, MovingRange):
                module.frozen = done >= 0.7

    def convert(self) -> Int8Net:
        """Return the static form of what was learnt."""
        folded, grids = deepcopy(self.net), {}
        for name in self.plan.layers:
            rounding = folded.get_submodule(name)
            if rounding.range is not None:
                grids[name] = affine(*rounding.range.range)
            put(folded, name, rounding.layer)
        return whole(self.origin[0], self.plan, folded, grids, self.reduction, self.bits)
