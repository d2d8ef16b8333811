"""The same networks in ``torch.ao.quantization``, whose file sizes the paper reports.

torch has announced the removal of this package; only this file uses it, and says so where it is gone.
"""

import io
import warnings
from collections import OrderedDict

import torch
from torch import nn

from hsilib.errors import HsiError
from hsilib.quantize.integer import LAYERS


def plain(net):
    """CNN2D without batch norm as a chain of torch's own modules."""
    chain = OrderedDict()
    for name in LAYERS:
        if name == "fc1":
            chain |= {"pool": nn.MaxPool2d(2), "flatten": Flat()}
        chain[name] = getattr(net, name)
        if name != "fc2":
            chain[f"relu_{name}"] = nn.ReLU()  # one each: a shared one is not fused
    return nn.Sequential(chain).eval()


class Flat(nn.Module):
    def forward(self, x):
        return torch.flatten(x, 1)  # nn.Flatten would leave the integers here


def dynamic(net):
    """8-bit fully connected layers."""
    ao = package()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ao.quantize_dynamic(plain(net), {nn.Linear}, dtype=torch.qint8)


def static(net, x, grids=None):
    """8-bit layers of a network without batch norm, calibrated by torch on ``x``; or with the given grids of the layers' inputs
    and our seven bits of weights."""
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
            last = ao.HistogramObserver.with_args(quant_min=0, quant_max=255)  # torch rounds the scores too
            for name, seen in zip(("quant", *LAYERS), [*(_fixed(ao, grid) for grid in grids), last]):
                getattr(model, name).qconfig = ao.QConfig(seen, weight)
        ready = ao.prepare(model)
        ready(x)
        return ao.convert(ready)


def bytes_of(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return len(file.getvalue())


def _fixed(ao, grid):
    about = dict(
        scale=float(grid.scale), zero_point=int(grid.zero), dtype=torch.quint8, quant_min=0, quant_max=255
    )
    return ao.FixedQParamsObserver.with_args(qscheme=torch.per_tensor_affine, **about)


def package():
    try:
        import torch.ao.quantization as ao
    except ImportError:
        raise HsiError(
            f"torch {torch.__version__} has no torch.ao.quantization; its file sizes need torch 2.13 or earlier"
        ) from None
    return ao
