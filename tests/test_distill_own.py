"""Mistakes in a method of one's own: each is one line that says what is wrong."""

import pytest
import torch
import torch.nn.functional as F
from hsilib import methods
from hsilib.errors import HsiError
from hsilib.methods.distill.distillation import distillation
from hsilib.models.networks import CNN2D
from hsilib.study.execute import execute
from hsilib.study.runs import make_run
from hsilib.study.store import Store

from distill_help import SMALL


def ce(model, batch):
    return F.cross_entropy(model(batch.x).logits, batch.y)


@pytest.mark.parametrize(
    ("build", "fields", "message"),
    [
        (lambda task, student: ce, {}, "wrong 98 % .* seed 0: a loss must return named terms, .* not Tensor"),
        (lambda task, student: lambda m, b: {"ce": 0.5}, {}, "term ce of the loss must be a tensor of one number, not float"),
        (lambda task, student: lambda m, b: {"x": b.x.flatten(1).mean(1)}, {}, r"term x .* not of shape \(100,\); take its mean"),
        (lambda task, student: lambda m, b: {"x": b.x.mean()}, {}, r"no term of the loss \(x\) depends on the network"),
        (lambda task, student: lambda m, b: {"ce": ce(m, b), "x": ce(m, b) / 0}, {}, "diverged in epoch 1: x is not finite"),
        (lambda task, student: None, {}, "must return a loss"),
        (lambda task, student, teacher: ce, {"teachers": 2}, "teachers=2 it is called with task, student and 2 more"),
        (lambda task, student: ce, {"taps": ("f3",)}, "unknown tap 'f3'"),
        (lambda task, student: ce, {"family": "offlin"}, "unknown family of distillation 'offlin'"),
        (lambda task, student: ce, {"name": "soft_targets"}, "is taken by a method of hsilib.methods.distill.soft_targets"),
        (
            lambda task, student, t: lambda m, b: {"ce": ce(m, b) + t(b.index).taps["f2"].mean()},
            {"teachers": 1},
            r"keeps no 'f2': name it in distillation\(..., taps=\('f2',\)\)",
        ),
        (
            lambda task, student, t: lambda m, b: {"ce": ce(m, b) + t(b.x).logits.mean()},
            {"teachers": 1},
            r"answers are looked up: teacher\(batch.index\), not teacher\(batch.x\)",
        ),
        (
            lambda task, student: lambda m, b: {"ce": task.options.wieght * ce(m, b)},
            {"weight": 0.5},
            "unknown option 'wieght'; did you mean: weight; a hyper-parameter is a keyword of the decorator",
        ),
    ],
)
def test_a_mistake_in_a_method_is_one_line(build, fields, message):
    fields = {"name": "wrong", "title": "Wrong", "family": "mine"} | fields
    try:
        with pytest.raises(HsiError, match=message) as caught:
            distillation(**fields)(build)
            execute(make_run(SMALL, "disjoint", "wrong", 98, epochs=1), Store())
        assert "\n" not in str(caught.value)
    finally:
        methods.METHODS.pop("wrong", None)


def test_a_misspelt_tap_of_the_student_is_one_line():
    net = CNN2D(9, 3, (4, 4, 4))
    with pytest.raises(HsiError, match="the network has no tap 'f3'; it has e, f1, f2, p2, v"):
        net(torch.zeros(2, 9, 19, 19)).taps["f3"]
