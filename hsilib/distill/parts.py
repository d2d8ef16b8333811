"""What several methods of distillation share: the soft loss, the recorded teacher, peers, and notes for the book."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from hsilib.errors import HsiError
from hsilib.models.networks import CNN2D, WIDTHS, Outputs
from hsilib.registry import dense


def kd(student, teacher, temperature):
    """KD_T(z_s, z_t) = T^2 KL(p_t^T || p_s^T), mean over the batch.  Detach the teacher where the method does."""
    student, teacher = (F.log_softmax(z / temperature, 1) for z in (student, teacher))
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def ramp(progress, length=80 / 300):
    """w(t) = exp(-5 (1 - min(t, R) / R)^2): how soon the online methods listen to each other."""
    return math.exp(-5 * (1 - min(progress, length) / length) ** 2)


def epoch_of(task, batch, passes=1):
    """The epoch a batch belongs to, from 1; or the pass, where an epoch has several."""
    return math.ceil(batch.progress * task.run.recipe.epochs * passes - 1e-6)


def trace(task, name, batch, values):
    """Note a tensor once an epoch, for the book: what the last batch of the epoch showed."""
    task.notes.setdefault(name, {})[str(epoch_of(task, batch))] = rounded(values)


def rounded(values, digits=3):
    return np.round(values.detach().float().cpu().numpy(), digits).tolist()


class Taps(dict):
    """The inner tensors that a teacher keeps of every training pixel."""

    def __missing__(self, tap):
        raise HsiError(f"the teacher keeps no {tap!r}: name it in distillation(..., taps=({tap!r},))")


class Teacher:
    """A trained network, and its outputs on every training pixel: computed once, then looked up."""

    def __init__(self, net, data, taps):
        self.net, self.taps = net, taps
        found, places = [], torch.arange(len(data.y), device=data.y.device)
        at_once = max(1, min(500, 20_000_000 // data.x(places[:1]).numel()))  # fewer of large images
        with torch.no_grad():
            for index in places.split(at_once):
                logits, every = net.eval()(data.x(index))
                found.append([logits, *(every[tap] for tap in taps)])
        self.known = [torch.cat(parts) for parts in zip(*found)]

    def __call__(self, index):
        logits, *taps = (values[index] for values in self.known)
        return Outputs(logits, Taps(zip(self.taps, taps)))


def recorded(task, data, runs, taps=()):
    """The teachers that these runs trained."""
    return [Teacher(task.parent(run).requires_grad_(False), data, taps) for run in runs]


def teachers_of(run, count):
    """The dense network of the same repetition, then others that differ in initial weights and batch order only; all see
    what the student sees."""
    seen = {name: value for name, value in run.options if name in ("components", "pca_fit")}
    return tuple(
        dense(run, "cnn2d_member", member=k, **seen) if k else dense(run, **seen) for k in range(count)
    )


def peers(task, student, count, share=True):
    """Further networks of the student's shape, which learn with it and are thrown away; ``share``: on its first layer."""
    if count < 1:
        raise HsiError(f"{task.run.method} needs at least two networks that learn from each other")
    made = [task.network(CNN2D, role=f"peer{i}", widths=WIDTHS[task.run.ratio]) for i in range(1, count + 1)]
    for net in made if share else ():
        net.conv1, net.bn1 = student.conv1, student.bn1
    return made


@torch.no_grad()
def pictures(net, data, classes, pixels, examples=3, temperature=4.0):
    """What the book shows of a network, on the training pixels (of these places in the scene): how alike its classes are
    (cosine between the mean features), what it softly answers for each class, and where it looks on a few pixels of
    different classes."""
    logits, features = Teacher(net, data, ("e",)).known
    soft = F.softmax(logits / temperature, 1)
    members = F.one_hot(data.y, classes).float().T
    members = members / members.sum(1, keepdim=True).clamp(min=1)  # rows average over the pixels of a class
    mean = F.normalize(members @ features)
    largest = torch.bincount(data.y).argsort(descending=True, stable=True)[
        : min(examples, len(data.y.unique()))
    ]
    index = torch.stack([(data.y == c).nonzero()[0, 0] for c in largest])
    looks = F.normalize(net(data.x(index)).taps["f2"].square().mean(1).flatten(1)).view(len(index), 11, 11)
    return {
        "similarity": rounded(mean @ mean.T),
        "answers": rounded(members @ soft),
        "looks": {
            "classes": largest.tolist(), "pixels": [int(pixels[i]) for i in index], "maps": rounded(looks)
        },
    }
