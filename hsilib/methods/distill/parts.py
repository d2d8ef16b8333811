"""What several methods of distillation share: soft loss, recorded teacher, peers, and notes for the book."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from hsilib.errors import HsiError
from hsilib.identity import Run
from hsilib.methods.registry import dense
from hsilib.methods.task import Task
from hsilib.models.networks import CNN2D, WIDTHS, Outputs
from hsilib.models.train import Batch, TrainingSet


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


def epoch_of(task: Task, batch: Batch, passes: int = 1) -> int:
    """Return the epoch a batch belongs to, from 1; or the pass, where an epoch has several."""
    return math.ceil(batch.progress * task.run.recipe.epochs * passes - 1e-6)


def trace(task: Task, name: str, batch: Batch, values: torch.Tensor) -> None:
    """Note a tensor once an epoch, for the book: what the last batch of the epoch showed."""
    task.notes.setdefault(name, {})[str(epoch_of(task, batch))] = rounded(values)


def rounded(values: torch.Tensor, digits: int = 3) -> list:
    """Return a tensor as lists of rounded numbers, which a note can hold."""
    return np.round(values.detach().float().cpu().numpy(), digits).tolist()


class Taps(dict):
    """The inner tensors that a teacher keeps of each training pixel; any other is an error that says how."""

    def __missing__(self, tap):
        raise HsiError(f"the teacher keeps no {tap!r}: name it in distillation(..., taps=({tap!r},))")


class Teacher:
    """A trained network whose outputs on all training pixels are computed once, then looked up."""

    def __init__(self, net: torch.nn.Module, data: TrainingSet, taps: Sequence[str]) -> None:
        self.net, self.taps = net, taps
        parts, places = [], torch.arange(len(data.y), device=data.y.device)
        at_once = max(1, min(500, 20_000_000 // data.x(places[:1]).numel()))  # fewer of large images
        with torch.no_grad():
            for index in places.split(at_once):
                logits, inner = net.eval()(data.x(index))
                parts.append([logits, *(inner[tap] for tap in taps)])
        self.outputs = [torch.cat(tensors) for tensors in zip(*parts)]

    def __call__(self, index: torch.Tensor) -> Outputs:
        """Return what the teacher says of the training pixels ``index``, which a batch carries."""
        if index.ndim != 1 or index.is_floating_point():
            raise HsiError("a teacher's answers are looked up: teacher(batch.index), not teacher(batch.x)")
        logits, *taps = (values[index] for values in self.outputs)
        return Outputs(logits, Taps(zip(self.taps, taps)))


def recorded(
    task: Task, data: TrainingSet, runs: Iterable[Run], taps: Sequence[str] = ()
) -> list[Teacher]:
    """Return the teachers that these runs trained."""
    return [Teacher(task.parent(run).requires_grad_(False), data, taps) for run in runs]


def teachers_of(run: Run, count: int) -> tuple[Run, ...]:
    """Return the runs of the teachers, all of which see what the student sees.

    The first is the dense network of the same repetition; the others differ from it in initial weights and
    batch order only.
    """
    seen = {name: value for name, value in run.options if name in ("components", "pca_fit")}
    others = (dense(run, "cnn2d_member", member=k, **seen) for k in range(1, count))
    return (dense(run, **seen), *others) if count else ()


def peers(task: Task, student: CNN2D, count: int, share: bool = True) -> list[CNN2D]:
    """Build further networks of the student's shape, which learn with it and are thrown away.

    share: whether they stand on the student's first layer.
    """
    if count < 1:
        raise HsiError(f"{task.run.method} needs at least two networks that learn from each other")
    made = [task.network(CNN2D, role=f"peer{i}", widths=WIDTHS[task.run.ratio]) for i in range(1, count + 1)]
    for net in made if share else ():
        net.conv1, net.bn1 = student.conv1, student.bn1
    return made


@torch.no_grad()
def portrait(
    net: torch.nn.Module, data: TrainingSet, classes: int, pixels: Sequence[int], examples: int = 3,
    temperature: float = 4.0
) -> dict:
    """Measure on the training pixels what the book shows of a network.

    similarity: how alike its classes are, as cosines between their mean features; answers: what it softly
    says of each class; looks: where it looks on a few pixels of different classes.  ``pixels`` are the places
    of the training pixels in the scene.
    """
    logits, features = Teacher(net, data, ("e",)).outputs
    soft = F.softmax(logits / temperature, 1)
    members = F.one_hot(data.y, classes).float().T
    members = members / members.sum(1, keepdim=True).clamp(min=1)  # rows average over the pixels of a class
    mean = F.normalize(members @ features)
    largest = torch.bincount(data.y).argsort(descending=True, stable=True)
    largest = largest[: min(examples, len(data.y.unique()))]
    index = torch.stack([(data.y == c).nonzero()[0, 0] for c in largest])
    maps = F.normalize(net(data.x(index)).taps["f2"].square().mean(1).flatten(1)).view(len(index), 11, 11)
    places = [int(pixels[i]) for i in index]
    return {
        "similarity": rounded(mean @ mean.T),
        "answers": rounded(members @ soft),
        "looks": {"classes": largest.tolist(), "pixels": places, "maps": rounded(maps)},
    }
