"""The same networks in ``torch.ao.quantization``, whose file sizes the paper reports.

torch has announced the removal of this package; only this file uses it, and says so where it is gone.
"""

import io
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import nn

from hsilib.errors import HsiError
from hsilib.methods.quantize.arithmetic import Grid
from hsilib.methods.quantize.integer import LAYERS
from hsilib.models.networks import CNN2D


def plain(net: CNN2D) -> nn.Sequential:
    """Write CNN2D without batch norm as a chain of torch's own modules."""
    chain = OrderedDict()
    for name in LAYERS:
        if name == "fc1":
            chain |= {"pool": nn.MaxPool2d(2), "flatten": Flat()}
        chain[name] = getattr(net, name)
        if name != "fc2":
            chain[f"relu_{name}"] = nn.ReLU()  # one each: a shared one is not fused
    return nn.Sequential(chain).eval()


class Flat(nn.Module):
    """It flattens all but the batch; nn.Flatten would leave the integers here."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.flatten(x, 1)


def dynamic(net: CNN2D) -> nn.Module:
    """Convert the fully connected layers to 8 bits."""
    ao = package()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ao.quantize_dynamic(plain(net), {nn.Linear}, dtype=torch.qint8)


def static(net: CNN2D, x: torch.Tensor, grids: Sequence[Grid] | None = None) -> nn.Module:
    """Convert all layers of a network without batch norm to 8 bits.

    Torch calibrates them on ``x``; or they are given the grids of the layers' inputs, and our seven bits of
    weights.
    """
    ao = package()
    chain = OrderedDict(quant=ao.QuantStub(), **plain(net)._modules, dequant=ao.DeQuantStub())
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model = ao.fuse_modules(nn.Sequential(chain).eval(), [[name, f"relu_{name}"] for name in LAYERS[:-1]])
        model.qconfig = ao.get_default_qconfig("x86")
        if grids:
            weight = ao.PerChannelMinMaxObserver.with_args(
                quant_min=-64, quant_max=63, dtype=torch.qint8, qscheme=torch.per_channel_symmetric
            )
            byte, fixed = dict(quant_min=0, quant_max=255), ao.FixedQParamsObserver.with_args
            words = dict(dtype=torch.quint8, qscheme=torch.per_tensor_affine, **byte)
            ranges = [fixed(scale=float(g.scale), zero_point=int(g.zero), **words) for g in grids]
            ranges.append(ao.HistogramObserver.with_args(**byte))  # torch rounds the scores too
            for name, observer in zip(("quant", *LAYERS), ranges):
                getattr(model, name).qconfig = ao.QConfig(observer, weight)
        ready = ao.prepare(model)
        ready(x)
        return ao.convert(ready)


def bytes_of(model: nn.Module) -> int:
    """Return the size of the file that ``torch.save`` writes of the weights."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return len(file.getvalue())


def package() -> ModuleType:
    """Return ``torch.ao.quantization``, or say that this torch has none."""
    try:
        import torch.ao.quantization as ao
    except ImportError:
        says = "has no torch.ao.quantization; its file sizes need torch 2.13 or earlier"
        raise HsiError(f"torch {torch.__version__} {says}") from None
    return ao
