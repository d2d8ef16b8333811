"""From a loss to a method of distillation.

A method is one function ``build(task, student, *teachers) -> loss`` or ``(loss, *modules that train along)``;
``loss(model, batch)`` returns named terms, which the one training loop sums and logs.  Registering it with
``distillation`` gives it a student with Scratch's initial weights and Scratch's recipe, a row in the tables
and a mark in the plots.  Below it stands what several methods share.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hsilib.errors import HsiError, known
from hsilib.methods.registry import dense, method
from hsilib.models import evaluate
from hsilib.models.networks import CNN2D, WIDTHS, Outputs
from hsilib.models.train import Loss

Build = Callable[..., Loss | tuple[Loss, *tuple[torch.nn.Module, ...]]]  # build(task, student, *teachers)


def distillation(
    name: str, title: str, family: str, *, teachers: int = 0, taps: Sequence[str] = (),
    network: type[CNN2D] = CNN2D, **fields: Any
) -> Callable[[Build], Build]:
    """Register ``build(task, student, *teachers)`` as a method of distillation.

    teachers: how many dense networks teach (``build`` is given them); taps: which of their inner tensors are
    looked at (``f1``, ``f2``, ``p2``, ``e``); network: the student's class, if it is deployed as something
    other than CNN2D.  All other words are those of ``method``.

    >>> @distillation("soft_only", "Soft answers only", "mine", teachers=1, temperature=4.0)
    ... def soft_only(task, student, teacher):
    ...     def loss(model, batch):
    ...         z = model(batch.x).logits
    ...         return {"kd": kd(z, teacher(batch.index).logits, task.options.temperature)}
    ...     return loss
    """

    known("family of distillation", family, ("offline", "online", "self", "controls", "mine"))
    for tap in taps:
        known("tap", tap, ("f1", "f2", "p2", "e"))

    def register(build):
        try:
            inspect.signature(build).bind(*range(2 + teachers))
        except TypeError:
            says = f"with teachers={teachers} it is called with task, student and {teachers} more"
            raise HsiError(f"{name}: {says}") from None

        def prepare(task):
            """The student, what it is trained with, and its teachers."""
            student = task.network(network, widths=WIDTHS[task.run.ratio])
            taught_by = recorded(task, task.data(student), teachers_of(task.run, teachers), taps)
            made = build(task, student, *taught_by)
            loss, *extra = made if isinstance(made, tuple) else (made,)
            if not callable(loss):
                raise HsiError("it must return a loss: a function of the model and a batch")
            return student, loss, extra, taught_by

        @wraps(build)
        def train(task):
            student, loss, extra, taught_by = prepare(task)
            task.fit(student, loss=loss, extra=extra)
            if task.run.seed == 0:  # one of each is enough to look at
                for who, net in zip(("student", "teacher"), (student, *(t.net for t in taught_by))):
                    task.notes[who] = portrait(net, task.data(student), task.classes, task.split.train)
            group = [student, *(m for m in extra if isinstance(m, CNN2D))]
            if len(group) > 1:  # all heads together: what could be had, were they all deployed
                scores = sum(evaluate.scene_scores(net, task.inputs(net.kind)) for net in group)
                together = evaluate.metrics(scores[task.split.test], task.split.test_y)
                task.notes["ensemble"] = float(together["oa"])
            return student

        words = {"ratios": (90, 95, 98)} | fields
        parents = {"parents": lambda run: teachers_of(run, teachers)}
        method(name, family, title, sees="patches", prepare=prepare, **parents, **words)(train)
        return build

    return register


def kd(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return KD_T(z_s, z_t) = T^2 KL(p_t^T || p_s^T), mean over the batch, from scores (B, K).

    Detach the teacher's scores where the method does.

    >>> loss = 0.9 * kd(s.logits, t.logits, temperature=4.0)
    """
    student, teacher = (F.log_softmax(z / temperature, 1) for z in (student, teacher))
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def ramp(progress: float, length: float = 80 / 300) -> float:
    """Return w(t) = exp(-5 (1 - min(t, R) / R)^2): how soon the online methods listen to each other.

    >>> round(ramp(0.1), 3), ramp(0.5)
    (0.142, 1.0)
    """
    return math.exp(-5 * (1 - min(progress, length) / length) ** 2)


def epoch_of(task, batch, passes=1):
    """Return the epoch a batch belongs to, from 1; or the pass, where an epoch has several."""
    return math.ceil(batch.progress * task.run.recipe.epochs * passes - 1e-6)


def trace(task, name, batch, values):
    """Note a tensor once an epoch, for the book: what the last batch of the epoch showed."""
    task.notes.setdefault(name, {})[str(epoch_of(task, batch))] = rounded(values)


def rounded(values):
    """Return a tensor as lists of rounded numbers, which a note can hold."""
    return np.round(values.detach().float().cpu().numpy(), 3).tolist()


class Taps(dict):
    """The inner tensors that a teacher keeps of each training pixel; any other is an error that says how."""

    def __missing__(self, tap):
        raise HsiError(f"the teacher keeps no {tap!r}: name it in distillation(..., taps=({tap!r},))")


class Teacher:
    """A trained network whose outputs on all training pixels are computed once, then looked up."""

    def __init__(self, net, data, taps):
        self.net, self.taps = net, taps
        parts, places = [], torch.arange(len(data.y), device=data.y.device)
        at_once = max(1, min(500, 20_000_000 // data.x(places[:1]).numel()))  # fewer of large images
        with torch.no_grad():
            for index in places.split(at_once):
                logits, inner = net.eval()(data.x(index))
                parts.append([logits, *(inner[tap] for tap in taps)])
        self.outputs = [torch.cat(tensors) for tensors in zip(*parts)]

    def __call__(self, index):
        """Return what the teacher says of the training pixels ``index``, which a batch carries."""
        if index.ndim != 1 or index.is_floating_point():
            raise HsiError("a teacher's answers are looked up: teacher(batch.index), not teacher(batch.x)")
        logits, *taps = (values[index] for values in self.outputs)
        return Outputs(logits, Taps(zip(self.taps, taps)))


def recorded(task, data, runs, taps=()):
    """Return the teachers that these runs trained."""
    return [Teacher(task.parent(run).requires_grad_(False), data, taps) for run in runs]


def teachers_of(run, count):
    """Return the runs of the teachers, all of which see what the student sees.

    The first is the dense network of the same repetition; the others differ from it in initial weights and
    batch order only.
    """
    seen = {name: value for name, value in run.options if name in ("components", "pca_fit")}
    others = (dense(run, "cnn2d_member", member=k, **seen) for k in range(1, count))
    return (dense(run, **seen), *others) if count else ()


def peers(task, student, count, share=True):
    """Build further networks of the student's shape, which learn with it and are thrown away.

    share: whether they stand on the student's first layer.
    """
    made = [task.network(CNN2D, role=f"peer{i}", widths=WIDTHS[task.run.ratio]) for i in range(1, count + 1)]
    for net in made if share else ():
        net.conv1, net.bn1 = student.conv1, student.bn1
    return made


@torch.no_grad()
def portrait(net, data, classes, pixels, examples=3):
    """Measure on the training pixels what the book shows of a network.

    similarity: how alike its classes are, as cosines between their mean features; answers: what it softly
    says of each class; looks: where it looks on a few pixels of different classes.  ``pixels`` are the places
    of the training pixels in the scene.
    """
    logits, features = Teacher(net, data, ("e",)).outputs
    members = F.one_hot(data.y, classes).float().T
    members = members / members.sum(1, keepdim=True).clamp(min=1)  # rows average over the pixels of a class
    mean = F.normalize(members @ features)
    largest = torch.bincount(data.y).argsort(descending=True, stable=True)
    largest = largest[: min(examples, len(data.y.unique()))]
    index = torch.stack([(data.y == c).nonzero()[0, 0] for c in largest])
    maps = F.normalize(net(data.x(index)).taps["f2"].square().mean(1).flatten(1)).view(len(index), 11, 11)
    places = [int(pixels[i]) for i in index]
    return {
        "similarity": rounded(mean @ mean.T), "answers": rounded(members @ F.softmax(logits / 4.0, 1)),
        "looks": {"classes": largest.tolist(), "pixels": places, "maps": rounded(maps)},
    }
