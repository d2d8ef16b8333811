"""The networks of the paper (methods B.2), and Scratch: the small copies of CNN2D, trained from random weights, that every
method of compression has to beat."""

import torch.nn.functional as F

from hsilib.errors import known
from hsilib.models import networks
from hsilib.models.train import flips_and_crops, flips_and_rotations
from hsilib.registry import method


@method("mlp", "baselines", "MLP", mark="sky o", paper="MLP")
def mlp(task):
    """One hidden layer of 143 units on the spectrum."""
    return task.fit(task.network(networks.MLP))


@method("lstm", "baselines", "LSTM", mark="blue D", paper="LSTM")
def lstm(task):
    """Two LSTM layers that read the spectrum in one step: the only reading with the paper's 102,416 parameters."""
    return task.fit(task.network(networks.LSTM))


@method("lstm_review", "baselines", "LSTM, 200 steps", mark="blue d", epochs=1 / 3)
def lstm_review(task):
    """Two LSTM layers that read the spectrum band by band, as the review does."""
    return task.fit(task.network(networks.LSTM, review=True))


@method("cnn1d", "baselines", "CNN1D", mark="green o", paper="CNN1D")
def cnn1d(task):
    """A convolution of length 24 along the spectrum."""
    return task.fit(task.network(networks.CNN1D))


def _cnn2d(task):
    """Two 5 x 5 convolutions with batch norm, max-pooling, two fully connected layers on 19 x 19 patches."""
    o = task.options
    views = {"none": None, "dihedral": flips_and_rotations, "crops": flips_and_crops}
    augment = views[known("augment", o.augment, views)]
    net = task.network(networks.CNN2D, widths=networks.WIDTHS[task.run.ratio], batch_norm=o.batch_norm)
    return task.fit(net, augment=augment)


CNN2D_OPTIONS = dict(components=40, pca_fit="scene", batch_norm=True, augment="none")

method(
    "cnn2d_c1", "baselines", "CNN2D (c=1)", mark="orange s", paper="CNN2D (c=1)",
    **{**CNN2D_OPTIONS, "components": 1}
)(_cnn2d)
method("cnn2d", "baselines", "CNN2D (c=40)", mark="red o", paper="CNN2D (c=40)", **CNN2D_OPTIONS)(_cnn2d)
method(
    "scratch", "controls", "Scratch", mark="black o", ratios=(90, 95, 98), paper="Scratch (pruned CNN2D)",
    **CNN2D_OPTIONS
)(_cnn2d)
method(
    "scratch_b", "controls", "Scratch, twice as long", mark="dark D", ratios=(90, 95, 98), epochs=2.0,
    **CNN2D_OPTIONS
)(_cnn2d)
FLIPS, CROPS = CNN2D_OPTIONS | {"augment": "dihedral"}, CNN2D_OPTIONS | {"augment": "crops"}
method("scratch_aug", "controls", "Scratch, flips", mark="grey ^", ratios=(90, 95, 98), **FLIPS)(_cnn2d)
method("scratch_crops", "controls", "Scratch, flips and crops", mark="grey v", ratios=(90, 95, 98), **CROPS)(
    _cnn2d
)

BALANCED = dict(balance=1.0, **CNN2D_OPTIONS)  # all classes equally often: the controls for rare classes
method("cnn2d_balanced", "controls", "CNN2D, balanced batches", mark="red ^", **BALANCED)(_cnn2d)
method(
    "scratch_balanced", "controls", "Scratch, balanced batches", mark="dark P", ratios=(90, 95, 98),
    **BALANCED
)(_cnn2d)


@method(
    "label_smoothing", "controls", "Scratch, smooth labels", mark="light s", ratios=(90, 95, 98),
    smoothing=0.1
)
def label_smoothing(task):
    """Scratch with a part of every label spread over all classes: what a teacher that knows nothing is worth."""
    net = task.network(networks.CNN2D, widths=networks.WIDTHS[task.run.ratio])

    def loss(model, batch):
        return {"ce": F.cross_entropy(model(batch.x).logits, batch.y, label_smoothing=task.options.smoothing)}

    return task.fit(net, loss=loss)


@method(
    "cnn2d_member", "controls", "CNN2D, another draw", mark="red D", member=1, components=40, pca_fit="scene"
)
def cnn2d_member(task):
    """A dense network on the same split with other initial weights and batch order: the further teachers of CA-MKD."""
    role = f"member{task.options.member}"
    return task.fit(task.network(networks.CNN2D, role=role, widths=networks.WIDTHS[0]), order=role)


@method(
    "cnn3d", "baselines", "CNN3D", mark="pink P", epochs=0.1, paper="CNN3D", components=40, pca_fit="scene"
)
def cnn3d(task):
    """3-D convolutions over space and components; a tenth of the epochs, as each costs ten of CNN2D's."""
    return task.fit(task.network(networks.CNN3D))
