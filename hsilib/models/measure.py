"""What a network costs: parameters, multiply-adds, bytes on disk, time."""

import pickle
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from hsilib.baselines.classical import Estimator

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def parameters(model: "nn.Module | Estimator") -> int | None:
    """Count weights and biases as the paper does, without batch norm except in CNN1D; RF and SVM have None.

    >>> parameters(CNN2D(40, 16))
    426866
    """
    if not isinstance(model, nn.Module):
        return model.parameters()
    batch_norm = getattr(model, "counts_batch_norm", False)
    layers = [m for m in model.modules() if batch_norm or not isinstance(m, BATCH_NORMS)]
    return sum(p.numel() for m in layers for p in m.parameters(recurse=False))


def macs(model: "nn.Module | Estimator", x: torch.Tensor) -> int | None:
    """Count the multiply-adds of one sample, without biases and batch norm; scikit-learn has None.

    ``x`` is a batch of one.
    """
    if not isinstance(model, nn.Module):
        return None
    counter = FlopCounterMode(display=False)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch warns of an Intel GPU setting when the flags are touched
        with torch.backends.mkldnn.flags(enabled=False), counter:  # oneDNN's fused LSTM would not be counted
            model.eval()(x)
    return counter.get_total_flops() // 2


def bytes_on_disk(model: "nn.Module | Estimator") -> int:
    """Return the size of the file to deploy: safetensors of a network, or the pickled estimator."""
    if isinstance(model, nn.Module):
        return len(save({k: v.contiguous() for k, v in model.state_dict().items()}))
    return len(pickle.dumps(model.estimator))


FLOAT = 4  # bytes of a number


def payload(model: "nn.Module | Estimator", bands: int, components: int = 40) -> int:
    """Count the bytes of every number that the deployed form stores, from a raw spectrum to its class.

    Batch norm is folded into the layer before it, and standardised bands into a first layer that mixes them
    all; any other network on bands stores two numbers a band, one on ``patches`` its principal
    ``components``.  Whole numbers count one byte, with scales and biases beside them.  A classical model
    counts as it is pickled.

    >>> payload(CNN2D(40, 16, widths=(5, 10, 10)), bands=200)
    67964
    """
    if not isinstance(model, nn.Module):
        return bytes_on_disk(model) + 2 * FLOAT * bands
    layers = [m for m in model.modules() if _weights(m)]
    total = sum(map(_bytes_of, layers))
    if model.kind == "patches":
        return total + FLOAT * (bands + 1) * components
    if model.kind in ("bands", "windows") and not mixes(layers[0], bands):
        return total + 2 * FLOAT * bands
    if model.kind == "windows":  # what such a layer makes of the mean spectrum, which lies around the scene
        total += FLOAT * len(layers[0].weight)
    return total


def _weights(module):
    """The weights of a layer; of batch norm, which is folded, none."""
    if isinstance(module, BATCH_NORMS):
        return []
    return [p for name, p in module.named_parameters(recurse=False) if "weight" in name]


def _bytes_of(layer):
    if isinstance(layer, nn.LSTM):  # two biases of each gate are one
        biases = [p for name, p in layer.named_parameters() if name.startswith("bias_ih")]
        return FLOAT * sum(p.numel() for p in [*_weights(layer), *biases])
    weight = layer.weight
    if not hasattr(layer, "bits"):
        return FLOAT * (weight.numel() + len(weight))  # its own bias, or batch norm's
    if weight.dtype != torch.int8:  # rounded by you: bits as declared, a scale and a bias for each output
        return -(-weight.numel() * layer.bits // 8) + 2 * FLOAT * len(weight)
    grid = FLOAT + 1 if hasattr(layer, "in_scale") else 0  # scale and zero of its input
    stored = -(-weight.numel() // 2) if layer.bits <= 4 else weight.numel()  # two of four bits share a byte
    return stored + FLOAT * (len(weight) + layer.scale.numel()) + grid


def mixes(layer: nn.Module, bands: int) -> bool:
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
