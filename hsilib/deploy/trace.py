"""Any network as an ONNX graph, from raw spectra to classes, traced by torch's exporter.

Batch norm is folded, and so is the standardisation of the bands where the first layer takes all of them: the
file then begins with one product of the raw cube and a matrix.  Layers in whole numbers are written as
quantize - dequantize - layer, which the engine fuses into integer arithmetic.
"""

import io
import json
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from hsilib.data.formats import needs
from hsilib.data.inputs import MARGIN, WINDOWED
from hsilib.data.splits import WINDOW
from hsilib.errors import HsiError
from hsilib.files import readable
from hsilib.methods.compact.projected import Spread
from hsilib.methods.quantize.integer import LAYERS, Int8CNN2D, Int8Layer, fold_batch_norm
from hsilib.methods.quantize.layers import Int8Net, RawLayer, fold, plan_of, put
from hsilib.models.networks import CNN2D

if TYPE_CHECKING:
    import onnx

OPSET, FLOAT = 17, 1


class _Whole(torch.autograd.Function):
    """A layer in whole numbers; its graph has the same numbers."""

    @staticmethod
    def forward(ctx, x, layer, dilation):
        return layer(x, dilation)

    @staticmethod
    def symbolic(g, x, layer, dilation):
        ones = [1] * (layer.weight.ndim - 2)
        apart = [dilation] * len(ones) if dilation else layer.how.get("dilation", ones)
        words = dict(dilations_i=apart, kernel_shape_i=layer.weight.shape[2:])
        if layer.dynamic:
            x, scale, zero = g.op("DynamicQuantizeLinear", x, outputs=3)
            total = g.op("ConvInteger", x, _constant(g, layer.weight), zero, **words)
            step = g.op("Mul", scale, _constant(g, layer.scale.reshape(())))
            bias = _constant(g, layer.bias[:, None, None])
            return g.op("Add", g.op("Mul", g.op("Cast", total, to_i=FLOAT), step), bias)
        scale, zero = _constant(g, layer.in_scale), _constant(g, layer.in_zero.to(torch.uint8))
        x = g.op("DequantizeLinear", g.op("QuantizeLinear", x, scale, zero), scale, zero)
        steps = layer.scale.flatten()
        step = steps * layer.in_scale
        bias = _constant(g, torch.round(layer.bias / step).int())
        bias = g.op("DequantizeLinear", bias, _constant(g, step), axis_i=0)
        if layer.weight.ndim == 2:
            weight = _weight(g, layer.weight.T, steps, 1)
            return g.op("Add", g.op("MatMul", x, weight), bias)
        if layer.how:
            how = layer.how
            words |= dict(strides_i=how["stride"], pads_i=2 * how["padding"], group_i=how["groups"])
        return g.op("Conv", x, _weight(g, layer.weight, steps, 0), bias, **words)


class _Raw(torch.autograd.Function):
    """The product of raw spectra (H, W, B) and the whole weights of a first layer."""

    @staticmethod
    def forward(ctx, cube, layer, tiled):
        return cube @ layer.weight.float().flatten(1).T * layer.scale.flatten()

    @staticmethod
    def symbolic(g, cube, layer, tiled):
        if tiled:
            return g.op("MatMul", cube, _weight(g, layer.weight.flatten(1).T, layer.scale.flatten(), 1))
        # a cast and not "dequantize", which onnxruntime takes as leave to round the raw values too
        weight = g.op("Cast", _constant(g, layer.weight.flatten(1).T), to_i=FLOAT)
        return g.op("Mul", g.op("MatMul", cube, weight), _constant(g, layer.scale.flatten()))


def _constant(g, tensor):
    return g.op("Constant", value_t=tensor.detach().cpu().contiguous())


def _weight(g, weight, scale, axis):
    return g.op("DequantizeLinear", _constant(g, weight), _constant(g, scale), axis_i=axis)


class Traced(nn.Module):
    """A layer in whole numbers as the exporter is to see it."""

    def __init__(self, layer: Int8Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor, dilation: int | None = None) -> torch.Tensor:
        return _Whole.apply(x, self.layer, dilation)


def convolved(net: CNN2D | Int8CNN2D) -> Int8CNN2D:
    """Return CNN2D, or its integer form, as the exporter is to see it: four convolutions."""
    made = Int8CNN2D(**{key: net.config[key] for key in ("bands", "classes", "widths")})
    given = net if isinstance(net, Int8CNN2D) else fold_batch_norm(net)
    for name in LAYERS:
        layer, shape = getattr(given, name), getattr(made, name).weight.shape
        seen = Traced(layer) if isinstance(layer, Int8Layer) else Spread(shape[1], shape[0], shape[2])
        if isinstance(seen, Spread):
            seen.weight, seen.bias = nn.Parameter(layer.weight.detach().reshape(shape)), layer.bias
        setattr(made, name, seen)
    return made.eval()


class Chain(nn.Module):
    """A network behind its standardisation: raw cube (H, W, B) -> (map, scores).

    It puts a margin around the scene, where standardised bands are zero; or it is ``tiled``, for code that
    knows its sizes, and is given the margin.
    """

    def __init__(
        self, net: nn.Module, mean: np.ndarray, spread: np.ndarray, *shift: np.ndarray, tiled: bool = False
    ) -> None:
        super().__init__()
        self.kind, self.tiled, self.components = net.kind, tiled, bool(shift)
        mean, spread, *shift = (torch.from_numpy(values).float() for values in (mean, spread, *shift))
        if shift:  # principal components
            self.net, name = convolved(net), ""
        elif isinstance(net, Int8Net):
            self.net, name = deepcopy(net.net), net.config["first"]
            for word, layer in list(self.net.named_modules()):
                if isinstance(layer, Int8Layer):
                    put(self.net, word, Traced(layer))
        else:
            self.net, name = _plain(net, len(mean))
        self.first = self.net.get_submodule(name) if name else None
        if name:
            put(self.net, name, nn.Identity())
            bias, centre = self.first.bias.detach(), self.projected(mean, spread)
        else:
            bias, centre = shift[0] if shift else torch.zeros(()), mean
        for key, value in (("bias", bias), ("centre", centre), ("spread", spread)):
            self.register_buffer(key, value, persistent=False)

    def projected(self, cube: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
        """Return what the first layer makes of raw spectra, without its bias."""
        if isinstance(self.first, RawLayer):
            return _Raw.apply(cube, self.first, self.tiled)
        return cube @ (self.first.weight.detach().flatten(1) / spread).T

    def forward(self, cube: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.components:
            x = (cube - self.centre) @ self.spread + self.bias
        elif self.first is None:
            x = (cube - self.centre) / self.spread
        else:
            x = self.projected(cube, self.spread) - self.centre
        if self.kind in WINDOWED:
            x = x if self.tiled else F.pad(x, (0, 0) + (MARGIN,) * 4)
            x = x if self.components else x + self.bias
            scores = self.net.dense(x.permute(2, 0, 1)[None])
        else:
            logits = self.net((x + self.bias).reshape(-1, x.shape[2])).logits
            scores = logits.T.reshape(-1, cube.shape[0], cube.shape[1])
        return (scores.argmax(0) + 1).to(torch.uint8), scores


def _plain(net, bands):
    """A network in 32 bits without batch norm, and its layer that takes raw bands, if it has one."""
    shape = (2, bands) if net.kind == "bands" else (2, bands, WINDOW, WINDOW)
    try:
        plan = plan_of(net, torch.randn(shape))
    except HsiError:  # layers that cannot be folded stay as they are
        return deepcopy(net), ""
    return fold(net, plan), plan.first


def traced(
    net: nn.Module, reduction: tuple[np.ndarray, ...], classes: Sequence[str],
    tile: tuple[int, int] | None = None, **metadata
) -> bytes:
    """Write any network of bands, or of windows with ``dense``, as an ONNX file from raw spectra.

    The graph is what torch's exporter traces, so it may be made of any layers that ONNX knows.
    reduction: mean and spread of each band, or mean (B,), weight (B, C) and shift (C,) of components; tile:
    rows and columns that the file is to classify at once, for code that knows its sizes, of which a network
    of windows is given nine more on every side; metadata: what else the file is to say of itself.
    """
    onnx = needs("onnx", "an ONNX file")
    edge, (rows, columns) = 2 * MARGIN if tile and net.kind in WINDOWED else 0, tile or (3, 4)
    chain = Chain(net, *reduction, tiled=bool(tile)).eval().requires_grad_(False)
    cube = torch.zeros(rows + edge, columns + edge, len(reduction[0]))
    words = {} if tile else {"dynamic_axes": {"cube": {0: "rows", 1: "columns"}}}
    # without folding whole weights stay whole in the file; the engine folds them when it opens it
    words |= dict(do_constant_folding=bool(tile), autograd_inlining=False)
    words |= dict(input_names=["cube"], output_names=["map", "scores"])
    made = exported(chain, cube, type(net).__name__, **words)
    _shorten(made.graph, ("cube", "map", "scores"))
    said = {"classes": list(classes), "bands": len(reduction[0])} | metadata
    onnx.helper.set_model_props(made, {key: json.dumps(value) for key, value in said.items()})
    return made.SerializeToString()


def exported(net: nn.Module, x: torch.Tensor, name: str, **words) -> "onnx.ModelProto":
    """Return the graph of a module that takes ``x``; ``words`` are the exporter's."""
    import onnx

    out = io.BytesIO()
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), readable(f"{name} cannot be exported"):
        warnings.simplefilter("ignore")  # that a newer exporter exists; it needs another package
        torch.onnx.export(net, (x,), out, opset_version=OPSET, dynamo=False, **words)
    made = onnx.load_from_string(out.getvalue())
    made.producer_name = "hsilib"
    return made


def _shorten(graph, kept):
    """Give nodes and tensors names of a few letters: the exporter's take more bytes than a small network."""
    names = {name: name for name in kept} | {"": ""}
    for tensor in graph.initializer:
        tensor.name = names.setdefault(tensor.name, f"w{len(names)}")
    for number, node in enumerate(graph.node):
        node.name = f"n{number}"
        for ends in (node.input, node.output):
            ends[:] = [names.setdefault(end, f"t{len(names)}") for end in ends]
    del graph.value_info[:]
