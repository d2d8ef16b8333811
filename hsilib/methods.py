"""The registry of methods, and the baselines.

A method is a function ``train(task) -> model``.  Registering it is all it takes to appear in the store, the tables and
the plots.  Its own hyper-parameters are the keyword arguments of the decorator, each with a default.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace

import numpy as np
import torch

from hsilib import models
from hsilib.errors import known
from hsilib.inputs import make_inputs
from hsilib.train import fit, flips_and_rotations, seed_of, training_set

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


def method(
    name, family, title, *, version=1, ratios=(0,), epochs=1.0, paper="", parents=lambda run: (), by_scene=None, **options
):
    """Register ``train(task) -> model`` under ``name``."""

    def register(train):
        stamp = version
        if not train.__module__.startswith("hsilib."):  # in a notebook the code is the version: an edit is another run
            stamp = f"{version}-{hashlib.sha256(_code(train.__code__).encode()).hexdigest()[:8]}"
        about = " ".join((train.__doc__ or "").split())
        METHODS[name] = Method(
            name, family, title, train, options, by_scene or {}, stamp, tuple(ratios), epochs, paper, about, parents
        )
        return train

    return register


def _code(code):
    """What a function does, as text: its instructions, names and constants, those of inner functions included."""
    inner = [_code(c) if hasattr(c, "co_code") else repr(c) for c in code.co_consts]
    return " ".join([code.co_code.hex(), *code.co_names, *inner])


def get(name):
    return METHODS[known("method", name, METHODS)]


class Task:
    """What a method is given: the run, its scene and split, and how to obtain inputs, seeds and training data."""

    def __init__(self, run, scene, split, device="cpu", parent=None):
        self.run, self.scene, self.split, self.device = run, scene, split, torch.device(device)
        self.options = SimpleNamespace(**dict(run.options))
        self.classes = len(scene.classes)
        self.history = []
        self.parent = parent  # parent(run) -> the trained model of another run

    def seed(self, role):
        """Shared by all methods of a repetition: ``init``, ``order`` ... are the same for every method."""
        return seed_of(self.run.scene, self.run.split, self.run.seed, role)

    @cache  # noqa: B019 - a task lives as long as its run
    def inputs(self, kind):
        o = self.options
        made = make_inputs(self.scene, self.split, kind, getattr(o, "components", 40), getattr(o, "pca_fit", "scene"))
        return made.to(self.device)

    def network(self, net, role="init", **config):
        """A fresh network whose initial weights depend only on the repetition and its own shape."""
        known("kind of the network", getattr(net, "kind", None), ("bands", "patches"))
        bands = self.inputs(net.kind).pixels.shape[1]
        return models.initialise(net(bands, self.classes, **config), self.seed(role)).to(self.device)

    def fit(self, model, **arguments):
        """The training loop on this task's training pixels; keeps the loss terms for the log."""
        data = training_set(self.inputs(model.kind), self.split)
        history = fit(model, data, self.run.recipe, self.seed("order"), **arguments)
        self.history += history
        return model


class Estimator:
    """A scikit-learn classifier behind the same face as a network."""

    def __init__(self, estimator, kind, classes):
        self.estimator, self.kind, self.classes = estimator, kind, classes

    def scores(self, pixels):
        """(N, K); a class without training pixels scores lowest."""
        score = getattr(self.estimator, "decision_function", None) or self.estimator.predict_proba
        found = score(pixels)
        if found.ndim == 1:  # two classes
            found = np.stack([-found, found], 1)
        out = np.full((len(found), self.classes), found.min() - 1)
        out[:, self.estimator.classes_] = found
        return out

    def parameters(self):
        coefficients = getattr(self.estimator, "coef_", None)
        return None if coefficients is None else coefficients.size + self.estimator.intercept_.size


def _classical(task, estimator, kind="bands"):
    pixels = task.inputs(kind).pixels.cpu().numpy()
    estimator.fit(pixels[task.split.train], task.split.train_y)
    return Estimator(estimator, kind, task.classes)


# ------------------------------------------------------------------------------ classical models (methods B.1)

# the reference's settings for Indian Pines, and its own for Pavia; any other scene uses those of Indian Pines


def pavia(**options):
    return {"pavia_university": options}


@method(
    "rf",
    "baselines",
    "RF",
    paper="RF",
    by_scene=pavia(min_samples_split=2, max_features=40, max_depth=60),
    min_samples_split=3,
    max_features=10,
    max_depth=10,
)
def rf(task):
    """Random forest of 200 trees on the standardised bands."""
    from sklearn.ensemble import RandomForestClassifier

    options = dict(task.run.options)
    options["max_features"] = min(options["max_features"], task.scene.cube.shape[2])
    return _classical(task, RandomForestClassifier(200, random_state=task.seed("init") % 2**31, **options))


@method("mlr", "baselines", "MLR", paper="MLR", by_scene=pavia(C=10.0), C=1.0)
def mlr(task):
    """Multinomial logistic regression with an L2 penalty, by L-BFGS, on the standardised bands."""
    from sklearn.linear_model import LogisticRegression

    return _classical(task, LogisticRegression(C=task.options.C, tol=1e-6, max_iter=5000))


@method("svm", "baselines", "SVM", paper="SVM", by_scene=pavia(C=1000.0, gamma=2.0), C=100.0, gamma=0.125, scaling="minmax")
def svm(task):
    """Support vector machine, RBF kernel, on bands scaled to 0..1; scaling="bands" standardises them instead."""
    from sklearn.svm import SVC

    o = task.options
    kind = known("scaling", o.scaling, ("minmax", "bands"))
    return _classical(task, SVC(C=o.C, gamma=o.gamma, tol=1e-7, break_ties=True, cache_size=500), kind)


# ------------------------------------------------------------------------------ networks (methods B.2)


@method("mlp", "baselines", "MLP", paper="MLP")
def mlp(task):
    """One hidden layer of 143 units on the spectrum."""
    return task.fit(task.network(models.MLP))


@method("lstm", "baselines", "LSTM", paper="LSTM")
def lstm(task):
    """Two LSTM layers that read the spectrum in one step: the only reading with the paper's 102,416 parameters."""
    return task.fit(task.network(models.LSTM))


@method("lstm_review", "baselines", "LSTM, 200 steps", epochs=1 / 3)
def lstm_review(task):
    """Two LSTM layers that read the spectrum band by band, as the review does."""
    return task.fit(task.network(models.LSTM, review=True))


@method("cnn1d", "baselines", "CNN1D", paper="CNN1D")
def cnn1d(task):
    """A convolution of length 24 along the spectrum."""
    return task.fit(task.network(models.CNN1D))


def _cnn2d(task):
    """Two 5 x 5 convolutions with batch norm, max-pooling, two fully connected layers on 19 x 19 patches."""
    o = task.options
    known("augment", o.augment, ("none", "dihedral"))
    augment = flips_and_rotations if o.augment == "dihedral" else None
    net = task.network(models.CNN2D, widths=models.WIDTHS[task.run.ratio], batch_norm=o.batch_norm)
    return task.fit(net, augment=augment)


CNN2D_OPTIONS = dict(components=40, pca_fit="scene", batch_norm=True, augment="none")

method("cnn2d_c1", "baselines", "CNN2D (c=1)", paper="CNN2D (c=1)", **{**CNN2D_OPTIONS, "components": 1})(_cnn2d)
method("cnn2d", "baselines", "CNN2D (c=40)", paper="CNN2D (c=40)", **CNN2D_OPTIONS)(_cnn2d)
method("scratch", "controls", "Scratch", ratios=(90, 95, 98), paper="Scratch (pruned CNN2D)", **CNN2D_OPTIONS)(_cnn2d)


@method("cnn3d", "baselines", "CNN3D", epochs=0.1, paper="CNN3D", components=40, pca_fit="scene")
def cnn3d(task):
    """3-D convolutions over space and components; a tenth of the epochs, as each costs ten of CNN2D's."""
    return task.fit(task.network(models.CNN3D))
