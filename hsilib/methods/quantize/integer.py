"""The integer network that every engine is compared with: batch norm folded, every layer in whole numbers."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.errors import HsiError
from hsilib.methods.quantize.arithmetic import Grid, Observer, affine, histogram, minmax, symmetric
from hsilib.models.networks import CNN2D, NETWORKS, Outputs


def absorbed(
    weight: torch.Tensor, bias: torch.Tensor | None, norm: nn.Module
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of a layer that does what the layer and the batch norm behind it do.

    W' = W gamma / sigma, b' = (b - mu) gamma / sigma + beta
    """
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = torch.zeros_like(factor) if bias is None else bias
    return weight * factor.view(-1, *[1] * (weight.ndim - 1)), (bias - norm.running_mean) * factor + norm.bias


def fold_batch_norm(net: CNN2D) -> CNN2D:
    """Build a network without batch norm, which is what ``calibrate`` and ``convert`` take.

    >>> folded = fold_batch_norm(CNN2D(40, 16).eval())
    """
    if type(net) is not CNN2D:
        raise HsiError(f"only networks of CNN2D's shape can be quantized, not {type(net).__name__}")
    folded, state = CNN2D(**net.config | {"batch_norm": False}).to(net.fc1.weight.device), net.state_dict()
    for layer, norm in (("conv1", net.bn1), ("conv2", net.bn2)) if net.config["batch_norm"] else ():
        weight, bias = (f"{layer}.{part}" for part in ("weight", "bias"))
        state[weight], state[bias] = absorbed(state[weight], state[bias], norm)
    folded.load_state_dict(state, strict=False)  # without batch norm
    return folded.eval()


class Int8Layer(nn.Module):
    """A convolution or a linear layer in whole numbers.

    ``dynamic``: the grid of the input is that of each call, and the bias, whose grid would change with it, is
    added in 32 bits.  ``bits``: those of a weight; ``how``: stride and the like of a convolution.
    """

    def __init__(
        self, shape: Sequence[int], per_channel: bool = True, dynamic: bool = False, bits: int = 7, **how: Any
    ) -> None:
        super().__init__()
        self.dynamic, self.bits, self.how = dynamic, bits, how
        self.weight = nn.Parameter(torch.zeros(shape, dtype=torch.int8), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(shape[0]), requires_grad=False)
        self.register_buffer("scale", torch.ones(shape[0] if per_channel else 1, *[1] * (len(shape) - 1)))
        if not dynamic:
            self.register_buffer("in_scale", torch.ones(()))
            self.register_buffer("in_zero", torch.zeros(()))

    def grid(self, x: torch.Tensor | None) -> Grid:
        """Return the grid of the input; only a dynamic layer looks at ``x``."""
        return affine(*minmax(x)) if self.dynamic else Grid(self.in_scale, self.in_zero)

    def forward(self, x: torch.Tensor, dilation: int | None = None) -> torch.Tensor:
        grid, ones = self.grid(x), [1] * (self.weight.ndim - 2)
        step, bias = (v.view(-1, *ones) for v in (grid.scale * self.scale, self.bias))
        q = (grid.quantize(x) - grid.zero).double()  # whole numbers; in 64 bits their sums are exact
        apply = (F.linear, F.conv1d, F.conv2d)[len(ones)]
        total = apply(q, self.weight.double(), **self.how | ({"dilation": dilation} if dilation else {}))
        if self.dynamic:
            return total.float() * step + bias
        return (total + torch.round(bias / step)).float() * step


LAYERS = ("conv1", "conv2", "fc1", "fc2")


class Int8CNN2D(nn.Module):
    """CNN2D in 8 bits, its fully connected layers written as convolutions.

    ``dynamic``: the convolutions stay in 32 bits and the other two layers find their input's range at each
    call; else all four are integer layers.
    """

    kind = "patches"

    def __init__(self, bands: int, classes: int, widths: Sequence[int], dynamic: bool = False) -> None:
        super().__init__()
        self.at_once = dynamic  # a scene is one call
        self.config = dict(bands=bands, classes=classes, widths=list(widths), dynamic=dynamic)
        c1, c2, f1 = widths
        shapes = ((c1, bands, 5, 5), (c2, c1, 5, 5), (f1, c2, 5, 5), (classes, f1, 1, 1))
        for name, shape in zip(LAYERS, shapes):
            if dynamic and name.startswith("conv"):
                setattr(self, name, nn.Conv2d(shape[1], shape[0], 5).requires_grad_(False))
            else:
                setattr(self, name, Int8Layer(shape, per_channel=not dynamic, dynamic=dynamic))

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H+18, W+18) -> logits (B, K, H, W); see ``dense_head`` of the networks for the dilation."""
        f2 = F.relu(self.conv2(F.relu(self.conv1(x))))
        pooled = F.max_pool2d(f2[:, :, :-1, :-1], 2, stride=1)
        return self.fc2(F.relu(self.fc1(pooled, dilation=2)))

    def forward(self, x: torch.Tensor) -> Outputs:
        return Outputs(self.maps(x)[:, :, 0, 0], {})

    def dense(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits (K, H, W) of every pixel of the padded image (1, C, H+18, W+18)."""
        return self.maps(image)[0]


NETWORKS["Int8CNN2D"] = Int8CNN2D


@torch.no_grad()
def take(layer: nn.Module, weight: torch.Tensor, bias: torch.Tensor, bits: int, grid: Grid | None) -> None:
    """Give a layer its weights in whole numbers, its bias, and the grid of its input."""
    own = symmetric(weight, len(layer.scale) == len(weight), bits)
    layer.scale.copy_(own.scale.view(layer.scale.shape))
    layer.weight.copy_(own.quantize(weight).to(torch.int8))
    layer.bias.copy_(bias)
    if grid:
        layer.in_scale.copy_(grid.scale)
        layer.in_zero.copy_(grid.zero)


@torch.no_grad()
def convert(net: CNN2D, grids: Sequence[Grid] | None = None) -> Int8CNN2D:
    """Build the integer network from a network without batch norm and the grids of its four layers' inputs.

    Without grids it is the dynamic form.

    >>> plain = fold_batch_norm(net)
    >>> static, dynamic = convert(plain, calibrate(plain, x)), convert(plain)
    """
    small = Int8CNN2D(**{k: net.config[k] for k in ("bands", "classes", "widths")}, dynamic=grids is None)
    for name, grid in zip(LAYERS, grids or [None] * 4):
        theirs, mine = getattr(net, name), getattr(small, name)
        weight = theirs.weight.detach().reshape(mine.weight.shape)
        if isinstance(mine, Int8Layer):
            take(mine, weight, theirs.bias, mine.bits, grid)
        else:
            mine.load_state_dict({"weight": weight, "bias": theirs.bias})
    return small.eval()


@torch.no_grad()
def calibrate(net: CNN2D, x: torch.Tensor, observe: Observer = histogram) -> list[Grid]:
    """Find the grids of the inputs of the four layers of a network without batch norm, from samples ``x``.

    >>> grids = calibrate(fold_batch_norm(net), x)
    """
    taps = net.eval()(x).taps
    return [affine(*observe(v)) for v in (x, taps["f1"], taps["p2"], taps["e"])]
