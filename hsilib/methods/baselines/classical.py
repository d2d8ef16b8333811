"""Classical models on the spectrum (methods B.1), behind the same face as a network.

Each has the reference's settings for Indian Pines and for Pavia; any other scene uses those of Indian Pines.
"""

import numpy as np

from hsilib.errors import known
from hsilib.methods.registry import method


class Estimator:
    """A scikit-learn classifier behind the same face as a network."""

    def __init__(self, estimator, kind, classes):
        self.estimator, self.kind, self.classes = estimator, kind, classes

    def scores(self, pixels):
        """Return the class scores (N, K); a class without training pixels scores lowest."""
        score = getattr(self.estimator, "decision_function", None) or self.estimator.predict_proba
        given = score(pixels)
        if given.ndim == 1:  # two classes
            given = np.stack([-given, given], 1)
        out = np.full((len(given), self.classes), given.min() - 1)
        out[:, self.estimator.classes_] = given
        return out

    def parameters(self):
        """Count the coefficients and intercepts; None where the model has none."""
        coefficients = getattr(self.estimator, "coef_", None)
        return None if coefficients is None else coefficients.size + self.estimator.intercept_.size


def _classical(task, estimator, kind="bands"):
    pixels = task.inputs(kind).pixels.cpu().numpy()
    estimator.fit(pixels[task.split.train], task.split.train_y)
    return Estimator(estimator, kind, task.classes)


def pavia(**options):
    """Return hyper-parameters as those of Pavia, in each of its forms, for ``by_scene``."""
    forms = ("", "_visible", "_spectra", "_three")
    scenes = *(f"pavia_university{form}" for form in forms), "pavia_centre_visible", "pavia_pair_visible"
    return dict.fromkeys(scenes, options)


@method(
    "rf", "baselines", "RF", mark="light s", paper="RF", min_samples_split=3, max_features=10, max_depth=10,
    by_scene=pavia(min_samples_split=2, max_features=40, max_depth=60),
)
def rf(task):
    """A random forest of 200 trees classifies the standardised bands."""
    from sklearn.ensemble import RandomForestClassifier

    options = dict(task.run.options)
    options["max_features"] = min(options["max_features"], task.inputs("bands").pixels.shape[1])
    return _classical(task, RandomForestClassifier(200, random_state=task.seed("init") % 2**31, **options))


@method("mlr", "baselines", "MLR", mark="grey v", paper="MLR", C=1.0, by_scene=pavia(C=10.0))
def mlr(task):
    """Multinomial logistic regression, with an L2 penalty and L-BFGS, classifies the standardised bands."""
    from sklearn.linear_model import LogisticRegression

    return _classical(task, LogisticRegression(C=task.options.C, tol=1e-6, max_iter=5000))


@method(
    "svm", "baselines", "SVM", mark="slate ^", paper="SVM", C=100.0, gamma=0.125, scaling="minmax",
    by_scene=pavia(C=1000.0, gamma=2.0),
)
def svm(task):
    """A support vector machine, RBF kernel, sees bands scaled to 0..1; scaling="bands" standardises them."""
    from sklearn.svm import SVC

    o = task.options
    kind = known("scaling", o.scaling, ("minmax", "bands"))
    return _classical(task, SVC(C=o.C, gamma=o.gamma, tol=1e-7, break_ties=True, cache_size=500), kind)
