"""What the tests of distillation share: two samples worked out by hand, and one batch of a registered method."""

import itertools
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from hsilib import CNN2D, Batch, Outputs, initialise, make_run, methods, task_of

SMALL = "synthetic_urban_small"
BUILDERS = {name: m.train.__wrapped__ for name, m in methods.METHODS.items() if m.family in ("offline", "online", "self")}

Z = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 1.0]])  # what the student says of two samples
T = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 2.0]])  # what its teacher says
Y = torch.tensor([0, 2])
BATCH = Batch(torch.arange(2), torch.zeros(2, 40, 19, 19), Y, 0.5)
CE = float(F.cross_entropy(Z, Y))

PIXELS = torch.arange(77, 0, -5)  # sixteen training pixels, none of them at its own place in the batch


class Fixed:
    """A network that says the same whatever it sees."""

    def __init__(self, logits, taps=None, kind="patches"):
        self.outputs, self.kind = Outputs(logits, taps or {}), kind

    def __call__(self, x):
        return self.outputs


STUDENT, TEACHER = Fixed(Z), Fixed(T)


def task_for(name, epochs=10, **options):
    """The task of a run at 98 %; its teachers are untrained networks, each different from the others."""
    task = task_of(make_run(SMALL, "disjoint", name, 98, epochs=epochs, options=options))
    seeds = itertools.count()
    task.parent = lambda run: initialise(CNN2D(40, 9), next(seeds)).eval()
    return task


def numbers(terms):
    return {name: value.item() for name, value in terms.items()}


def on_two_samples(name, student=STUDENT, teacher=TEACHER):
    """The terms of a method with one teacher on the two samples."""
    return numbers(BUILDERS[name](task_for(name), student, teacher)(student, BATCH))


def batch_of(task, net, index=PIXELS, progress=0.5):
    data = task.data(net)
    return Batch(index, data.x(index), data.y[index], progress)


def one_batch(name, progress=0.5):
    """Let a registered method look at one batch, with its networks in training mode; ``extra`` trains along."""
    task = task_for(name)
    student, loss, extra, teachers = methods.get(name).prepare(task)
    batch = batch_of(task, student, progress=progress)
    for net in (student, *extra):
        net.train()
    terms = loss(student, batch)
    return SimpleNamespace(terms=terms, batch=batch, task=task, student=student, extra=extra, teachers=teachers)
