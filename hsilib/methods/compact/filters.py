"""Filters that cost no bytes: means before a network of one spectrum, means or a vote after any network.

They are the cheapest rivals of a network that looks at windows; methods J.  Only pixels of the scene count: a
mean at its border is of fewer.
"""

from copy import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.data.inputs import MARGIN, middle
from hsilib.data.splits import WINDOW
from hsilib.errors import HsiError
from hsilib.methods.baselines.classical import Estimator
from hsilib.methods.compact.taught import alone
from hsilib.methods.quantize.modes import original
from hsilib.methods.registry import dense, get, method
from hsilib.models.networks import Around


def mean(x, there, size):
    """Return the mean over size x size pixels of (B, C, h, w) where ``there`` (B, 1, h, w) is 1."""

    def add(values):
        return F.avg_pool2d(values, size, 1, size // 2, divisor_override=1)

    return x if size == 1 else add(x * there) / add(there).clamp(min=1)


def smoothed(scores, there, after, vote):
    """Return scores (K, h, w) after a mean of their log softmax and a vote of the classes around a pixel."""
    out = mean(F.log_softmax(scores, 0)[None], there, after)
    if vote > 1:  # of equal counts the class of lowest number wins
        out = mean(F.one_hot(out.argmax(1), out.shape[1]).permute(0, 3, 1, 2).float(), there, vote)
    return out[0]


def odd(**sizes):
    """Refuse sizes of filters that have no centre."""
    for name, size in sizes.items():
        if size % 2 == 0:
            raise HsiError(f"{name} must be an odd number from 1 to {WINDOW}, not {size}")


def image_of(inputs, values):
    """Return values (H*W, C) of all pixels as (1, C, H, W), and where they are, as (1, 1, H, W)."""
    there = torch.ones(inputs.count)
    if inputs.there is not None:
        there = torch.zeros(inputs.count).index_fill_(0, inputs.there.cpu(), 1)
    return values.T.reshape(1, -1, *inputs.shape), there.view(1, 1, *inputs.shape).to(values)


def averaged(inputs, size):
    """Return the same inputs, each spectrum the mean of those around it."""
    return replace(inputs, pixels=mean(*image_of(inputs, inputs.pixels), size).flatten(2)[0].T.contiguous())


class Before(Around):
    """A network of spectra that sees their mean over ``before`` x ``before`` pixels of a window."""

    averages = True  # its first layer is given means of what the network is given

    def __init__(self, net, config, before):
        super().__init__(net, config)
        self.config = dict(net=net, config=config, before=before)
        self.kind, self.window = "windows", before

    def forward(self, x):
        """Classify windows (B, bands, 19, 19); pixels outside of the scene are zeros in all bands."""
        x = middle(x, self.window)
        return self.net(x.sum((2, 3)) / x.any(1).sum((1, 2)).clamp(min=1)[:, None])

    def dense(self, image):
        x = mean(image, image.any(1, keepdim=True).to(image), self.window)
        x = x[0, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
        parts = [self.net(part).logits for part in x.flatten(1).T.split(1 << 14)]
        return torch.cat(parts).T.view(-1, *x.shape[1:])


class After(Around):
    """A trained network whose scores are averaged, or whose classes are voted on, over the scene.

    A window alone has no neighbours: of it ``forward`` gives what the network within gives.
    """

    at_once = True  # a scene is one call

    def __init__(self, net, config, after, vote):
        super().__init__(net, config)
        self.config = dict(net=net, config=config, after=after, vote=vote)
        self.sizes, self.inner = (after, vote), self.kind
        self.kind = "windows" if self.kind == "bands" else self.kind
        self.dense = self.filtered

    def forward(self, x):
        return self.net(x[:, :, MARGIN, MARGIN] if self.inner == "bands" else x)

    def filtered(self, image):
        """Return the filtered scores (K, H, W) of every pixel of a padded image (1, C, H+18, W+18)."""
        there = image[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN].any(1, keepdim=True).to(image)
        return smoothed(self.scores(image), there, *self.sizes)

    def scores(self, image):
        """Return the scores (K, H, W) that the network within gives."""
        if hasattr(self.net, "dense"):
            return self.net.dense(image)
        rows = []
        for row in image[0].unfold(1, WINDOW, 1).unbind(1):  # (C, W + 18, 19)
            if self.inner == "bands":
                x = row[:, MARGIN:-MARGIN, MARGIN].T
            else:  # (W, C, 19, 19)
                x = row.unfold(1, WINDOW, 1).permute(1, 0, 2, 3)
            rows.append(self.net(x).logits.T)
        return torch.stack(rows, 1)


class FilteredEstimator(Estimator):
    """A classical model with a mean before and with means or a vote after it."""

    def __init__(self, inner, before, after, vote):
        super().__init__(inner.estimator, inner.kind, inner.classes)
        self.sizes = before, after, vote

    def scene(self, inputs):
        """Return the filtered scores (H*W, K) of every pixel."""
        size, *sizes = self.sizes
        scores = self.scores(averaged(inputs, size).pixels.cpu().numpy())
        image, there = image_of(inputs, torch.from_numpy(scores))
        return smoothed(image[0], there, *sizes).flatten(1).T.numpy()


def means_before(of, mark):
    """Register the method ``of``, a network of spectra or a classical model, on means of spectra."""
    source = get(of)

    def train(task):
        """The mean spectrum of the pixels around takes the place of a pixel's own."""
        o, view = task.options, copy(task)
        odd(before=o.before)
        view.inputs = lambda kind: averaged(task.inputs(kind), o.before)  # all else is as it is
        net = source.train(view)
        if source.network:
            return Before.holding(net, task.device, before=o.before)
        odd(after=o.after, vote=o.vote)
        return FilteredEstimator(net, o.before, o.after, o.vote)

    words = dict(sees="patches", least=source.least, recipe=source.recipe, by_scene=source.by_scene, before=3)
    words |= {} if source.network else dict(after=1, vote=1)
    method(f"{of}_mean", "rivals", f"{source.title}, means", mark=mark, **words, **source.options)(train)


means_before("perceptron", "sky v")
means_before("perceptron_wide", "sky X")
means_before("liunet", "green v")
means_before("mlr", "grey s")
means_before("svm", "slate v")
CHANGES = dict(before=0, balance=0.0)  # of the method whose network is filtered; 0: as it has them


def source_of(run):
    """Return the run whose network's scores are filtered: that of ``of``, or its integer form."""
    said = dict(run.options)
    source = get(said["of"])
    if 0 not in source.ratios:
        raise HsiError(f"{said['of']} has no network of one size")
    changes = {key: said[key] for key in CHANGES if said[key] and key in source.options}
    plain = alone(run, said["of"], **changes)
    if not said["int8"]:
        return plain
    static = dense(run, "static", of=said["of"])
    if original(static) != plain:
        raise HsiError(f"{run.method}: the integer form of {said['of']} is that of its usual options")
    return static


@method(
    "filtered", "rivals", "Filtered", mark="green X", sees="patches", parents=lambda run: (source_of(run),),
    of="perceptron", after=1, vote=1, int8=False, **CHANGES,
)
def filtered(task):
    """Scores of a trained network are averaged over the pixels around, or its classes are voted on."""
    o, net = task.options, task.parent(source_of(task.run))
    odd(after=o.after, vote=o.vote)
    if not isinstance(net, nn.Module):
        raise HsiError(f"{o.of} is no network; use mlr_mean or svm_mean with before=1")
    return After.holding(net, task.device, after=o.after, vote=o.vote)
