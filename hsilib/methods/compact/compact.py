"""From a network to a method: what a network of your own has to be.

A network is a class ``Net(bands, classes, **sizes)``.  ``kind`` says what it is given: ``bands`` (spectra,
each band standardised), ``windows`` (19 x 19 of the same, zeros outside of the scene) or ``patches`` (windows
of principal components).  ``config`` holds all arguments it was built with, so that it can be stored and
loaded.  ``forward`` returns ``Outputs``: the logits (B, K) and inner tensors by name, which methods of
distillation may look at.  ``window`` says how much of the middle it looks at, if not all.  Three things are
optional: ``dense``, which gives the logits (K, H, W) of a padded image (1, C, H + 18, W + 18) at once and
must equal the windows; ``start``, which sets first weights from spectra (N, B) of the scene; ``project``, a
1 x 1 convolution, and ``after``, all that follows it: each pixel of a batch is then projected once, which
makes training twice as fast.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from hsilib.data.inputs import MARGIN
from hsilib.data.splits import WINDOW
from hsilib.errors import HsiError, known
from hsilib.methods.registry import OURS, method
from hsilib.models.measure import measured
from hsilib.models.networks import Outputs, initialise, stored
from hsilib.models.train import VIEWS, TrainingSet, on_labels, turned_by, turns

# member: of an ensemble, with other first weights and another order; smoothing: of the labels; balance: how
# much more often rare classes come; average: share of the epochs at the end whose weights are averaged
CONTROLS = dict(member=0, smoothing=0.0, balance=0.0, average=0.0)
RECIPE = dict(epochs=60, lr=2e-3, schedule="one_cycle")  # unless a run says otherwise
KINDS = ("bands", "windows", "patches")


def network(name: str, title: str, *, family: str = "compact", least: int = 1, **fields: Any) -> Callable:
    """Register a network class as a method that trains it on labels.

    least: how many bands it needs; ``mark`` and the like are those of ``method``, and all other words are
    sizes of the network with their defaults.

    >>> @network("one_layer", "One layer", width=8)
    ... class OneLayer(nn.Module):
    ...     kind = "bands"
    ...     def __init__(self, bands, classes, width):
    ...         super().__init__()
    ...         self.config = dict(bands=bands, classes=classes, width=width)
    ...         self.layers = nn.Sequential(nn.Linear(bands, width), nn.ReLU(), nn.Linear(width, classes))
    ...     def forward(self, x):
    ...         return Outputs(self.layers(x), {})
    """
    own = {key: fields.pop(key) for key in ("mark", "version", "epochs", "paper") if key in fields}
    seen = {key: fields.pop(key) for key in ("components", "pca_fit") if key in fields}

    def register(net):
        if not net.__module__.startswith(OURS):  # the library's own are checked by its tests
            check(net, max(least, 12), **fields)
        windows = net.kind != "bands"
        options = fields | CONTROLS | seen | ({"augment": "dihedral"} if windows else {})

        def train(task):
            o = task.options
            made, mean = build(task, net, fields, o.member), Average(task.run.recipe.epochs, o.average)
            words = {"order": f"member{o.member}"} if o.member else {}
            Look(task, made).fit(made, smoothing=o.smoothing, after_epoch=mean, **words)
            made.load_state_dict(mean.weights, strict=False)  # there are none without ``average``
            return made

        train.__doc__, train.__module__ = net.__doc__, net.__module__
        stored(net)
        words = dict(sees="patches" if windows else "", least=least, network=net, config=tuple(fields))
        method(name, family, title, recipe=RECIPE, **words, **own, **options)(train)
        return net

    return register


def build(task, net, sizes, member=0):
    """Return a fresh network of the sizes that the run asks for, its first weights set as it likes."""
    role = f"member{member}" if member else "init"
    made = task.network(net, role, **{key: getattr(task.options, key) for key in sizes})
    if hasattr(made, "start"):
        spectra, rows = task.inputs("bands"), slice(None)
        if task.fit_on == "train":
            rows = torch.from_numpy(task.split.train).to(task.device)
        elif spectra.there is not None:
            rows = spectra.there
        made.start(spectra.pixels[rows])
    return made


class Average:
    """The mean of the weights after each of the last epochs, a share of all."""

    def __init__(self, epochs, share):
        self.first, self.count, self.weights = epochs - round(epochs * share), 0, {}

    @torch.no_grad()
    def __call__(self, model, epoch):
        self.count += epoch >= self.first
        for name, value in model.state_dict().items() if self.count else ():
            if value.is_floating_point():
                before = self.weights.get(name, torch.zeros_like(value))
                self.weights[name] = before + (value - before) / self.count


class Look:
    """How a network in training sees the pixels of a batch: spectra, or windows that are turned at will."""

    def __init__(self, task, net):
        augment = known("augment", getattr(task.options, "augment", "none"), VIEWS)
        self.views = 8 if augment == "dihedral" and net.kind != "bands" else 1
        self.view = None  # (B,), how each window of the batch is turned
        self.task, self.inputs, self.data = task, task.inputs(net.kind), task.data(net)
        self.window = getattr(net, "window", WINDOW)
        self.once = hasattr(net, "after") and self.inputs.disk is None
        pixels = torch.from_numpy(task.split.train).to(task.device)
        if self.once:  # pixels are gathered when it is known how they are turned
            self.data = TrainingSet(lambda position: pixels[position], self.data.y)
        elif self.window < WINDOW:
            self.data = TrainingSet(lambda n: self.inputs.samples(pixels[n], self.window), self.data.y)

    def fit(self, model, *shares, loss=None, smoothing=0.0, **words):
        """Train a network that sees the pixels so; without another loss, on labels."""

        def on_these(model, batch):
            return {"ce": on_labels(self(model, batch), batch.y, smoothing=smoothing)}

        words |= dict(data=self.data, augment=self.draw, loss=loss or on_these)
        return self.task.fit(model, *shares, **words)

    def draw(self, x, generator):
        """Draw how each window is turned; this is what ``fit`` takes as ``augment``."""
        self.view = torch.zeros(len(x), dtype=torch.long)
        if self.views > 1:
            self.view = torch.randint(self.views, (len(x),), generator=generator)
        self.view = self.view.to(x.device)
        return x if self.once or self.views == 1 else turned_by(x, self.view)

    def __call__(self, model, batch):
        """Return the logits of a batch."""
        return model.after(self.projected(model, batch)).logits if self.once else model(batch.x).logits

    def projected(self, model, batch):
        """Return the projected windows of a batch; each pixel in them is projected once."""
        if not self.once:
            return model.project(batch.x)
        window = self.window
        cells = self.inputs.cells(batch.x, window).gather(1, turns(window, batch.x.device)[self.view])
        flat = self.inputs.padded.view(-1, self.inputs.padded.shape[-1])
        seen = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
        seen[cells.flatten()] = True
        place = seen.cumsum(0) - 1
        p = F.linear(flat[seen], model.project.weight.flatten(1), model.project.bias)  # each pixel once
        p = p.index_select(0, place[cells.flatten()]).view(len(cells), window, window, -1)
        return p.permute(0, 3, 1, 2)


@torch.no_grad()
def check(net, bands=12, classes=3, **sizes):
    """Refuse in one line a network that does not keep the contract at the head of this file."""
    name, words = net.__name__, ["bands", "classes", *sizes]
    known(f"kind of {name}", getattr(net, "kind", None), KINDS)
    shape = (2, bands) if net.kind == "bands" else (2, bands, WINDOW, WINDOW)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    doing = f"be built from {', '.join(words)}"
    try:
        made = initialise(net(bands, classes, **sizes), 0).eval()
        doing = f"classify {shape}"
        out = made(x)
    except Exception as error:
        raise HsiError(f"{name} cannot {doing}: {type(error).__name__}: {error}") from None
    config = getattr(made, "config", None)
    if not isinstance(config, dict) or not config.keys() >= set(words):
        raise HsiError(f"{name}.config must hold all it was built with: {', '.join(words)}")
    if not isinstance(out, Outputs) or out.logits.shape != (2, classes):
        raise HsiError(f"{name} must return Outputs(logits of shape (batch, classes), taps)")
    measured(made, x[:1], bands)
    if hasattr(made, "after") and not torch.equal(made.after(made.project(x)).logits, out.logits):
        raise HsiError(f"{name} must be what `after` makes of what `project` makes")
    again = net(**made.config)
    if again.load_state_dict(made.state_dict()) and not torch.equal(again.eval()(x).logits, out.logits):
        raise HsiError(f"{name}: built again from its config and weights it gives other answers")
    if hasattr(made, "dense"):
        sides = 2 + 2 * MARGIN, 3 + 2 * MARGIN  # six pixels
        image = torch.randn((1, bands, *sides), generator=torch.Generator().manual_seed(1))
        windows = torch.cat([image[..., i : i + WINDOW, j : j + WINDOW] for i in range(2) for j in range(3)])
        whole = made.dense(image)
        if whole.shape != (classes, 2, 3):
            says = f"{name}.dense must return scores (classes, rows, columns)"
            raise HsiError(f"{says}, here {(classes, 2, 3)}, not {tuple(whole.shape)}")
        gap = (whole.flatten(1).T - made(windows).logits).abs().max()
        if not gap < 1e-4:
            raise HsiError(f"{name}.dense differs from its windows by {gap:.1e}: it must be exact")
