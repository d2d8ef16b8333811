"""The networks of the paper (methods B.2), and Scratch, which every method of compression has to beat.

Scratch is a small copy of CNN2D that is trained from random weights.
"""

from hsilib.errors import known
from hsilib.methods.registry import method
from hsilib.models import networks
from hsilib.models.train import VIEWS, flips_and_crops, on_labels

SMALL = (90, 95, 98)  # the sizes of Scratch
PATCHES = "patches"


@method("mlp", "baselines", "MLP", mark="sky o", paper="MLP")
def mlp(task):
    """One hidden layer sees the spectrum; it has 143 units for 200 bands."""
    return task.fit(task.network(networks.MLP))


@method("lstm", "baselines", "LSTM", mark="blue D", paper="LSTM")
def lstm(task):
    """Two LSTM layers read the spectrum in one step, the only reading with the paper's 102,416 parameters."""
    return task.fit(task.network(networks.LSTM))


@method("lstm_review", "baselines", "LSTM, 200 steps", mark="blue d", epochs=1 / 3)
def lstm_review(task):
    """Two LSTM layers read the spectrum band by band, as in the review."""
    return task.fit(task.network(networks.LSTM, review=True))


@method("cnn1d", "baselines", "CNN1D", mark="green o", paper="CNN1D", least=28)
def cnn1d(task):
    """A convolution of length 24 runs along the spectrum."""
    return task.fit(task.network(networks.CNN1D))


def _cnn2d(task):
    """Two 5 x 5 convolutions with batch norm, a max-pool and two linear layers see 19 x 19 patches."""
    o = task.options
    views = VIEWS | {"crops": flips_and_crops}
    augment = views[known("augment", o.augment, views)]
    net = task.network(networks.CNN2D, widths=networks.WIDTHS[task.run.ratio], batch_norm=o.batch_norm)
    return task.fit(net, augment=augment)


def _wide(name, family, title, mark, options, **fields):
    """Register a CNN2D of full width with these options."""
    method(name, family, title, mark=mark, sees=PATCHES, **fields, **options)(_cnn2d)


def _scratch(name, title, mark, options, **fields):
    """Register a Scratch with these options."""
    _wide(name, "controls", title, mark, options, ratios=SMALL, **fields)


OPTIONS = dict(components=40, pca_fit="scene", batch_norm=True, augment="none")
ONE = OPTIONS | {"components": 1}
FLIPS, CROPS = OPTIONS | {"augment": "dihedral"}, OPTIONS | {"augment": "crops"}
BALANCED = dict(balance=1.0, **OPTIONS)  # all classes equally often: the controls for rare classes

_wide("cnn2d_c1", "baselines", "CNN2D (c=1)", "orange s", ONE, paper="CNN2D (c=1)")
_wide("cnn2d", "baselines", "CNN2D (c=40)", "red o", OPTIONS, paper="CNN2D (c=40)")
_wide("cnn2d_aug", "controls", "CNN2D, flips", "red v", FLIPS)
_scratch("scratch", "Scratch", "black o", OPTIONS, paper="Scratch (pruned CNN2D)")
_scratch("scratch_b", "Scratch, twice as long", "dark D", OPTIONS, epochs=2.0)
_scratch("scratch_aug", "Scratch, flips", "grey ^", FLIPS)
_scratch("scratch_crops", "Scratch, flips and crops", "grey v", CROPS)
_wide("cnn2d_balanced", "controls", "CNN2D, balanced batches", "red ^", BALANCED)
_scratch("scratch_balanced", "Scratch, balanced batches", "dark P", BALANCED)


@method(
    "label_smoothing", "controls", "Scratch, smooth labels", mark="light s", sees=PATCHES, ratios=SMALL,
    smoothing=0.1,
)
def label_smoothing(task):
    """Scratch learns labels of which a part is spread over all classes: what an ignorant teacher is worth."""
    net = task.network(networks.CNN2D, widths=networks.WIDTHS[task.run.ratio])

    def loss(model, batch):
        return {"ce": on_labels(model(batch.x).logits, batch.y, smoothing=task.options.smoothing)}

    return task.fit(net, loss=loss)


@method(
    "cnn2d_member", "controls", "CNN2D, another draw", mark="red D", sees=PATCHES, member=1, components=40,
    pca_fit="scene",
)
def cnn2d_member(task):
    """A dense network with other initial weights and batch order is one of the further teachers of CA-MKD."""
    role = f"member{task.options.member}"
    return task.fit(task.network(networks.CNN2D, role=role, widths=networks.WIDTHS[0]), order=role)


@method(
    "cnn3d", "baselines", "CNN3D", mark="pink P", sees=PATCHES, least=39, epochs=0.1, paper="CNN3D",
    components=40, pca_fit="scene",
)
def cnn3d(task):
    """3-D convolutions see space and components, for a tenth of the epochs: each costs ten of CNN2D's."""
    return task.fit(task.network(networks.CNN3D))
