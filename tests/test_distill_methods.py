"""Whole methods: where gradients end, who teaches whom, what is stored and noted, and mistakes in one's own."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hsilib import CNN2D, WIDTHS, HsiError, Outputs, Store, execute, initialise, make_run, methods, task_of
from hsilib.methods.distill.cl_ilr import Rescale
from hsilib.methods.distill.distillation import Teacher, distillation, portrait, teachers_of, trace
from hsilib.methods.distill.fitnets import regressor
from hsilib.models.train import TrainingSet, flips_and_crops, flips_and_rotations
from torch import nn

from distill_help import NAMES, SMALL, batch_of, one_batch, task_for

# ------------------------------------------------------------------------------ what is held fixed, what learns


def has_gradient(module):
    return any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def same(gradient, by_hand):
    torch.testing.assert_close(gradient, by_hand, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_student_and_never_the_teacher(name):
    trial = one_batch(name)
    assert all(torch.isfinite(v) for v in trial.terms.values())
    sum(trial.terms.values()).backward()
    for key, p in trial.student.named_parameters():
        frozen = name == "simkd" and key.startswith("fc2.3")  # the teacher's classifier
        assert (p.grad is None) == frozen, key
    assert all(map(has_gradient, trial.extra)) and not any(has_gradient(t.net) for t in trial.teachers)
    passes = {"cs_kd": 2, "ddgsd": 2}.get(name, 1)  # batch norm sees each view once
    for module in (m for net in (trial.student, *trial.extra) for m in net.modules()):
        assert not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) or module.num_batches_tracked == passes
    assert len(NAMES) >= 16


@pytest.mark.parametrize(
    "name, term, learns",
    [("dml", "kl0", [True, False]), ("dml", "kl1", [False, True]),  # a network does not learn by teaching
     ("one", "kd", [True, False, True, True]), ("one", "ce_mixed", [True] * 4),  # the gate learns from the labels alone
     ("okddip", "kd", [True] * 6)],  # query and key learn through the targets
)  # fmt: skip
def test_a_term_teaches_the_student_and_what_trains_along_as_published(name, term, learns):
    trial = one_batch(name)
    trial.terms[term].backward()
    assert [has_gradient(getattr(net, "fc2", net)) for net in (trial.student, *trial.extra)] == learns


def test_the_heads_of_clilr_share_a_trunk_that_gets_a_quarter_of_its_gradient(monkeypatch):
    def trunk():
        trial = one_batch("cl_ilr")
        assert len(trial.extra) == 3 and all(head.conv1 is trial.student.conv1 for head in trial.extra)
        return torch.autograd.grad(sum(trial.terms.values()), trial.student.conv1.weight)[0]

    rescaled, x = trunk(), torch.ones(3)
    assert torch.equal(Rescale.apply(x, 4), x)
    monkeypatch.setattr("hsilib.methods.distill.cl_ilr.Rescale", SimpleNamespace(apply=lambda x, heads: x))
    torch.testing.assert_close(rescaled, trunk() / 4)


def test_targets_of_clilr_and_ddgsd_are_constants():
    """With a constant target a soft term asks T (p_s - p_t) of the last bias; of two views, one takes it back."""

    def asked(trial, term):
        return torch.autograd.grad(trial.terms[term], trial.student.fc2.bias)[0]

    trial = one_batch("cl_ilr")
    z = [net(trial.batch.x).logits.detach() for net in (trial.student, *trial.extra)]
    same(asked(trial, "soft"), 0.5 * 2 * (torch.softmax(z[0] / 2, 1) - torch.softmax(sum(z[1:]) / 3 / 2, 1)).mean(0))
    assert asked(one_batch("ddgsd"), "kd").abs().max() < 1e-5


def test_camkd_weighs_unequal_teachers_and_learns_through_the_weights_of_features():
    assert set(one_batch("ca_mkd", progress=0.1).terms) == {"ce", "kd"}  # one epoch of ten: no features yet
    trial = one_batch("ca_mkd")
    terms, batch, (embed,), teachers = trial.terms, trial.batch, trial.extra, trial.teachers
    s, answers = trial.student(batch.x), [teacher(batch.index) for teacher in teachers]
    costs = torch.stack([F.cross_entropy(t.logits, batch.y, reduction="none") for t in answers])
    share = (1 - torch.softmax(costs, 0)) / 2  # the less a teacher errs, the more
    q = torch.softmax(s.logits.detach() / 4, 1)
    apart = torch.stack([(p * (p / q).log()).sum(1) for p in (torch.softmax(t.logits / 4, 1) for t in answers)])
    assert terms["kd"].item() == pytest.approx(16 / 3 * float((share * apart).sum(0).mean()), rel=1e-4)

    maps = [g(s.taps["f2"]) for g in embed]
    costs = [F.cross_entropy(t.net.head(g).logits, batch.y, reduction="none") for t, g in zip(teachers, maps)]
    share = (1 - torch.softmax(torch.stack(costs), 0)) / 2  # not held fixed
    apart = torch.stack([(g - t.taps["f2"]).square().mean((1, 2, 3)) for t, g in zip(answers, maps)])
    losses = (terms["feature"], *(50 / 3 * (w * apart).sum(0).mean() for w in (share, share.detach())))
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-4)
    gradient, by_hand, fixed = (torch.autograd.grad(v, embed[0][0].weight, retain_graph=True)[0] for v in losses)
    same(gradient, by_hand)
    assert (gradient - fixed).abs().max() > 1e-3 * gradient.abs().max()


def test_what_trains_along_has_the_layers_of_its_authors():
    counts = [sum(p.numel() for p in regressor(WIDTHS[ratio][1], 100, 0).parameters()) for ratio in (90, 95, 98)]
    assert counts == [3200, 2200, 1200]
    gate, simkd, (query, key, *_) = one_batch("one").extra[0], one_batch("simkd"), one_batch("okddip").extra
    assert [(m.in_features, m.out_features, m.bias) for m in (query, key)] == 2 * [(250, 31, None)]  # D = 25 * 10, D / 8
    assert [type(m) for m in gate] == [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    last = simkd.student.fc2
    assert [type(m) for m in last] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear] and last[0].bias is None
    assert torch.equal(last[3].weight, simkd.teachers[0].net.fc2.weight)


# ------------------------------------------------------------------------------ teachers and runs


def test_a_recorded_teacher_says_what_the_live_one_does():
    task, net = task_for("soft_targets"), initialise(CNN2D(40, 9), 3).eval()
    batch = batch_of(task, net)
    live, said = net(batch.x), Teacher(net, task.data(net), ("f2", "e"))(batch.index)
    for mine, theirs in ((said.logits, live.logits), *((said.taps[tap], live.taps[tap]) for tap in ("f2", "e"))):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_teachers_are_those_of_the_run_and_differ():
    run = make_run(SMALL, "random", "ca_mkd", 98, seed=1, epochs=2)
    runs = teachers_of(run, 3)
    assert [r.method for r in runs] == ["cnn2d", "cnn2d_member", "cnn2d_member"]
    assert len({r.id for r in runs}) == 3 and {(r.seed, r.split) for r in runs} == {(1, "random")}
    first, second = (methods.get("cnn2d_member").train(of_no_steps(r)).conv1.weight for r in runs[1:])
    assert not torch.equal(first, second)


def of_no_steps(run):
    task = task_of(run)
    task.fit = lambda net, **words: net
    return task


def test_students_start_where_scratch_starts_and_scratch_is_the_limit():
    """Soft targets with no weight on them end bit for bit where Scratch ends."""
    common = dict(scene=SMALL, split="disjoint", ratio=98, epochs=2)
    scratch, _ = execute(make_run(method="scratch", **common), Store())
    plain, _ = execute(make_run(method="soft_targets", options={"hard": 1.0, "soft": 0.0}, **common), Store())
    assert plain["oa"] == scratch["oa"] and plain["kappa"] == scratch["kappa"]


def test_flips_and_crops_move_by_at_most_two():
    x = torch.zeros(200, 1, 19, 19)
    x[:, 0, 9, 9] = 1
    views = flips_and_crops(x, torch.Generator().manual_seed(0))
    assert views.shape == x.shape and torch.equal(views.sum((1, 2, 3)), torch.ones(200))
    places = {divmod(int(p.argmax()), 19) for p in views.flatten(1)}
    assert places == {(i, j) for i in range(7, 12) for j in range(7, 12)}


def test_the_controls_with_views_are_shown_what_they_say():
    shown = {}
    for name in ("scratch", "scratch_aug", "scratch_crops"):
        task = task_for(name)
        task.fit = lambda net, augment, name=name: shown.update({name: augment})
        methods.get(name).train(task)
    assert shown == {"scratch": None, "scratch_aug": flips_and_rotations, "scratch_crops": flips_and_crops}


# ------------------------------------------------------------------------------ notes for the book


def test_portrait_of_a_network_that_knows_the_classes():
    class Knowing(nn.Module):
        def forward(self, x):
            e = F.one_hot(x[:, 0, 0, 0].long(), 4).float()
            maps = torch.zeros(len(x), 2, 11, 11)
            maps[:, :, 3, 4] = 2
            return Outputs(40 * e, {"e": e, "f2": maps})

    y = torch.tensor([0, 1, 1, 2, 2, 2])
    data = TrainingSet(lambda index: y[index].float()[:, None, None, None].expand(-1, 1, 19, 19), y)
    note = portrait(Knowing(), data, 4, range(100, 200), examples=2)
    assert note["similarity"][1] == [0, 1, 0, 0] and note["answers"][2][2] == pytest.approx(1, abs=1e-3)
    assert note["similarity"][3] == [0] * 4  # a class without a training pixel
    looks = note["looks"]
    assert looks["classes"] == [2, 1] and looks["pixels"] == [103, 101] and looks["maps"][0][3][4] == 1


def test_a_trace_keeps_the_last_batch_of_each_epoch():
    task = task_for("ps_kd", epochs=4)
    for progress, value in ((0.1, 1.0), (0.25, 2.0), (0.26, 3.0), (1.0, 4.0)):
        trace(task, "seen", SimpleNamespace(progress=progress), torch.tensor(value))
    assert task.notes == {"seen": {"1": 2.0, "2": 3.0, "4": 4.0}}


# ------------------------------------------------------------------------------ mistakes in a method of one's own


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
        (lambda task, student: lambda m, b: {"x": m(b.x).taps["f3"]}, {}, "the network has no tap 'f3'; it has e, f1, f2, p2, v"),
        (lambda task, student: None, {}, "must return a loss"),
        (lambda task, student, teacher: ce, {"teachers": 2}, "teachers=2 it is called with task, student and 2 more"),
        (lambda task, student: ce, {"taps": ("f3",)}, "unknown tap 'f3'"),
        (lambda task, student: ce, {"family": "offlin"}, "unknown family of distillation 'offlin'"),
        (lambda task, student: ce, {"name": "soft_targets"}, "is taken by a method of hsilib.methods.distill.soft_targets"),
        (lambda task, student, t: lambda m, b: {"x": t(b.index).taps["f2"]}, {"teachers": 1},
         r"keeps no 'f2': name it in distillation\(..., taps=\('f2',\)\)"),
        (lambda task, student, t: lambda m, b: {"x": t(b.x).logits}, {"teachers": 1},
         r"answers are looked up: teacher\(batch.index\), not teacher\(batch.x\)"),
        (lambda task, student: lambda m, b: {"ce": task.options.wieght * ce(m, b)}, {"weight": 0.5},
         "unknown option 'wieght'; did you mean: weight; a hyper-parameter is a keyword of the decorator"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_method_is_one_line(build, fields, message, registered):
    with pytest.raises(HsiError, match=message) as caught:
        distillation(**{"name": "wrong", "title": "Wrong", "family": "mine"} | fields)(build)
        execute(make_run(SMALL, "disjoint", "wrong", 98, epochs=1), Store())
    assert "\n" not in str(caught.value)


def test_a_group_needs_two():
    with pytest.raises(HsiError, match="cl_ilr: heads must be from 2 to 64"):
        task_for("cl_ilr", heads=1)
