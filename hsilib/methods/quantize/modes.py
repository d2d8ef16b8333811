"""The three modes of quantization: dynamic, static, and training aware of it."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import wraps
from typing import Any

import torch

from hsilib.errors import HsiError, known
from hsilib.identity import Run
from hsilib.methods.quantize import layers
from hsilib.methods.quantize.arithmetic import BITS, histogram, minmax
from hsilib.methods.quantize.integer import Int8CNN2D, calibrate, convert, fold_batch_norm
from hsilib.methods.quantize.qat import QAT, Aware
from hsilib.methods.registry import dense, get, method
from hsilib.methods.task import Task
from hsilib.models.networks import CNN2D
from hsilib.models.train import VIEWS

OBSERVERS = {"histogram": histogram, "minmax": minmax}
OF = "l1"  # the method whose small networks are quantized
OF_SIZES = {90, 95, 98}


def original(run: Run) -> Run:
    """Return the run whose network is quantized: that of ``of``, or without a size the dense one."""
    of = dict(run.options)["of"]
    if not run.ratio and of == OF:
        return dense(run)
    source = get(of)
    if run.ratio not in source.ratios or source.family == "quantization":
        if not run.ratio and OF_SIZES <= set(source.ratios):
            says = "`of` chooses among the small networks; give a ratio too (90, 95, 98)"
            raise HsiError(f"{run.method}: {says}")
        size = f"the {run.ratio} % size" if run.ratio else "one size"
        raise HsiError(f"{of} has no network of {size} to quantize")
    recipe = replace(run.recipe, epochs=max(1, round(run.recipe.epochs * source.epochs)))
    return replace(run, method=of, options=tuple(sorted(source.defaults(run.scene).items())), recipe=recipe)


def mode(name: str, title: str, family: str = "quantization", of: str = OF, **fields: Any) -> Callable:
    """Register a mode of quantization, of the dense network and of the three small sizes; or, with ``of``,
    of that network, unless a run names another one."""
    words = dict(sees="patches", ratios=(0, 90, 95, 98)) if of == OF else {}
    return method(name, family, title, parents=lambda run: (original(run),), of=of, **words, **fields)


def quantization(name: str, title: str, family: str = "mine", of: str = OF, **fields: Any) -> Callable:
    """Register ``quantized(net, task)``, which returns a quantized network, as a way to quantize.

    net: the trained network, a copy with batch norm folded where it is a CNN2D; it is the dense one or one of
    the small sizes, or with ``of`` that of another method.  A layer that says its ``bits`` is counted with so
    many for a weight.  All other words are those of ``method``.

    >>> @quantization("halves", "Half precision")
    ... def halves(net, task):
    ...     for layer in (net.conv1, net.conv2, net.fc1, net.fc2):
    ...         layer.weight.data, layer.bits = layer.weight.half().float(), 16
    ...     return net
    """

    def register(quantized):
        @wraps(quantized)
        def train(task):
            net = task.parent(original(task.run))
            made = quantized(fold_batch_norm(net) if isinstance(net, CNN2D) else deepcopy(net), task)
            return _sound(made, name)

        mode(name, title, family, of, **fields)(train)
        return quantized

    return register


def _sound(net, name):
    """Refuse in one line what a way to quantize must not return."""
    if not isinstance(net, torch.nn.Module):
        raise HsiError(f"{name} must return the quantized network, not {type(net).__name__}")
    for part in net.modules():
        bits = getattr(part, "bits", 8)
        if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 32:
            raise HsiError(f"{name}: the bits of a layer are a whole number from 1 to 32, not {bits!r}")
    if not all(values.isfinite().all() for values in net.state_dict().values() if values.is_floating_point()):
        raise HsiError(f"{name}: the quantized network holds values that are not finite")
    return net


@mode("dynamic", "Dynamic int8", mark="orange v", paper="Dynamic Quantization", version=2)
def dynamic(task: Task) -> Int8CNN2D:
    """Fully connected layers have 8 bits and find their input's range at each call; convolutions have 32."""
    return convert(fold_batch_norm(task.parent(original(task.run))))


@mode("static", "Static int8", mark="blue s", paper="Static Quantization", samples=1000, observer="histogram")
def static(task: Task) -> Int8CNN2D | layers.Int8Net:
    """All layers have 8 bits; ranges of activations are those of training pixels, drawn with all classes
    equally likely."""
    o, net = task.options, task.parent(original(task.run))
    observe = OBSERVERS[known("observer", o.observer, OBSERVERS)]
    x = calibration(task, net, o.samples)
    if not isinstance(net, CNN2D):
        return layers.static(net, x, task.inputs(net.kind).reduction, observe)
    net = fold_batch_norm(net)
    return convert(net, calibrate(net, x, observe))


@mode("qat4", "Lens, QAT, 4-bit weights", "compact", "lens", mark="green d", share=1 / 3, rate=0.1, bits=4)
@mode("qat", "QAT int8", mark="green ^", paper="Quantization Aware Training", share=1 / 3, rate=0.1)
def qat(task: Task) -> Int8CNN2D | layers.Int8Net:
    """Train further with all roundings in place, then take the static form of what was learnt."""
    o, net, source = task.options, task.parent(original(task.run)), dict(original(task.run).options)
    if isinstance(net, CNN2D):
        if hasattr(o, "bits"):
            raise HsiError(f"{task.run.method} takes networks small by design, not CNN2D")
        net = QAT(deepcopy(net)).to(task.device)
    else:
        x, reduction = calibration(task, net, 10), task.inputs(net.kind).reduction
        net = Aware(net, x, reduction, bits=getattr(o, "bits", BITS)).to(task.device)
    epochs = max(1, round(task.run.recipe.epochs * o.share))
    views = {"augment": VIEWS[source["augment"]]} if "augment" in source else {}
    task.fit(net, o.share, o.rate, after_epoch=lambda m, epoch: m.freeze((epoch + 1) / epochs), **views)
    return net.convert()


def calibration(task: Task, net: torch.nn.Module, count: int) -> torch.Tensor:
    """Draw inputs of so many training pixels, all classes equally likely."""
    return task.balanced(net, count, torch.Generator().manual_seed(task.seed("calibration")))


@mode("further", "Trained further", mark="grey D", family="controls", share=1 / 3, rate=0.1)
def further(task: Task) -> CNN2D:
    """Train further as QAT does, but without any rounding: what of its gain is due to the training alone."""
    return task.fit(deepcopy(task.parent(original(task.run))), task.options.share, task.options.rate)
