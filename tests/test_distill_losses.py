"""The parts of the losses, and the losses on two samples and on one batch, against values worked out by hand."""

from math import exp, log
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hsilib import methods
from hsilib.methods.distill.attention import attention_map
from hsilib.methods.distill.ca_mkd import confidence
from hsilib.methods.distill.congruence import correlation
from hsilib.methods.distill.cosine import cosine_distance
from hsilib.methods.distill.cs_kd import Partners, cs_kd
from hsilib.methods.distill.decoupled import decoupled, tckd_nckd
from hsilib.methods.distill.distillation import kd, ramp
from hsilib.methods.distill.ps_kd import ps_kd
from hsilib.methods.distill.tf_kd import tf_kd, virtual_teacher
from hsilib.models.networks import CNN2D, WIDTHS
from hsilib.models.train import TrainingSet, flips_and_crops
from hsilib.study.execute import task_of
from hsilib.study.runs import make_run

from distill_help import BATCH, CE, STUDENT, TEACHER, Fixed, T, Y, Z, batch_of, numbers, on_two_samples, one_batch, task_for


def softmax(values):
    total = sum(exp(v) for v in values)
    return [exp(v) / total for v in values]


def kl(p, q):
    return sum(a * log(a / b) for a, b in zip(p, q))


def kd_by_hand(student, teacher, temperature):
    soft = [[softmax([v / temperature for v in row]) for row in z.tolist()] for z in (teacher, student)]
    return temperature**2 * sum(kl(p, q) for p, q in zip(*soft)) / len(student)


# ------------------------------------------------------------------------------ the parts


def test_kd_and_its_ramp_by_hand():
    assert float(kd(Z, T, 4.0)) == pytest.approx(kd_by_hand(Z, T, 4.0), rel=1e-5)
    assert float(kd(Z, Z, 4.0)) == pytest.approx(0, abs=1e-6)
    assert ramp(0) == pytest.approx(exp(-5)) and ramp(40 / 300) == pytest.approx(exp(-1.25)) and ramp(0.5) == 1 == ramp(1)


def test_attention_map_by_hand():
    maps = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]], [[1.0, 2.0], [0.0, 0.0]]]])  # mean of squares: 1, 2, 0, 2
    torch.testing.assert_close(attention_map(maps), torch.tensor([[1.0, 2.0, 0.0, 2.0]]) / 3)


def kernel(cosine):
    """The kernel of correlation congruence, expanded to second order."""
    return exp(-0.8) * (1 + 0.8 * cosine + 0.32 * cosine * cosine)


def test_correlation_by_hand():
    matrix = correlation(torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]))
    assert matrix[0].tolist() == pytest.approx([kernel(1), kernel(0), kernel(2**-0.5)], rel=1e-5)


def test_confidence_by_hand():
    costs = torch.tensor([[0.0], [log(2.0)], [log(5.0)]])  # softmax 1/8, 2/8, 5/8
    assert confidence(costs).flatten().tolist() == pytest.approx([7 / 16, 6 / 16, 3 / 16])  # the less cost the more


def test_cosine_by_hand():
    assert float(cosine_distance(Z, 3 * Z + 7)) == pytest.approx(0, abs=1e-6)
    assert float(cosine_distance(torch.tensor([[1.0, -1, 0]]), torch.tensor([[1.0, 1, -2]]))) == pytest.approx(1)


def test_decoupled_parts_make_up_the_whole():
    s, t = torch.randn(2, 40, 9, generator=torch.Generator().manual_seed(0)) * 3
    y = torch.randint(9, (40,), generator=torch.Generator().manual_seed(1))
    whole, by_sample = 0, 0
    for i in range(40):
        one = slice(i, i + 1)
        tckd, nckd = tckd_nckd(s[one], t[one], y[one], 4.0)
        p = F.softmax(t[one] / 4, 1)[0, y[i]]
        whole, by_sample = whole + kd(s[one], t[one], 4.0), by_sample + tckd + (1 - p) * nckd
    assert float(whole) == pytest.approx(float(by_sample), rel=1e-4)
    sure = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)  # 1 - p is zero in 32 bits
    tckd, _ = tckd_nckd(sure, torch.tensor([[0.0, 9.0, 0.0]]), Y[:1], 1.0)
    tckd.backward()
    assert torch.isfinite(tckd) and sure.grad.abs().max() > 0.1


def test_virtual_teacher_is_nearly_uniform():
    target = virtual_teacher(Y, 16, 0.99, 20.0)
    assert target[0, :2].tolist() == pytest.approx([0.0655, 0.0623], abs=1e-4) and target.sum(1).tolist() == pytest.approx([1, 1])


def test_partners_are_of_the_same_class_and_of_all_its_samples():
    y = torch.tensor([2, 0, 2, 1, 2, 0])
    partner = Partners(y, 0)
    drawn = torch.stack([partner(y) for _ in range(200)])
    assert (y[drawn] == y).all() and set(drawn[:, 0].tolist()) == {0, 2, 4} and set(drawn[:, 3].tolist()) == {3}


# ------------------------------------------------------------------------------ on two samples


def test_offline_losses_on_two_samples():
    soft, cosine = float(kd(Z, T, 4.0)), float(cosine_distance(Z, T))
    assert on_two_samples("soft_targets") == pytest.approx({"ce": 0.1 * CE, "kd": 0.9 * soft})
    assert on_two_samples("kl_cosine") == pytest.approx({"ce": 0.5 * CE, "kd": 0.25 * soft, "cosine": 0.25 * cosine})
    tckd, nckd = (float(v) for v in tckd_nckd(Z, T, Y, 4.0))
    assert on_two_samples("dkd") == pytest.approx({"ce": CE, "target": tckd, "others": 8 * nckd})


@pytest.mark.parametrize("epoch, weight", [(1, 0.25), (2, 0.5), (4, 1.0), (60, 1.0)])
def test_decoupled_parts_join_over_the_first_epochs(epoch, weight):
    """W = 20 of 300 epochs, 4 of 60"""
    terms = on_two_samples("dkd", progress=(epoch - 0.5) / 60, epochs=60)
    assert terms["target"] == pytest.approx(weight * float(tckd_nckd(Z, T, Y, 4.0)[0]))


@pytest.mark.parametrize("progress, weight", [(0.01, 1 / 6.4), (2.5 / 96, 3 / 6.4), (0.08, 1.0)])
def test_on_images_they_join_over_the_first_passes(progress, weight):
    """An epoch of images is eight passes: W = 20 / 300 of 96."""
    student = Fixed(Z, kind="images")
    task = task_of(make_run("synthetic_landuse", "random", "ghost_dkd", options={"size": 32}))
    terms = decoupled(task, student, TEACHER)(student, BATCH._replace(progress=progress))
    assert float(terms["target"]) == pytest.approx(weight * float(tckd_nckd(Z, T, Y, 4.0)[0]))


def test_attention_and_congruence_on_two_samples():
    generator = torch.Generator().manual_seed(0)
    sizes = {"f1": (2, 5, 15, 15), "f2": (2, 5, 11, 11), "e": (2, 5)}
    mine, theirs = ({tap: torch.rand(size, generator=generator) for tap, size in sizes.items()} for _ in range(2))
    at = on_two_samples("attention_transfer", student=Fixed(Z, mine), teacher=Fixed(T, theirs))
    by_hand = 0
    for tap in ("f1", "f2"):
        q = [(v := f[tap].square().mean(1).flatten(1)) / v.norm(dim=1, keepdim=True) for f in (mine, theirs)]
        by_hand += float((q[0] - q[1]).square().mean())
    assert at == pytest.approx({"ce": CE, "attention": 1000 * by_hand}, rel=1e-4)
    cc = on_two_samples("correlation_congruence", student=Fixed(Z, mine), teacher=Fixed(T, theirs))
    alike = [kernel(float(F.cosine_similarity(f["e"][:1], f["e"][1:]))) for f in (mine, theirs)]
    # only the two off-diagonal of four differ
    by_hand = {"ce": 0.1 * CE, "kd": 0.9 * float(kd(Z, T, 4.0)), "congruence": 100 * (alike[0] - alike[1]) ** 2 / 2}
    assert cc == pytest.approx(by_hand, rel=1e-3)


def three_classes(name, data=None):
    """A task with as many classes as the two samples know, and with the options of a method."""
    recipe = SimpleNamespace(recipe=SimpleNamespace(epochs=4))
    own = dict(options=SimpleNamespace(**methods.get(name).options), data=lambda net: data, seed=lambda role: 0)
    return SimpleNamespace(classes=3, run=recipe, notes={}, **own)


def test_losses_without_a_teacher_on_two_samples():
    target = virtual_teacher(Y, 3, 0.99, 20.0).tolist()
    by_hand = sum(kl(p, softmax(z)) for p, z in zip(target, Z.tolist())) / 2
    terms = tf_kd(three_classes("tf_kd"), STUDENT)(STUDENT, BATCH)
    assert numbers(terms) == pytest.approx({"ce": 0.9 * CE, "kd": 0.1 * by_hand}, rel=1e-4)
    # of CS-KD the network says what it sees: Z of the batch, T of the only other pixel of the class
    data = TrainingSet(lambda index: T.flip(0)[index], Y.flip(0))
    terms = cs_kd(three_classes("cs_kd", data), None)(lambda x: SimpleNamespace(logits=x), BATCH._replace(x=Z))
    assert numbers(terms) == pytest.approx({"ce": CE, "kd": kd_by_hand(Z, T, 4.0)}, rel=1e-5)
    loss = ps_kd(three_classes("ps_kd", SimpleNamespace(y=Y)), STUDENT)
    assert loss(STUDENT, BATCH._replace(progress=0.25))["ce"].item() == pytest.approx(CE)  # first epoch: the labels
    target = 0.6 * F.one_hot(Y, 3) + 0.4 * F.softmax(Z, 1)  # second epoch: alpha = 0.8 * 2 / 4
    by_hand = float(-(target * F.log_softmax(Z, 1)).sum(1).mean())
    assert loss(STUDENT, BATCH)["ce"].item() == pytest.approx(by_hand)


# ------------------------------------------------------------------------------ on one batch


def in_full(name, progress=0.5):
    """The terms of one batch as numbers, the trial, and the scores of student and of what trains along as CNN2D."""
    trial = one_batch(name, progress)
    group = trial.student, *(net for net in trial.extra if isinstance(net, CNN2D))
    with torch.no_grad():
        return numbers(trial.terms), trial, [net(trial.batch.x) for net in group]


def test_fitnets_and_simkd_in_full():
    terms, trial, (said,) = in_full("fitnets")
    apart = trial.extra[0](said.taps["f2"]) - trial.teachers[0](trial.batch.index).taps["f2"]
    by_hand = {"ce": F.cross_entropy(said.logits, trial.batch.y).item(), "hint": 100 * apart.square().mean().item()}
    assert terms == pytest.approx(by_hand, rel=1e-4)
    terms, trial, _ = in_full("simkd")
    student, (teacher,) = trial.student, trial.teachers
    e = student.features(student.block(student.stem(trial.batch.x)))["e"]
    apart = (student.fc2[:3](e) - teacher(trial.batch.index).taps["e"]).square().mean()
    assert terms == pytest.approx({"feature": apart.item()}, rel=1e-4)


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
