"""What the tests of distillation share: one batch of a registered method."""

import itertools
from types import SimpleNamespace

import torch
from hsilib import CNN2D, Batch, initialise, make_run, methods, task_of

SMALL = "synthetic_urban_small"
NAMES = [m.name for m in methods.METHODS.values() if m.family in ("offline", "online", "self")]
PIXELS = torch.arange(77, 0, -5)  # sixteen training pixels, none of them at its own place in the batch


def task_for(name, epochs=10, **options):
    """The task of a run at 98 %; its teachers are untrained networks, each different from the others."""
    task = task_of(make_run(SMALL, "disjoint", name, 98, epochs=epochs, options=options))
    seeds = itertools.count()
    task.parent = lambda run: initialise(CNN2D(40, 9), next(seeds)).eval()
    return task


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
