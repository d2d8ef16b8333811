"""What a method is given: the run, its scene and split, and how to obtain inputs, seeds and training data."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from hsilib.data.inputs import WINDOWED, Images, Inputs, make_inputs
from hsilib.data.scenes import Scene
from hsilib.data.splits import TRANSFER, Split, seed_of
from hsilib.errors import HsiError, known
from hsilib.identity import Run
from hsilib.methods.registry import OURS
from hsilib.models.measure import measured
from hsilib.models.networks import initialise
from hsilib.models.train import TrainingSet, balanced, fit, shuffled, training_set


class NoOption(HsiError, AttributeError):
    """An option that the method was not registered with."""


class Options(SimpleNamespace):
    """The hyper-parameters of a run, by name."""

    def __getattr__(self, name: str) -> Any:
        try:
            return known("option", name, vars(self))
        except HsiError as error:
            raise NoOption(f"{error}; a hyper-parameter is a keyword of the decorator") from None


class Task:
    """One run as its method sees it, with the hyper-parameters in ``task.options``.

    >>> scene = load_scene("synthetic_urban_small")
    >>> run = make_run(scene.name, "random", "mlp", epochs=1)
    >>> task = Task(run, scene, split_of(scene, "random"))
    >>> model = task.fit(task.network(MLP))
    """

    def __init__(
        self, run: Run, scene: Scene, split: Split, device: str | torch.device = "cpu",
        parent: Callable[[Run], nn.Module] | None = None,
    ) -> None:
        self.run, self.scene, self.split, self.device = run, scene, split, torch.device(device)
        self.options = Options(**dict(run.options))
        self.classes = len(scene.classes)
        self.history: list[dict[str, float]] = []  # loss terms per epoch
        self.notes: dict[str, Any] = {}  # what else the book shows: kept filters, accuracy before tuning ...
        self.parent = parent  # parent(run) -> the trained model of another run
        self._inputs: dict[str, Inputs | Images] = {}

    def seed(self, role: str) -> int:
        """Return the seed of ``init``, ``order`` ..., which all methods of a repetition share."""
        return seed_of(self.run.scene, self.run.split, self.run.seed, role)

    def inputs(self, kind: str) -> Inputs | Images:
        """Return what a network of this kind sees of the scene; it is computed once."""
        if kind not in self._inputs:
            self._inputs[kind] = self._make_inputs(kind, self.options).to(self.device)
        return self._inputs[kind]

    def _make_inputs(self, kind, o):
        if (kind == "images") != self.scene.of_images:
            what = "a set of images" if kind == "images" else "a hyperspectral scene"
            raise HsiError(f"{self.run.method} needs {what}, which {self.run.scene} is not")
        if kind == "images":
            return Images(torch.from_numpy(self.scene.read(o.size)))
        return make_inputs(self.scene, self.split, kind, vars(o).get("components", 40), self.fit_on)

    @property
    def fit_on(self) -> str:
        """The pixels that means, components and scales are estimated on: ``scene``, or ``train`` alone.

        In a transfer it is always these, for the image that is asked about is not at hand.
        """
        return "train" if self.split.name in TRANSFER else vars(self.options).get("pca_fit", "scene")

    def network(self, net: type[nn.Module], role: str = "init", **config: Any) -> nn.Module:
        """Build a fresh network whose initial weights depend only on the repetition and on its own shape."""
        kind = known("kind of the network", getattr(net, "kind", None), (*WINDOWED, "bands", "images"))
        seed, inputs = self.seed(role), self.inputs(kind)
        sample = inputs.samples(torch.zeros(1, dtype=torch.long, device=self.device))
        made = initialise(net(sample.shape[1], self.classes, **config), seed).to(self.device)
        if not net.__module__.startswith(OURS):  # what cannot be measured is refused before it is trained
            measured(made, sample, inputs.bands, sample.shape[1])
            made.train()
        return made

    def data(self, model: nn.Module) -> TrainingSet:
        """Return the training pixels as inputs of this model."""
        return training_set(self.inputs(model.kind), self.split)

    def balanced(self, model: nn.Module, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw inputs of ``count`` training pixels, rare classes as often as common ones while they last."""
        data = self.data(model)
        share = 1 / torch.bincount(data.y)[data.y]
        chosen = torch.multinomial(share.cpu(), min(count, len(data.y)), generator=generator)
        return data.x(chosen.to(data.y.device))

    def fit(
        self, model: nn.Module, epochs: float = 1.0, rate: float = 1.0, order: str = "order",
        data: TrainingSet | None = None, **arguments: Any,
    ) -> nn.Module:
        """Train for a share of the recipe's epochs and rate, and keep the loss terms for the log.

        A method with the option ``balance`` is given batches in which rare classes come more often.  ``data``
        are the training pixels, if they are to be given in another way.  All further arguments are those of
        ``hsilib.fit``.
        """
        recipe, data = self.run.recipe, data or self.data(model)
        if (epochs, rate) != (1, 1):
            recipe = replace(recipe, epochs=max(1, round(recipe.epochs * epochs)), lr=recipe.lr * rate)
        power = vars(self.options).get("balance", 0)
        draw = balanced(data.y, power) if power else shuffled
        self.history += fit(model, data, recipe, self.seed(order), draw=draw, **arguments)
        return model
