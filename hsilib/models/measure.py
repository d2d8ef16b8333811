"""What a network costs: parameters, multiply-adds, bytes on disk, time."""

import pickle
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from hsilib.data.splits import WINDOW
from hsilib.errors import HsiError, reason
from hsilib.identity import Classical
from hsilib.models.networks import LAYERS

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def parameters(model: nn.Module | Classical) -> int | None:
    """Count weights and biases as the paper does, without batch norm except in CNN1D; RF and SVM have None.

    >>> parameters(CNN2D(40, 16))
    426866
    """
    if not isinstance(model, nn.Module):
        return model.parameters()
    batch_norm = getattr(model, "counts_batch_norm", False)
    layers = [m for m in model.modules() if batch_norm or not isinstance(m, BATCH_NORMS)]
    return sum(p.numel() for m in layers for p in m.parameters(recurse=False))


# what multiplies and is not counted; a network that does it has an unknown number of multiply-adds
UNCOUNTED = re.compile(r"_c?dist|_trilinear|^_fft|linalg_(?!vector_norm)|(dnn|miopen)_rnn|sparse|_attention")
COUNTED = {
    torch.ops.aten.dot: lambda a, b, **_: 2 * a[0],
    torch.ops.aten.mv: lambda a, b, **_: 2 * a[0] * a[1],
    torch.ops.aten.addmv: lambda c, a, b, **_: 2 * a[0] * a[1],
}


class _Sums(TorchDispatchMode):
    """Counts products of elements that are then summed, and says what nobody can count."""

    def __init__(self):
        super().__init__()
        self.products, self.macs, self.known = {}, 0, True

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        name, out = op.overloadpacket.__name__, op(*args, **kwargs or {})
        self.known &= op.namespace in ("aten", "prim", "prims") and not UNCOUNTED.search(name)
        if name == "mul" and all(isinstance(part, torch.Tensor) and part.numel() > 1 for part in args[:2]):
            self.products[id(out)] = out
        if name in ("sum", "mean"):
            self.macs += self.products.pop(id(args[0]), args[0][:0]).numel()
        return out


def macs(model: nn.Module | Classical, x: torch.Tensor) -> int | None:
    """Count the multiply-adds of one sample, without biases and batch norm, from what the network is given.

    ``x`` is a batch of one.  A network with products that cannot be counted has None, and so has a classical
    model that is not linear.

    >>> macs(MLP(200, 16), torch.rand(1, 200))
    30888
    """
    if not isinstance(model, nn.Module):
        coefficients = getattr(model.estimator, "coef_", None)
        return None if coefficients is None else coefficients.size
    counter, sums, fused = FlopCounterMode(display=False, custom_mapping=COUNTED), _Sums(), torch.backends.mha
    before = fused.get_fastpath_enabled()
    fused.set_fastpath_enabled(False)  # what is fused would not be counted; so with LSTM below
    try:
        with warnings.catch_warnings(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            warnings.simplefilter("ignore")  # torch warns of an Intel GPU setting when the flags are touched
            plain = torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False)
            with plain[0], plain[1], counter, sums:
                model.eval()(x)
    finally:
        fused.set_fastpath_enabled(before)
    return counter.get_total_flops() // 2 + sums.macs if sums.known else None


def of_components(bands, components, window=WINDOW):
    """Count the multiply-adds that make the principal components of a window from its bands."""
    return bands * components * window**2


def bytes_on_disk(model: nn.Module | Classical) -> int:
    """Return the size of the file to deploy: safetensors of a network, or the pickled estimator.

    >>> bytes_on_disk(MLP(103, 9)) > 4 * parameters(MLP(103, 9))
    True
    """
    if isinstance(model, nn.Module):
        return len(save({k: v.contiguous().clone() for k, v in model.state_dict().items()}))
    return len(pickle.dumps(model.estimator))


def measured(model, x, bands, components=40):
    """Return all that a network costs, as a row of the store has it; ``x`` is a batch of one."""
    try:
        costs = {"params": parameters(model), "macs": macs(model, x), "bytes": bytes_on_disk(model)}
        return costs | {"payload": payload(model, bands, components)}
    except Exception as error:  # a network from outside may be anything
        says = f"{type(model).__name__} cannot be measured: {type(error).__name__}: {reason(error)}"
        raise HsiError(says) from None


FLOAT = 4  # bytes of a number


def payload(model: nn.Module | Classical, bands: int, components: int = 40) -> int:
    """Count the bytes of every number that the deployed form stores, from a raw spectrum to its class.

    Batch norm is folded into the layer before it, and standardised bands into a first layer that mixes them
    all; any other network on bands stores two numbers a band, one on ``patches`` its principal
    ``components``.  Whole numbers count one byte, with scales and biases beside them; all else that is saved
    counts as it is, and a classical model as it is pickled.

    >>> payload(CNN2D(40, 16, widths=(5, 10, 10)), bands=200)
    67964
    """
    if not isinstance(model, nn.Module):
        return bytes_on_disk(model) + 2 * FLOAT * bands
    layers = [m for m in model.modules() if _stored(m) and not isinstance(m, BATCH_NORMS)]
    total = sum(map(_bytes_of, layers))
    free = Counter(len(layer.weight) for layer in layers if _plain(layer) and not isinstance(layer, nn.LSTM))
    for norm in model.modules():
        if isinstance(norm, BATCH_NORMS):  # its sums go into the bias of such a layer, if one is left
            total += 0 if free[norm.num_features] > 0 else 2 * FLOAT * norm.num_features
            free[norm.num_features] -= 1
    if model.kind == "patches":
        return total + FLOAT * (bands + 1) * components
    if model.kind in ("bands", "windows") and not (_plain(layers[0]) and mixes(layers[0], bands)):
        return total + 2 * FLOAT * bands
    if model.kind == "windows":  # what such a layer makes of the mean spectrum, which lies around the scene
        total += FLOAT * len(layers[0].weight)
    return total


def _stored(module):
    """{name: tensor} of the numbers that a module itself stores."""
    passing = module._non_persistent_buffers_set
    buffers = {name: b for name, b in module.named_buffers(recurse=False) if name not in passing}
    return dict(module.named_parameters(recurse=False)) | buffers


def _plain(layer):
    """Tell whether it is a layer whose form to deploy is known, one bias for each output."""
    known = hasattr(layer, "bits") or isinstance(layer, LAYERS)
    return isinstance(layer, nn.LSTM) or (known and "weight" in _stored(layer))


# what a layer in whole numbers holds that is counted in its own way, or is not deployed
ROUNDED = {"scale", "in_scale", "in_zero", "mean", "spread"}


def _bytes_of(layer):
    stored = _stored(layer)
    if not _plain(layer):
        return sum(t.nbytes for t in stored.values())
    if isinstance(layer, nn.LSTM):  # two biases of each gate are one
        return FLOAT * sum(p.numel() for name, p in stored.items() if not name.startswith("bias_hh"))
    weight, whole = layer.weight, hasattr(layer, "bits")
    own = stored.keys() - {"weight", "bias"} - (ROUNDED if whole else set())
    more = sum(stored[name].nbytes for name in own)  # what a layer of your own adds
    if not whole:
        offsets = 0 if getattr(layer, "bare", False) else len(weight)  # its own bias, or batch norm's
        return more + FLOAT * (weight.numel() + offsets)
    if weight.dtype != torch.int8:  # rounded by you: bits as declared, a scale and a bias for each output
        return more + -(-weight.numel() * layer.bits // 8) + 2 * FLOAT * len(weight)
    grid = FLOAT + 1 if hasattr(layer, "in_scale") else 0  # scale and zero of its input
    stored = -(-weight.numel() // 2) if layer.bits <= 4 else weight.numel()  # two of four bits share a byte
    return more + stored + FLOAT * (len(weight) + layer.scale.numel()) + grid


def mixes(layer, bands):
    """Tell whether a layer takes all bands of one pixel together."""
    if isinstance(layer, nn.LSTM):
        return layer.input_size == bands
    weight = layer.weight
    return weight.shape[1] == bands and all(size == 1 for size in weight.shape[2:])


def timed(
    functions: Mapping[str, Callable[[], object]], warm_up: int = 3, rounds: int = 20, calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, tuple[float, float]]:
    """Time functions in turn, so that drift hits all alike: {name: (median, IQR)} in seconds per call.

    ``calls`` in a row make one timing; a function that is shorter than the caches take to fill needs several.
    ``clock``: that of the processor's own time does not count what other programs take.

    >>> median, spread = timed({"sum": lambda: sum(range(1000))}, rounds=3)["sum"]
    """
    for function in functions.values():
        for _ in range(warm_up):
            function()
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = clock()
            for _ in range(calls):
                function()
            seconds[name].append((clock() - start) / calls)
    quartiles = {name: np.percentile(s, [25, 50, 75]) for name, s in seconds.items()}
    return {name: (q[1], q[2] - q[0]) for name, q in quartiles.items()}
