"""The three modes of quantization: dynamic, static, and training aware of it."""

from copy import deepcopy
from dataclasses import replace

import torch

from hsilib.errors import HsiError, known
from hsilib.quantize.arithmetic import histogram, minmax
from hsilib.quantize.integer import calibrate, convert, fold_batch_norm, rounding
from hsilib.quantize.qat import QAT
from hsilib.registry import dense, get, method

OF = "l1"  # which small networks are quantized


def original(run):
    """The network that is quantized: the dense one, or at a smaller size that of the method ``of``."""
    of = dict(run.options)["of"]
    if not run.ratio:
        if of != OF:
            raise HsiError(
                f"{run.method}: `of` chooses among the small networks; give a ratio too (90, 95, 98)"
            )
        return dense(run)
    about = get(of)
    if run.ratio not in about.ratios or about.family == "quantization":
        raise HsiError(f"{of} has no network of the {run.ratio} % size to quantize")
    recipe = replace(run.recipe, epochs=max(1, round(run.recipe.epochs * about.epochs)))
    return replace(run, method=of, options=tuple(sorted(about.defaults(run.scene).items())), recipe=recipe)


def mode(name, title, family="quantization", **about):
    return method(
        name, family, title, ratios=(0, 90, 95, 98), parents=lambda run: (original(run),), of=OF, **about
    )


@mode("dynamic", "Dynamic int8", mark="orange v", paper="Dynamic Quantization", version=2)
def dynamic(task):
    """8-bit fully connected layers, whose input range is found at each call; convolutions stay in 32 bits."""
    return convert(fold_batch_norm(task.parent(original(task.run))))


@mode("static", "Static int8", mark="blue s", paper="Static Quantization", samples=1000, observer="histogram")
def static(task):
    """8-bit layers throughout; ranges of activations are those of training pixels, drawn with all classes equally likely."""
    o, net = task.options, fold_batch_norm(task.parent(original(task.run)))
    observe = {"histogram": histogram, "minmax": minmax}[
        known("observer", o.observer, ("histogram", "minmax"))
    ]
    x = task.balanced(net, o.samples, torch.Generator().manual_seed(task.seed("calibration")))
    small = convert(net, calibrate(net, x, observe))
    task.notes["layers"] = rounding(net, small, x)
    return small


@mode("qat", "QAT int8", mark="green ^", paper="Quantization Aware Training", share=1 / 3, rate=0.1)
def qat(task):
    """Further training with all roundings in place, then the static form of what was learnt."""
    net = QAT(deepcopy(task.parent(original(task.run)))).to(task.device)
    epochs = max(1, round(task.run.recipe.epochs * task.options.share))
    task.fit(
        net, task.options.share, task.options.rate,
        after_epoch=lambda model, epoch: model.freeze((epoch + 1) / epochs)
    )
    return net.convert()


@mode("further", "Trained further", mark="grey D", family="controls", share=1 / 3, rate=0.1)
def further(task):
    """The further training that QAT does, without any rounding: what of its gain is due to the training alone."""
    return task.fit(deepcopy(task.parent(original(task.run))), task.options.share, task.options.rate)
