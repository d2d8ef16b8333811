"""What a network costs: parameters, multiply-adds, bytes on disk, time."""

import pickle
import time
import warnings

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def parameters(model):
    """Weights and biases as the paper counts them: batch norm apart, but for CNN1D.  Empty for RF, SVM."""
    if not isinstance(model, nn.Module):
        return model.parameters()
    batch_norm = getattr(model, "counts_batch_norm", False)
    layers = [m for m in model.modules() if batch_norm or not isinstance(m, BATCH_NORMS)]
    return sum(p.numel() for m in layers for p in m.parameters(recurse=False))


def macs(model, x):
    """Multiply-adds of one sample, biases and batch norm apart.  ``x`` is a batch of one; None for scikit-learn."""
    if not isinstance(model, nn.Module):
        return None
    counter = FlopCounterMode(display=False)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch warns of an Intel GPU setting when the flags are touched
        with torch.backends.mkldnn.flags(enabled=False), counter:  # oneDNN's fused LSTM would not be counted
            model.eval()(x)
    return counter.get_total_flops() // 2


def bytes_on_disk(model):
    """Size of the file one would deploy: safetensors for a network, the pickled estimator for scikit-learn."""
    if isinstance(model, nn.Module):
        return len(save({k: v.contiguous() for k, v in model.state_dict().items()}))
    return len(pickle.dumps(model.estimator))


def timed(functions, warm_up=3, rounds=20, calls=1):
    """Seconds per call of several functions, run in turn so that drift hits all alike: {name: (median, IQR)}.

    calls: how many in a row make one timing; more than one for what is shorter than the caches take to fill.
    """
    for function in functions.values():
        for _ in range(warm_up):
            function()
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(calls):
                function()
            seconds[name].append((time.perf_counter() - start) / calls)
    quartiles = {name: np.percentile(s, [25, 50, 75]) for name, s in seconds.items()}
    return {name: (q[1], q[2] - q[0]) for name, q in quartiles.items()}
