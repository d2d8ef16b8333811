"""What a method is given: the run, its scene and split, and how to obtain inputs, seeds and training data."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import torch

from hsilib.data.inputs import Images, make_inputs
from hsilib.data.splits import seed_of
from hsilib.errors import HsiError, known
from hsilib.models.networks import initialise
from hsilib.models.train import balanced, fit, shuffled, training_set


class Task:
    """One run as its method sees it."""

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
            raise HsiError(
                f"images must be at least 32 pixels wide, not {o.size}: VGG16 halves them five times"
            )
        if kind == "images":
            return Images(torch.from_numpy(self.scene.pictures.read(o.size))).to(self.device)
        made = make_inputs(
            self.scene, self.split, kind, getattr(o, "components", 40), getattr(o, "pca_fit", "scene")
        )
        return made.to(self.device)

    def network(self, net, role="init", **config):
        """A fresh network whose initial weights depend only on the repetition and its own shape."""
        known("kind of the network", getattr(net, "kind", None), ("bands", "patches", "images"))
        bands = self.inputs(net.kind).pixels.shape[1]
        return initialise(net(bands, self.classes, **config), self.seed(role)).to(self.device)

    def data(self, model):
        return training_set(self.inputs(model.kind), self.split)

    def balanced(self, model, count, generator):
        """Inputs of ``count`` training pixels, rare classes as often as common ones as far as they reach."""
        if count < 1:
            raise HsiError(
                f"{self.run.method} needs training pixels to see: samples must be at least 1, not {count}"
            )
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
