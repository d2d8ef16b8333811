"""The registry of methods, and what a method is given.

A method is a function ``train(task) -> model``.  Registering it is all it takes to appear in the store, the tables and
the plots.  Its own hyper-parameters are the keyword arguments of the decorator, each with a default.
"""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from types import SimpleNamespace

import torch

from hsilib import models
from hsilib.errors import HsiError, known
from hsilib.inputs import Images, make_inputs
from hsilib.splits import seed_of
from hsilib.train import balanced, fit, shuffled, training_set

METHODS = {}


@dataclass(frozen=True)
class Method:
    name: str
    family: str  # names the CSV file in the store and the chapter
    title: str  # in tables and plots
    train: Callable = field(compare=False)
    options: dict = field(default_factory=dict, compare=False)  # hyper-parameters and defaults
    by_scene: dict = field(default_factory=dict, compare=False)  # scene -> its own defaults
    version: int | str = 1  # raise it when the code changes what it computes: old rows then no longer count
    ratios: tuple = (0,)
    epochs: float = 1.0  # share of the recipe's epochs
    paper: str = ""  # the name in the paper's tables
    about: str = ""
    parents: Callable = field(default=lambda run: (), compare=False)  # run -> the runs whose trained models it needs
    prepare: Callable | None = field(default=None, compare=False)  # task -> student, loss, what trains along, teachers
    network: Callable | None = field(default=None, compare=False)  # of images: (bands, classes, **options) -> module
    config: tuple = ()  # the options that are arguments of the network

    def defaults(self, scene):
        return self.options | self.by_scene.get(scene, {})


FIELDS = ("prepare", "network", "config")  # what else ``method`` takes of a Method; all other words are hyper-parameters


def method(
    name, family, title, *, version=1, ratios=(0,), epochs=1.0, paper="", parents=lambda run: (), by_scene=None, **options
):
    """Register ``train(task) -> model`` under ``name``."""
    fields = {key: options.pop(key) for key in FIELDS if key in options}

    def register(train):
        stamp, own = version, inspect.unwrap(train)
        there = inspect.unwrap(METHODS[name].train).__module__ if name in METHODS else own.__module__
        if there != own.__module__ and there.startswith("hsilib."):
            raise HsiError(f"the name {name} is taken by a method of {there}; choose another")
        if not own.__module__.startswith("hsilib."):  # in a notebook the code is the version: an edit is another run
            stamp = f"{version}-{hashlib.sha256(_code(own).encode()).hexdigest()[:8]}"
        about = " ".join((train.__doc__ or "").split())
        METHODS[name] = Method(
            name, family, title, train, options, by_scene or {}, stamp, tuple(ratios), epochs, paper, about, parents, **fields
        )
        return train

    return register


def _code(function, seen=()):
    """What a function does, as text: its instructions, names and constants, and those of the functions and plain values it
    uses from around it."""
    codes, text = [function.__code__], [repr(function.__defaults__)]
    for code in codes:  # inner functions join the list
        codes += [c for c in code.co_consts if hasattr(c, "co_code")]
        plain = [sorted(map(repr, c)) if isinstance(c, frozenset) else c for c in code.co_consts]  # a set has no order
        text += [code.co_code.hex(), *code.co_names, *(repr(c) for c in plain if not hasattr(c, "co_code"))]
        for name in code.co_names:
            used = function.__globals__.get(name)
            if _plain(used):
                text.append(repr(used))
            elif inspect.isfunction(used) and used.__module__ == function.__module__ and used not in (function, *seen):
                text.append(_code(used, (function, *seen)))
    return " ".join(text)


def _plain(value):
    """Whether a value reads the same in every process: numbers, texts, and lists and tables of them."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return all(map(_plain, value)) if isinstance(value, tuple | list) else isinstance(value, bool | int | float | str)


def get(name):
    return METHODS[known("method", name, METHODS)]


def family(name, asked=()):
    """The methods of a family in the order of the tables, or those asked for."""
    names = [m.name for m in METHODS.values() if m.family == name]
    return [known(f"method of the family {name}", method, names) for method in asked] or names


def dense(run, name="cnn2d", **options):
    """The dense CNN2D of the same scene, split, seed and recipe: what is pruned, quantized, and taught by."""
    options = get(name).defaults(run.scene) | options
    return replace(run, method=name, ratio=0, options=tuple(sorted(options.items())))


class Task:
    """What a method is given: the run, its scene and split, and how to obtain inputs, seeds and training data."""

    def __init__(self, run, scene, split, device="cpu", parent=None):
        self.run, self.scene, self.split, self.device = run, scene, split, torch.device(device)
        self.options = SimpleNamespace(**dict(run.options))
        self.classes = len(scene.classes)
        self.history = []  # loss terms per epoch
        self.notes = {}  # what else the book shows of a run: kept filters, accuracy before fine-tuning ...
        self.parent = parent  # parent(run) -> the trained model of another run

    def seed(self, role):
        """Shared by all methods of a repetition: ``init``, ``order`` ... are the same for every method."""
        return seed_of(self.run.scene, self.run.split, self.run.seed, role)

    @cache  # noqa: B019 - a task lives as long as its run
    def inputs(self, kind):
        o = self.options
        if (kind == "images") != self.scene.of_images:
            what = "a set of images" if kind == "images" else "a hyperspectral scene"
            raise HsiError(f"{self.run.method} needs {what}, which {self.run.scene} is not")
        if kind == "images" and o.size < 32:
            raise HsiError(f"images must be at least 32 pixels wide, not {o.size}: VGG16 halves them five times")
        if kind == "images":
            return Images(torch.from_numpy(self.scene.pictures.read(o.size))).to(self.device)
        made = make_inputs(self.scene, self.split, kind, getattr(o, "components", 40), getattr(o, "pca_fit", "scene"))
        return made.to(self.device)

    def network(self, net, role="init", **config):
        """A fresh network whose initial weights depend only on the repetition and its own shape."""
        known("kind of the network", getattr(net, "kind", None), ("bands", "patches", "images"))
        bands = self.inputs(net.kind).pixels.shape[1]
        return models.initialise(net(bands, self.classes, **config), self.seed(role)).to(self.device)

    def data(self, model):
        return training_set(self.inputs(model.kind), self.split)

    def balanced(self, model, count, generator):
        """Inputs of ``count`` training pixels, rare classes as often as common ones as far as they reach."""
        if count < 1:
            raise HsiError(f"{self.run.method} needs training pixels to see: samples must be at least 1, not {count}")
        data = self.data(model)
        share = 1 / torch.bincount(data.y)[data.y]
        chosen = torch.multinomial(share.cpu(), min(count, len(data.y)), generator=generator)
        return data.x(chosen.to(data.y.device))

    def fit(self, model, epochs=1.0, rate=1.0, order="order", **arguments):
        """The training loop on this task's training pixels, for a share of the recipe's epochs and rate; keeps the loss
        terms for the log.  A method with the option ``balance`` is given batches in which rare classes come more often."""
        recipe, data = self.run.recipe, self.data(model)
        recipe = replace(recipe, epochs=max(1, round(recipe.epochs * epochs)), lr=recipe.lr * rate)
        draw = balanced(data.y, self.options.balance) if hasattr(self.options, "balance") else shuffled
        history = fit(model, data, recipe, self.seed(order), draw=draw, **arguments)
        self.history += history
        return model
