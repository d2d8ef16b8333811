"""Eight-bit arithmetic in plain tensors: grids, observers, batch norm folded, fake quantization, and the integer network
that every engine is compared with.

Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018;
methods D.  Equation numbers are the paper's.
"""

from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.errors import HsiError, known
from hsilib.models import CNN2D, NETWORKS, Outputs
from hsilib.registry import dense, get, method

BYTE = (0, 255)  # activations
SEVEN_BITS = (-64, 63)  # weights: two products then fit 16 bits together, which is all that CPUs without VNNI add them in
EPS = torch.finfo(torch.float32).eps


class Grid(NamedTuple):
    """The values an 8-bit number stands for; scale and zero broadcast against what is quantized."""

    scale: torch.Tensor
    zero: torch.Tensor
    low: int = BYTE[0]
    high: int = BYTE[1]

    def quantize(self, x):  # (1) q = clamp(round(x / S) + Z, q_min, q_max), half to even
        return (torch.round(x / self.scale) + self.zero).clamp(self.low, self.high)

    def dequantize(self, q):  # (3) x' = S (q - Z)
        return self.scale * (q - self.zero)


def affine(low, high, levels=BYTE):
    """The grid over [low, high], which is first made to contain zero, so that zero padding is exact."""
    low, high = (torch.as_tensor(v, dtype=torch.float32) for v in (low, high))
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / (levels[1] - levels[0])).clamp(min=EPS)  # (2) S = (x_max - x_min) / (2^b - 1)
    zero = (levels[0] - torch.round(low / scale)).clamp(*levels)  # (2) Z = q_min - round(x_min / S)
    return Grid(scale, zero, *levels)


def symmetric(weight, per_channel=True):
    """The grid of a weight tensor, zero at 0: one scale for each output channel, or one for all."""
    size = weight.detach().abs()
    bound = size.amax(tuple(range(1, weight.ndim)), keepdim=True) if per_channel else size.max()
    scale = (bound / 63.5).clamp(min=EPS)
    return Grid(scale, torch.zeros_like(scale), *SEVEN_BITS)


def fake_quantize(x, grid):
    """x' in the forward pass; the gradient passes straight through inside the grid's range and is zero outside."""
    ends = [grid.dequantize(torch.as_tensor(float(end))) for end in (grid.low, grid.high)]
    inside = torch.minimum(torch.maximum(x, ends[0]), ends[1])
    return inside + (grid.dequantize(grid.quantize(x)) - inside).detach()


# ------------------------------------------------------------------------------ observers: the range of an activation


def minmax(x):
    return x.min(), x.max()


def histogram(x, bins=2048, steps=64):
    """The range of least squared error: both ends are moved inwards as long as what is clipped costs less than the finer
    grid saves."""
    low, high = (float(v) for v in minmax(x))
    if low == high:
        return minmax(x)
    counts = torch.histc(x, bins, low, high)
    centres = low + (torch.arange(bins) + 0.5) * (high - low) / bins

    def error(low, high):
        grid = affine(low, high)
        return float((counts * (centres - grid.dequantize(grid.quantize(centres))) ** 2).sum())

    shares = torch.arange(steps, 0, -1) / steps
    high = min((high * float(s) for s in shares), key=lambda end: error(low, end)) if high > 0 else high
    low = min((low * float(s) for s in shares), key=lambda end: error(end, high)) if low < 0 else low
    return torch.tensor(low), torch.tensor(high)


class MovingRange(nn.Module):
    """Moving average of each batch's minimum and maximum, for training; stands still once ``frozen``."""

    def __init__(self, constant=0.01):
        super().__init__()
        self.constant, self.frozen = constant, False
        self.register_buffer("range", torch.full((2,), torch.nan))

    @torch.no_grad()
    def forward(self, x):
        if self.training and not self.frozen:
            new = torch.stack(minmax(x))
            self.range = torch.where(self.range.isnan(), new, self.range + self.constant * (new - self.range))
        return affine(*self.range)


# ------------------------------------------------------------------------------ the integer network


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
    hooks = [layer.register_forward_hook(lambda layer, given, out: seen.update({layer: (given[0], out)})) for layer in layers]
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
                x = F.relu(conv._conv_forward(x, fake_quantize(conv.weight, symmetric(conv.weight)), conv.bias))
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
        return convert(fold_batch_norm(self.net.eval()), [affine(*observer.range) for observer in self.ranges])


# ------------------------------------------------------------------------------ the three modes


def original(run):
    """The network that is quantized: the dense one, or at a smaller size that of the method ``of``."""
    of = dict(run.options)["of"]
    if not run.ratio:
        if of != OF:
            raise HsiError(f"{run.method}: `of` chooses among the small networks; give a ratio too (90, 95, 98)")
        return dense(run)
    about = get(of)
    if run.ratio not in about.ratios or about.family == "quantization":
        raise HsiError(f"{of} has no network of the {run.ratio} % size to quantize")
    recipe = replace(run.recipe, epochs=max(1, round(run.recipe.epochs * about.epochs)))
    return replace(run, method=of, options=tuple(sorted(about.defaults(run.scene).items())), recipe=recipe)


OF = "l1"  # which small networks are quantized


def mode(name, title, family="quantization", **about):
    return method(name, family, title, ratios=(0, 90, 95, 98), parents=lambda run: (original(run),), of=OF, **about)


@mode("dynamic", "Dynamic int8", paper="Dynamic Quantization", version=2)
def dynamic(task):
    """8-bit fully connected layers, whose input range is found at each call; convolutions stay in 32 bits."""
    return convert(fold_batch_norm(task.parent(original(task.run))))


@mode("static", "Static int8", paper="Static Quantization", samples=1000, observer="histogram")
def static(task):
    """8-bit layers throughout; ranges of activations are those of training pixels, drawn with all classes equally likely."""
    o, net = task.options, fold_batch_norm(task.parent(original(task.run)))
    observe = {"histogram": histogram, "minmax": minmax}[known("observer", o.observer, ("histogram", "minmax"))]
    x = task.balanced(net, o.samples, torch.Generator().manual_seed(task.seed("calibration")))
    small = convert(net, calibrate(net, x, observe))
    task.notes["layers"] = rounding(net, small, x)
    return small


@mode("qat", "QAT int8", paper="Quantization Aware Training", share=1 / 3, rate=0.1)
def qat(task):
    """Further training with all roundings in place, then the static form of what was learnt."""
    net = QAT(deepcopy(task.parent(original(task.run)))).to(task.device)
    epochs = max(1, round(task.run.recipe.epochs * task.options.share))
    task.fit(net, task.options.share, task.options.rate, after_epoch=lambda model, epoch: model.freeze((epoch + 1) / epochs))
    return net.convert()


@mode("further", "Trained further", family="controls", share=1 / 3, rate=0.1)
def further(task):
    """The further training that QAT does, without any rounding: what of its gain is due to the training alone."""
    return task.fit(deepcopy(task.parent(original(task.run))), task.options.share, task.options.rate)
