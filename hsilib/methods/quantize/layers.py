"""Any network in whole numbers, layer by layer; methods D.

Batch norm is folded into the layer before it.  Every layer then has whole weights, one scale for each output
channel, and is given whole numbers: its input's range is that of some samples.  A first layer that takes all
bands of a pixel together is given the raw values as they are, so the standardisation of the bands is folded
into its weights before they are rounded.  What lies between layers (ReLU, pooling, sums) stays as it is.
"""

from copy import deepcopy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.errors import HsiError
from hsilib.methods.quantize.arithmetic import Grid, Observer, affine, histogram
from hsilib.methods.quantize.integer import Int8Layer, absorbed, take
from hsilib.models.measure import mixes
from hsilib.models.networks import NETWORKS, Around

FIRST_BITS = 8  # of a weight that raw values are multiplied with: rounding hurts that layer most
KINDS = nn.Linear, nn.Conv1d, nn.Conv2d
NORMS = nn.BatchNorm1d, nn.BatchNorm2d


class Plan(NamedTuple):
    """What of a network becomes whole."""

    layers: tuple[str, ...]  # the names of its layers, in the order of their calls
    folds: dict[str, str]  # batch norm -> the layer before it
    first: str  # the layer that takes raw bands, or ""


def how(layer: nn.Module) -> dict:
    """Return the words that a convolution is called with."""
    words = ("stride", "padding", "dilation", "groups")
    return {} if isinstance(layer, nn.Linear) else {word: getattr(layer, word) for word in words}


def put(net: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the one that is called ``name``."""
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent), last, module)


@torch.no_grad()
def plan_of(net: nn.Module, x: torch.Tensor) -> Plan:
    """Watch a network at work on samples ``x``, and find out which layers follow which."""
    names = {module: name for name, module in net.named_modules()}
    for module, name in names.items():
        if [p for p in module.parameters(recurse=False)] and not isinstance(module, (*KINDS, *NORMS)):
            what = f"{type(net).__name__}.{name} is {type(module).__name__}"
            raise HsiError(f"only linear layers and convolutions can be put in whole numbers; {what}")
    averages = getattr(net, "averages", False)
    layers, made, folds, first = [], {}, {}, []  # made: storage -> the layer that it comes out of

    def place(tensor):
        return tensor.untyped_storage().data_ptr()  # of a part of a layer's output, too

    def layer_hook(module, given, out):
        raw = place(given[0]) == place(x) or averages
        if not layers and raw and mixes(module, x.shape[1]):
            first.append(names[module])
        layers.append(names[module])
        made[place(out)] = names[module], out

    def norm_hook(module, given, out):
        if place(given[0]) not in made:
            says = f"{type(net).__name__}.{names[module]} does not follow a layer"
            raise HsiError(f"batch norm is folded into the layer before it, but {says}")
        folds[names[module]] = made[place(given[0])][0]

    hooks = [m.register_forward_hook(layer_hook) for m in names if isinstance(m, KINDS)]
    hooks += [m.register_forward_hook(norm_hook) for m in names if isinstance(m, NORMS)]
    try:
        net.eval()(x)
    finally:
        for hook in hooks:
            hook.remove()
    return Plan(tuple(dict.fromkeys(layers)), folds, "".join(first))


@torch.no_grad()
def fold(net: nn.Module, plan: Plan) -> nn.Module:
    """Return a copy without batch norm; its layers have a bias each."""
    net = deepcopy(net).eval()
    for norm, name in plan.folds.items():
        layer = net.get_submodule(name)
        weight, bias = absorbed(layer.weight, layer.bias, net.get_submodule(norm))
        layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
        put(net, norm, nn.Identity())
    for layer in map(net.get_submodule, plan.layers):
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros(len(layer.weight), device=layer.weight.device))
    return net


class RawLayer(nn.Module):
    """A first layer in whole weights that raw values go into; ``mean`` and ``spread`` are not deployed.

    y = S_w Q (x - mean) + b, where a standardised band is z = (x - mean) / spread
    """

    bits = FIRST_BITS

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape, dtype=torch.int8), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(shape[0]), requires_grad=False)
        ones = [1] * (len(shape) - 2)
        self.register_buffer("scale", torch.ones(shape[0], 1, *ones))
        self.register_buffer("mean", torch.zeros(shape[1], *ones))
        self.register_buffer("spread", torch.ones(shape[1], *ones))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Take standardised bands, which are what the rest of the library holds."""
        apply = F.linear if self.weight.ndim == 2 else F.conv2d
        return apply(z, self.weight * self.scale * self.spread, self.bias)


class Int8Net(Around):
    """A network of the library or of your own with all layers in whole numbers.

    ``net`` and ``config`` say which network; ``folds`` and ``first`` are those of its ``Plan``; ``bits`` are
    those of a weight.
    """

    def __init__(self, net: str, config: dict, folds: dict, first: str, bits: int) -> None:
        super().__init__(net, config)
        self.config = dict(net=net, config=config, folds=folds, first=first, bits=bits)
        for norm in folds:
            put(self.net, norm, nn.Identity())
        for name, layer in list(self.net.named_modules()):
            if isinstance(layer, KINDS):
                shape = tuple(layer.weight.shape)
                whole = RawLayer(shape) if name == first else Int8Layer(shape, bits=bits, **how(layer))
                put(self.net, name, whole)


NETWORKS["Int8Net"] = Int8Net


@torch.no_grad()
def whole(
    net: nn.Module, plan: Plan, folded: nn.Module, grids: dict[str, Grid], reduction: tuple, bits: int
) -> Int8Net:
    """Round the layers of a network: ``folded`` is without batch norm, ``grids`` are those of its inputs."""
    made = Int8Net(type(net).__name__, net.config, plan.folds, plan.first, bits)
    for name in plan.layers:
        theirs, mine = folded.get_submodule(name), made.net.get_submodule(name)
        weight, grid = theirs.weight.detach(), grids.get(name)
        if name == plan.first:
            for key, value in zip(("mean", "spread"), reduction):
                getattr(mine, key).copy_(torch.from_numpy(value).view(getattr(mine, key).shape))
            weight, grid = weight / mine.spread, None
        take(mine, weight, theirs.bias, mine.bits, grid)
    return made.eval()


@torch.no_grad()
def static(
    net: nn.Module, x: torch.Tensor, reduction: tuple, observe: Observer = histogram, bits: int = 7
) -> Int8Net:
    """Round a trained network; samples ``x`` say what range each layer's input has.

    ``reduction`` holds mean and spread of each band, with which ``x`` was standardised.
    """
    plan = plan_of(net, x)
    folded, grids = fold(net, plan), {}

    def watch(name):
        def hook(module, given, out):
            grids[name] = affine(*observe(given[0]))

        return hook

    for name in plan.layers:
        folded.get_submodule(name).register_forward_hook(watch(name))
    folded(x)
    return whole(net, plan, folded, grids, reduction, bits)
