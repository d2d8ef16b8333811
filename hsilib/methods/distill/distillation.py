"""From a loss to a method of distillation.

A method is one function ``build(task, student, *teachers) -> loss`` or ``(loss, *modules that train along)``;
``loss(model, batch)`` returns named terms, which the one training loop sums and logs.  Registering it with
``distillation`` gives it a student with Scratch's initial weights and Scratch's recipe, a row in the tables
and a mark in the plots.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch

from hsilib.errors import HsiError, known
from hsilib.methods.distill.parts import portrait, recorded, teachers_of
from hsilib.methods.registry import method
from hsilib.models import evaluate
from hsilib.models.networks import CNN2D, WIDTHS
from hsilib.models.train import Loss

LossAndModules = tuple[Loss, *tuple[torch.nn.Module, ...]]  # with the modules that train along
Build = Callable[..., Loss | LossAndModules]  # build(task, student, *teachers)


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

        fields.setdefault("ratios", (90, 95, 98))
        parents = {"parents": lambda run: teachers_of(run, teachers)}
        method(name, family, title, sees="patches", prepare=prepare, **parents, **fields)(train)
        return build

    return register
