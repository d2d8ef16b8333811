"""All methods: the registry, the baselines, and the families in rooms of their own."""

import numpy as np
import torch.nn.functional as F

from hsilib import distill, landuse, models, prune, quantize  # noqa: F401 - a family registers its methods when it is imported
from hsilib.errors import known
from hsilib.registry import METHODS, Task, family, get, method  # noqa: F401 - the door for users and notebooks
from hsilib.train import flips_and_crops, flips_and_rotations


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


@method("rf", "baselines", "RF", paper="RF", by_scene=pavia(min_samples_split=2, max_features=40, max_depth=60),
        min_samples_split=3, max_features=10, max_depth=10)  # fmt: skip
def rf(task):
    """Random forest of 200 trees on the standardised bands."""
    from sklearn.ensemble import RandomForestClassifier

    options = dict(task.run.options)
    options["max_features"] = min(options["max_features"], task.inputs("bands").pixels.shape[1])
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
    views = {"none": None, "dihedral": flips_and_rotations, "crops": flips_and_crops}
    augment = views[known("augment", o.augment, views)]
    net = task.network(models.CNN2D, widths=models.WIDTHS[task.run.ratio], batch_norm=o.batch_norm)
    return task.fit(net, augment=augment)


CNN2D_OPTIONS = dict(components=40, pca_fit="scene", batch_norm=True, augment="none")

method("cnn2d_c1", "baselines", "CNN2D (c=1)", paper="CNN2D (c=1)", **{**CNN2D_OPTIONS, "components": 1})(_cnn2d)
method("cnn2d", "baselines", "CNN2D (c=40)", paper="CNN2D (c=40)", **CNN2D_OPTIONS)(_cnn2d)
method("scratch", "controls", "Scratch", ratios=(90, 95, 98), paper="Scratch (pruned CNN2D)", **CNN2D_OPTIONS)(_cnn2d)
method("scratch_b", "controls", "Scratch, twice as long", ratios=(90, 95, 98), epochs=2.0, **CNN2D_OPTIONS)(_cnn2d)
for name, title, how in (("scratch_aug", "Scratch, flips", "dihedral"), ("scratch_crops", "Scratch, flips and crops", "crops")):
    method(name, "controls", title, ratios=(90, 95, 98), **CNN2D_OPTIONS | {"augment": how})(_cnn2d)

BALANCED = dict(balance=1.0, **CNN2D_OPTIONS)  # all classes equally often: the controls for rare classes
method("cnn2d_balanced", "controls", "CNN2D, balanced batches", **BALANCED)(_cnn2d)
method("scratch_balanced", "controls", "Scratch, balanced batches", ratios=(90, 95, 98), **BALANCED)(_cnn2d)


@method("label_smoothing", "controls", "Scratch, smooth labels", ratios=(90, 95, 98), smoothing=0.1)
def label_smoothing(task):
    """Scratch with a part of every label spread over all classes: what a teacher that knows nothing is worth."""
    net = task.network(models.CNN2D, widths=models.WIDTHS[task.run.ratio])

    def loss(model, batch):
        return {"ce": F.cross_entropy(model(batch.x).logits, batch.y, label_smoothing=task.options.smoothing)}

    return task.fit(net, loss=loss)


@method("cnn2d_member", "controls", "CNN2D, another draw", member=1, components=40, pca_fit="scene")
def cnn2d_member(task):
    """A dense network on the same split with other initial weights and batch order: the further teachers of CA-MKD."""
    role = f"member{task.options.member}"
    return task.fit(task.network(models.CNN2D, role=role, widths=models.WIDTHS[0]), order=role)


@method("cnn3d", "baselines", "CNN3D", epochs=0.1, paper="CNN3D", components=40, pca_fit="scene")
def cnn3d(task):
    """3-D convolutions over space and components; a tenth of the epochs, as each costs ten of CNN2D's."""
    return task.fit(task.network(models.CNN3D))
