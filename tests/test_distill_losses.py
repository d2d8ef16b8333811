"""The losses of distillation, against values worked out by hand."""

from math import exp, log
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hsilib import CNN2D, WIDTHS, Batch, kd, make_run, task_of
from hsilib.methods.distill.cs_kd import Partners, cs_kd
from hsilib.methods.distill.decoupled import decoupled, tckd_nckd
from hsilib.methods.distill.ps_kd import ps_kd
from hsilib.models.train import flips_and_crops

from distill_help import batch_of, one_batch, task_for


def numbers(terms):
    return {name: torch.as_tensor(value).item() for name, value in terms.items()}


def softmax(values):
    total = sum(exp(v) for v in values)
    return [exp(v) / total for v in values]


def kl(p, q):
    return sum(a * log(a / b) for a, b in zip(p, q))


def kd_by_hand(student, teacher, temperature):
    soft = [[softmax([v / temperature for v in row]) for row in z.tolist()] for z in (teacher, student)]
    return temperature**2 * sum(kl(p, q) for p, q in zip(*soft)) / len(student)


def test_decoupled_parts_make_up_the_whole():
    s, t = torch.randn(2, 40, 9, generator=torch.Generator().manual_seed(0)) * 3
    y = torch.randint(9, (40,), generator=torch.Generator().manual_seed(1))
    by_sample = 0
    for i in range(40):
        one = slice(i, i + 1)
        tckd, nckd = tckd_nckd(s[one], t[one], y[one], 4.0)
        by_sample += tckd + (1 - F.softmax(t[one] / 4, 1)[0, y[i]]) * nckd
    assert kd_by_hand(s, t, 4.0) == pytest.approx(float(by_sample) / 40, rel=1e-4)
    sure = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)  # 1 - p is zero in 32 bits
    tckd, _ = tckd_nckd(sure, torch.tensor([[0.0, 9.0, 0.0]]), torch.tensor([0]), 1.0)
    tckd.backward()
    assert torch.isfinite(tckd) and sure.grad.abs().max() > 0.1


@pytest.mark.parametrize(
    "kind, progress, weight",
    [("patches", 0.5 / 60, 0.25), ("patches", 1.5 / 60, 0.5), ("patches", 3.5 / 60, 1.0), ("patches", 1.0, 1.0),
     ("images", 0.01, 1 / 6.4), ("images", 2.5 / 96, 3 / 6.4), ("images", 0.08, 1.0)],
)  # fmt: skip
def test_decoupled_parts_join_over_the_first_epochs(kind, progress, weight):
    """W = 20 of 300 epochs, 4 of 60; an epoch of images is eight passes: W = 20 / 300 of 96."""
    task = task_for("dkd", epochs=60)
    if kind == "images":
        task = task_of(make_run("synthetic_landuse", "random", "ghost_dkd", options={"size": 32}))
    z, t, y = *torch.randn(2, 5, 9), torch.arange(5)
    student, teacher = (SimpleNamespace(logits=scores) for scores in (z, t))
    loss = decoupled(task, SimpleNamespace(kind=kind), lambda index: teacher)
    terms = loss(lambda x: student, Batch(None, None, y, progress))
    assert float(terms["target"]) == pytest.approx(weight * float(tckd_nckd(z, t, y, 4.0)[0]))


# ------------------------------------------------------------------------------ on one batch: each loss by hand


def labels(z, y, share=1.0):
    return {f"ce{i}": share * F.cross_entropy(one, y) for i, one in enumerate(z)}


def listening(progress):
    """When the online methods listen to each other: w(t)."""
    return exp(-5 * (1 - min(progress * 300 / 80, 1)) ** 2)


def said(trial, x):
    """What the student and its teacher say of the batch."""
    return trial.student(x), trial.teachers[0](trial.batch.index)


def soft_targets(trial, x, y, z):
    soft = kd_by_hand(z[0], said(trial, x)[1].logits, 4.0)
    return {"ce": 0.1 * F.cross_entropy(z[0], y), "kd": 0.9 * soft}


def kl_cosine(trial, x, y, z):
    teacher = said(trial, x)[1].logits
    cosine = np.mean([1 - np.corrcoef(s, t)[0, 1] for s, t in zip(z[0], teacher)])
    return {"ce": 0.5 * F.cross_entropy(z[0], y), "kd": 0.25 * kd_by_hand(z[0], teacher, 4.0), "cosine": 0.25 * cosine}


def dkd(trial, x, y, z):
    tckd, nckd = tckd_nckd(z[0], said(trial, x)[1].logits, y, 4.0)
    return {"ce": F.cross_entropy(z[0], y), "target": tckd, "others": 8 * nckd}


def attention_transfer(trial, x, y, z):
    apart = 0
    for tap in ("f1", "f2"):
        maps = [out.taps[tap].square().mean(1).flatten(1) for out in said(trial, x)]
        apart += (maps[0] / maps[0].norm(dim=1, keepdim=True) - maps[1] / maps[1].norm(dim=1, keepdim=True)).square().mean()
    return {"ce": F.cross_entropy(z[0], y), "attention": 1000 * apart}


def correlation_congruence(trial, x, y, z):
    cosines = [F.cosine_similarity(out.taps["e"][:, None], out.taps["e"], dim=2) for out in said(trial, x)]
    kernels = [exp(-0.8) * (1 + 0.8 * c + 0.32 * c * c) for c in cosines]  # expanded to second order
    apart = (kernels[0] - kernels[1]).square().mean()
    return soft_targets(trial, x, y, z) | {"congruence": 100 * apart}


def fitnets(trial, x, y, z):
    student, teacher = said(trial, x)
    apart = trial.extra[0](student.taps["f2"]) - teacher.taps["f2"]
    return {"ce": F.cross_entropy(z[0], y), "hint": 100 * apart.square().mean()}


def simkd(trial, x, y, z):
    student, teacher = said(trial, x)
    return {"feature": (trial.student.fc2[:3](student.taps["e"]) - teacher.taps["e"]).square().mean()}


def dml(trial, x, y, z):  # it listens from the start: no ramp
    return labels(z, y) | {f"kl{i}": kd(z[i], z[1 - i], 1.0) for i in range(2)}


def one(trial, x, y, z):
    share = torch.softmax(trial.extra[0](trial.student.stem(x).mean((2, 3))), 1)
    mixed = sum(share[:, i, None] * z[i] for i in range(3))
    apart = sum(kd(mine, mixed, 3.0) for mine in z)
    return labels(z, y) | {"ce_mixed": F.cross_entropy(mixed, y), "kd": listening(trial.batch.progress) * apart}


def cl_ilr(trial, x, y, z):  # no ramp
    soft = 0
    for h in range(4):
        q = torch.softmax(sum(z[j] for j in range(4) if j != h) / 3 / 2, 1)
        soft -= (q * torch.log_softmax(z[h] / 2, 1)).sum(1).mean()
    return labels(z, y, 0.5) | {"soft": 0.5 * 4 * soft}


def okddip(trial, x, y, z):
    (query, key, *peers), (leader, *z) = trial.extra, z
    h = [net(x).taps["v"] for net in peers]
    apart = kd(leader, sum(z) / 3, 3.0)
    for a in range(3):
        share = torch.softmax(torch.stack([(query(h[a]) * key(h[b])).sum(1) for b in range(3)], 1), 1)
        apart += kd(z[a], sum(share[:, b, None] * z[b] for b in range(3)), 3.0)
    return labels(z, y) | {"ce_leader": F.cross_entropy(leader, y), "kd": listening(trial.batch.progress) * apart}


def ddgsd(trial, x, y, z):
    views = torch.Generator().manual_seed(trial.task.seed("views"))
    a, b = (trial.student(flips_and_crops(x, views)) for _ in range(2))
    return {
        "ce": F.cross_entropy(a.logits, y) + F.cross_entropy(b.logits, y),
        "kd": kd(a.logits, b.logits, 3.0) + kd(b.logits, a.logits, 3.0),
        "mmd": 5e-4 * (a.taps["e"].mean(0) - b.taps["e"].mean(0)).square().sum(),
    }


def tf_kd(trial, x, y, z):  # nearly uniform: 0.99 for the true class, 0.01 for the others together, at T = 20
    virtual = [softmax([(0.99 if k == c else 0.01 / 8) / 20 for k in range(9)]) for c in y.tolist()]
    apart = sum(kl(p, softmax(row)) for p, row in zip(virtual, z[0].tolist())) / len(virtual)
    return {"ce": 0.9 * F.cross_entropy(z[0], y), "kd": 0.1 * apart}


@pytest.mark.parametrize("progress", [0.05, 0.5])
@pytest.mark.parametrize(
    "by_hand",
    [soft_targets, kl_cosine, dkd, attention_transfer, correlation_congruence, fitnets, simkd,
     dml, one, cl_ilr, okddip, ddgsd, tf_kd],
)  # fmt: skip
def test_a_loss_is_what_it_is_by_hand(by_hand, progress):
    trial = one_batch(by_hand.__name__, progress)
    x, y, group = trial.batch.x, trial.batch.y, [trial.student, *(net for net in trial.extra if isinstance(net, CNN2D))]
    with torch.no_grad():
        wanted = by_hand(trial, x, y, [net(x).logits for net in group])
    assert numbers(trial.terms) == pytest.approx(numbers(wanted), rel=1e-3)


def test_cskd_in_full_looks_at_a_partner_without_a_gradient():
    task, asked, said = task_for("cs_kd"), [], []
    net = task.network(CNN2D, widths=WIDTHS[98])
    batch, data = batch_of(task, net), task.data(net)
    task.data = lambda net: data._replace(x=lambda index: asked.append(index) or data.x(index))
    net.register_forward_hook(lambda module, inputs, outputs: said.append(outputs.logits))
    terms = cs_kd(task, net)(net, batch)
    other, mine = said
    by_hand = {"ce": F.cross_entropy(mine, batch.y).item(), "kd": kd_by_hand(mine, other, 4.0)}
    assert numbers(terms) == pytest.approx(by_hand, rel=1e-4) and mine.requires_grad and not other.requires_grad
    assert torch.equal(data.y[asked[0]], batch.y) and not torch.equal(asked[0], batch.index)


def test_partners_are_of_the_same_class_and_of_all_its_samples():
    y = torch.tensor([2, 0, 2, 1, 2, 0])
    partner = Partners(y, 0)
    drawn = torch.stack([partner(y) for _ in range(200)])
    assert (y[drawn] == y).all() and set(drawn[:, 0].tolist()) == {0, 2, 4} and set(drawn[:, 3].tolist()) == {3}


def test_pskd_remembers_by_pixel_not_by_place():
    task = task_for("ps_kd")
    student = task.network(CNN2D, widths=WIDTHS[98]).train()
    loss = ps_kd(task, student)
    first = batch_of(task, student, torch.tensor([5, 9, 2, 7]), 0.1)
    second = batch_of(task, student, torch.tensor([2, 5, 7, 9]), 0.5)
    with torch.no_grad():
        z = student(first.x).logits
        log_p = torch.log_softmax(student(second.x).logits, 1)
    assert loss(student, first)["ce"].item() == pytest.approx(float(F.cross_entropy(z, first.y)))  # first epoch: the labels
    alpha, old = 0.8 * 5 / 10, torch.softmax(z, 1)[[2, 0, 3, 1]]  # of the same pixels
    by_hand = -(((1 - alpha) * F.one_hot(second.y, 9) + alpha * old) * log_p).sum(1).mean()
    assert loss(student, second)["ce"].item() == pytest.approx(float(by_hand), rel=1e-4)
