"""Whole methods: their losses on networks in training mode, who teaches whom, what is stored and noted, and their limits."""

from math import exp

import pytest
import torch
import torch.nn.functional as F
from hsilib import methods
from hsilib.errors import HsiError
from hsilib.methods.distill.cs_kd import Partners
from hsilib.methods.distill.parts import Teacher, kd, portrait, teachers_of, trace
from hsilib.methods.distill.ps_kd import ps_kd
from hsilib.methods.distill.simkd import Reused
from hsilib.models.measure import parameters
from hsilib.models.networks import CNN2D, WIDTHS, Outputs, initialise
from hsilib.models.train import TrainingSet, flips_and_crops, flips_and_rotations
from hsilib.study.execute import execute, task_of, trained
from hsilib.study.runs import make_run
from hsilib.study.store import Store

from distill_help import BATCH, FAMILIES, SMALL, batch_of, numbers, one_batch, task_for


def test_there_are_sixteen():
    by_family = {f: sum(m.family == f for m in methods.METHODS.values()) for f in FAMILIES}
    assert by_family == {"offline": 8, "online": 4, "self": 4}


def test_a_group_needs_two():
    with pytest.raises(HsiError, match="cl_ilr: heads must be from 2 to 64"):
        methods.get("cl_ilr").prepare(task_for("cl_ilr", heads=1))


# ------------------------------------------------------------------------------ losses in full


def in_full(name, progress=0.5):
    """The terms of one batch as numbers, the trial, and the scores of student and of what trains along as CNN2D."""
    trial = one_batch(name, progress)
    group = trial.student, *(net for net in trial.extra if isinstance(net, CNN2D))
    with torch.no_grad():
        return numbers(trial.terms), trial, [net(trial.batch.x) for net in group]


def test_fitnets_in_full():
    terms, trial, (said,) = in_full("fitnets")
    (regress,), (teacher,) = trial.extra, trial.teachers
    apart = regress(said.taps["f2"]) - teacher(trial.batch.index).taps["f2"]
    by_hand = {"ce": F.cross_entropy(said.logits, trial.batch.y).item(), "hint": 100 * apart.square().mean().item()}
    assert terms == pytest.approx(by_hand, rel=1e-4)


def test_simkd_in_full():
    terms, trial, _ = in_full("simkd")
    student, (teacher,) = trial.student, trial.teachers
    e = student.features(student.block(student.stem(trial.batch.x)))["e"]
    apart = (student.fc2[:3](e) - teacher(trial.batch.index).taps["e"]).square().mean()
    assert terms == pytest.approx({"feature": apart.item()}, rel=1e-4)


def test_camkd_listens_to_features_after_the_first_epoch():
    assert set(one_batch("ca_mkd").terms) == {"ce", "kd", "feature"}
    assert set(one_batch("ca_mkd", progress=0.1).terms) == {"ce", "kd"}  # one epoch of ten


def test_one_teacher_three_times_is_heard_as_one():
    """Equal teachers weigh 1/3 each, and 1/K on top: L_div = KD_T / 3"""
    task, net = task_for("ca_mkd"), initialise(CNN2D(40, 9), 0).eval()
    task.parent = lambda run: net
    student, loss, _, (same, *_) = methods.get("ca_mkd").prepare(task)
    batch = batch_of(task, student, progress=0.1)
    terms = numbers(loss(student.eval(), batch))
    assert terms["kd"] == pytest.approx(float(kd(student(batch.x).logits.detach(), same(batch.index).logits, 4.0)) / 3, rel=1e-4)


# when the online methods listen to each other: w(t)
RAMP = pytest.mark.parametrize("progress, weight", [(0.05, exp(-5 * (1 - 0.05 * 300 / 80) ** 2)), (0.5, 1.0)])


def test_dml_in_full():
    terms, trial, said = in_full("dml", progress=0.05)  # it listens from the start: no ramp
    z = [out.logits for out in said]
    by_hand = {f"ce{i}": float(F.cross_entropy(z[i], trial.batch.y)) for i in range(2)}
    by_hand |= {f"kl{i}": float(kd(z[i], z[1 - i], 1.0)) for i in range(2)}
    assert terms == pytest.approx(by_hand, rel=1e-4)


@RAMP
def test_one_in_full(progress, weight):
    terms, trial, said = in_full("one", progress)
    z, gate = [out.logits for out in said], trial.extra[0]
    share = torch.softmax(gate(trial.student.stem(trial.batch.x).mean((2, 3))), 1).detach()
    mixed = sum(share[:, i, None] * z[i] for i in range(3))
    assert terms["kd"] == pytest.approx(weight * float(sum(kd(one, mixed, 3.0) for one in z)), rel=1e-3)
    assert terms["ce_mixed"] == pytest.approx(float(F.cross_entropy(mixed, trial.batch.y)), rel=1e-4) and len(terms) == 5


def test_clilr_in_full():
    terms, trial, said = in_full("cl_ilr", progress=0.05)  # no ramp
    z, soft = [out.logits for out in said], 0
    for h in range(4):
        q = torch.softmax(sum(z[j] for j in range(4) if j != h) / 3 / 2, 1)
        soft -= float((q * torch.log_softmax(z[h] / 2, 1)).sum(1).mean())
    by_hand = {f"ce{h}": 0.5 * float(F.cross_entropy(z[h], trial.batch.y)) for h in range(4)}
    assert terms == pytest.approx(by_hand | {"soft": 0.5 * 4 * soft}, rel=1e-4)


@RAMP
def test_okddip_in_full(progress, weight):
    terms, trial, (leader, *said) = in_full("okddip", progress)
    z, (query, key, *_) = [out.logits for out in said], trial.extra
    total = kd(leader.logits, sum(z) / 3, 3.0)
    for a in range(3):
        score = torch.stack([(query(said[a].taps["v"]) * key(said[b].taps["v"])).sum(1) for b in range(3)], 1)
        share = torch.softmax(score, 1).detach()
        total += kd(z[a], sum(share[:, b, None] * z[b] for b in range(3)), 3.0)
    assert terms["kd"] == pytest.approx(weight * float(total), rel=1e-3) and "ce_leader" in terms


def test_ddgsd_in_full():
    terms, trial, _ = in_full("ddgsd")
    views, y = torch.Generator().manual_seed(trial.task.seed("views")), trial.batch.y
    with torch.no_grad():
        a, b = (trial.student(flips_and_crops(trial.batch.x, views)) for _ in range(2))
    both = float(kd(a.logits, b.logits, 3.0) + kd(b.logits, a.logits, 3.0))
    apart = float((a.taps["e"].mean(0) - b.taps["e"].mean(0)).square().sum())
    labels = float(F.cross_entropy(a.logits, y) + F.cross_entropy(b.logits, y))
    assert terms == pytest.approx({"ce": labels, "kd": both, "mmd": 5e-4 * apart}, rel=1e-3)


def test_cskd_in_full():
    terms, trial, (said,) = in_full("cs_kd")
    data = trial.task.data(trial.student)
    other = Partners(data.y, trial.task.seed("partners"))(trial.batch.y)
    by_hand = float(kd(said.logits, trial.student(data.x(other)).logits.detach(), 4.0))
    assert terms["kd"] == pytest.approx(by_hand, rel=1e-3)


def test_pskd_remembers_by_pixel_not_by_place():
    task = task_for("ps_kd")
    student = task.network(CNN2D, widths=WIDTHS[98]).train()
    loss = ps_kd(task, student)
    first = batch_of(task, student, torch.tensor([5, 9, 2, 7]), 0.1)
    second = batch_of(task, student, torch.tensor([2, 5, 7, 9]), 0.5)
    with torch.no_grad():
        old = torch.softmax(student(first.x).logits, 1)[[2, 0, 3, 1]]  # of the same pixels
        log_p = torch.log_softmax(student(second.x).logits, 1)
    loss(student, first)
    alpha = 0.8 * 5 / 10
    by_hand = -(((1 - alpha) * F.one_hot(second.y, 9) + alpha * old) * log_p).sum(1).mean()
    assert loss(student, second)["ce"].item() == pytest.approx(float(by_hand), rel=1e-4)


# ------------------------------------------------------------------------------ teachers


def test_recorded_teacher_says_what_the_live_one_does():
    task, net = task_for("soft_targets"), initialise(CNN2D(40, 9), 3).eval()
    batch = batch_of(task, net)
    live, said = net(batch.x), Teacher(net, task.data(net), ("f2", "e"))(batch.index)
    for mine, theirs in ((said.logits, live.logits), *((said.taps[tap], live.taps[tap]) for tap in ("f2", "e"))):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_teachers_are_those_of_the_run():
    nets = {}
    for seed in (0, 1, 0):
        task = task_of(make_run(SMALL, "random", "soft_targets", 98, seed=seed, epochs=2))
        task.parent = lambda run: nets.setdefault(run.id, initialise(CNN2D(40, 9), run.seed).eval())
        student, _, _, (teacher,) = methods.get("soft_targets").prepare(task)
        batch = batch_of(task, student)
        torch.testing.assert_close(teacher(batch.index).logits, teacher.net(batch.x).logits, atol=1e-5, rtol=1e-4)
        assert torch.equal(teacher.net.conv1.weight, initialise(CNN2D(40, 9), seed).conv1.weight)
    other = make_run(SMALL, "disjoint", "soft_targets", 98, epochs=2)
    assert teachers_of(other, 1)[0].id != teachers_of(task.run, 1)[0].id


def test_members_differ_from_the_dense_network_and_share_its_split():
    first, second, third = runs = teachers_of(make_run(SMALL, "random", "ca_mkd", 98, seed=1, epochs=2), 3)
    assert (first.method, second.method, third.method) == ("cnn2d", "cnn2d_member", "cnn2d_member")
    assert len({r.id for r in runs}) == 3 and {r.seed for r in runs} == {1}
    weights = [trained(r).conv1.weight for r in runs]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])


# ------------------------------------------------------------------------------ runs


def test_simkd_is_deployed_with_projector_and_classifier_and_counts_them():
    assert parameters(Reused(40, 16, WIDTHS[90])) == 53_441  # 200 more with the batch norm, which is not counted anywhere
    run = make_run(SMALL, "disjoint", "simkd", 98, epochs=2)
    row, model = execute(run, Store())
    assert row["params"] == parameters(model) == parameters(Reused(40, 9, WIDTHS[98]))
    again, teacher = trained(run), trained(teachers_of(run, 1)[0])
    assert type(again) is Reused and torch.equal(again.fc2[3].weight, teacher.fc2.weight)


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
    x = torch.rand(50, 2, 19, 19)
    unmoved = flips_and_crops(x, torch.Generator().manual_seed(0), pad=0)
    assert torch.equal(unmoved, flips_and_rotations(x, torch.Generator().manual_seed(0)))


def test_the_controls_with_views_are_shown_what_they_say():
    shown = {}
    for name in ("scratch", "scratch_aug", "scratch_crops"):
        task = task_for(name)
        task.fit = lambda net, augment, name=name: shown.update({name: augment})
        methods.get(name).train(task)
    assert shown == {"scratch": None, "scratch_aug": flips_and_rotations, "scratch_crops": flips_and_crops}


# ------------------------------------------------------------------------------ notes for the book


def test_portrait_of_a_network_that_knows_the_classes():
    class Knowing(torch.nn.Module):
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
        trace(task, "seen", BATCH._replace(progress=progress), torch.tensor(value))
    assert task.notes == {"seen": {"1": 2.0, "2": 3.0, "4": 4.0}}
