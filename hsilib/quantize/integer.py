"""The integer network that every engine is compared with: batch norm folded, every layer in whole numbers."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.errors import HsiError
from hsilib.models.networks import CNN2D, NETWORKS, Outputs
from hsilib.quantize.arithmetic import Grid, affine, histogram, minmax, symmetric


def fold_batch_norm(net):
    """The same network without batch norm: W' = W gamma / sigma, b' = (b - mu) gamma / sigma + beta."""
    if type(net) is not CNN2D:
        raise HsiError(f"only networks of CNN2D's shape can be quantized, not {type(net).__name__}")
    if not net.config["batch_norm"]:
        return deepcopy(net)
    folded = CNN2D(**net.config | {"batch_norm": False}).to(net.fc1.weight.device)
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("bn")}
    for layer, norm in (("conv1", net.bn1), ("conv2", net.bn2)):
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        state[f"{layer}.weight"] = state[f"{layer}.weight"] * factor[:, None, None, None]
        state[f"{layer}.bias"] = (state[f"{layer}.bias"] - norm.running_mean) * factor + norm.bias
    folded.load_state_dict(state)
    return folded.eval()


class Int8Layer(nn.Module):
    """A convolution in whole numbers.  ``dynamic``: the grid of the input is that of each call, and the bias, whose grid
    would change with it, is added in 32 bits."""

    def __init__(self, shape, per_channel=True, dynamic=False):
        super().__init__()
        self.dynamic = dynamic
        self.weight = nn.Parameter(torch.zeros(shape, dtype=torch.int8), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(shape[0]), requires_grad=False)
        self.register_buffer("scale", torch.ones(shape[0] if per_channel else 1, 1, 1, 1))
        if not dynamic:
            self.register_buffer("in_scale", torch.ones(()))
            self.register_buffer("in_zero", torch.zeros(()))

    def grid(self, x):
        return affine(*minmax(x)) if self.dynamic else Grid(self.in_scale, self.in_zero)

    def forward(self, x, dilation=1):
        grid = self.grid(x)
        step = (grid.scale * self.scale).view(-1, 1, 1)
        q = (grid.quantize(x) - grid.zero).double()  # whole numbers; in 64 bits their sums are exact
        total, bias = F.conv2d(q, self.weight.double(), dilation=dilation), self.bias[:, None, None]
        if self.dynamic:
            return total.float() * step + bias
        return (total + torch.round(bias / step)).float() * step


LAYERS = ("conv1", "conv2", "fc1", "fc2")


class Int8CNN2D(nn.Module):
    """CNN2D in 8 bits, fully connected layers written as convolutions.  ``dynamic``: the convolutions stay in 32 bits and
    the other two layers find their input's range at each call; else all four are integer layers."""

    kind = "patches"

    def __init__(self, bands, classes, widths, dynamic=False):
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

    def maps(self, x):
        """(B, C, H+18, W+18) -> logits (B, K, H, W); see ``models.dense_head`` for the dilation."""
        f2 = F.relu(self.conv2(F.relu(self.conv1(x))))
        pooled = F.max_pool2d(f2[:, :, :-1, :-1], 2, stride=1)
        return self.fc2(F.relu(self.fc1(pooled, dilation=2)))

    def forward(self, x):
        return Outputs(self.maps(x)[:, :, 0, 0], {})

    def dense(self, image):
        return self.maps(image)[0]


NETWORKS["Int8CNN2D"] = Int8CNN2D


@torch.no_grad()
def convert(net, grids=None):
    """An Int8CNN2D from a network without batch norm and the grids of its four layers' inputs; dynamic without grids."""
    about = {k: net.config[k] for k in ("bands", "classes", "widths")}
    small = Int8CNN2D(**about, dynamic=grids is None)
    for number, name in enumerate(LAYERS):
        theirs, mine = getattr(net, name), getattr(small, name)
        weight = theirs.weight.detach().reshape(mine.weight.shape)
        mine.bias.copy_(theirs.bias)
        if isinstance(mine, Int8Layer):
            grid = symmetric(weight, per_channel=grids is not None)
            mine.scale.copy_(grid.scale.view(mine.scale.shape))
            weight = grid.quantize(weight).to(torch.int8)
            if grids is not None:
                mine.in_scale.copy_(grids[number].scale)
                mine.in_zero.copy_(grids[number].zero)
        mine.weight.copy_(weight)
    return small.eval()


@torch.no_grad()
def calibrate(net, x, observe=histogram):
    """Grids of the inputs of the four layers of a network without batch norm, from samples ``x``."""
    taps = net.eval()(x).taps
    return [affine(*observe(v)) for v in (x, taps["f1"], taps["p2"], taps["e"])]


def _seen(model, x):
    """{layer: (its input, its output)} on samples ``x``."""
    seen = {}
    layers = [getattr(model, name) for name in LAYERS]
    hooks = [
        layer.register_forward_hook(lambda layer, given, out: seen.update({layer: (given[0], out)}))
        for layer in layers
    ]
    model.eval()(x)
    for hook in hooks:
        hook.remove()
    return {name: seen[layer] for name, layer in zip(LAYERS, layers)}


@torch.no_grad()
def rounding(net, small, x, bins=64):
    """What 8 bits do to each layer, on samples ``x``: the range of its input and how its values are spread, and in decibels how
    far above their rounding errors its weights, its input, and what comes out of it in the integer network lie.
    """
    exact, rounded, found = _seen(net, x), _seen(small, x), {}
    for name in LAYERS:
        layer, weight, into = getattr(small, name), getattr(net, name).weight, exact[name][0]
        grid, low, high = layer.grid(into), float(into.min()), float(into.max())
        found[name] = {
            "observed": [low, high],
            "kept": [float(grid.dequantize(torch.tensor(float(end)))) for end in (grid.low, grid.high)],
            "counts": [int(count) for count in torch.histc(into, bins, low, high)],
            "weight_db": _decibels(weight, layer.weight * layer.scale),
            "input_db": _decibels(into, grid.dequantize(grid.quantize(into))),
            "output_db": _decibels(exact[name][1], rounded[name][1]),
        }
    return found


def _decibels(exact, rounded):
    error = exact.flatten() - rounded.flatten()
    return round(10 * float(torch.log10(exact.square().sum() / error.square().sum())), 2)
