"""The parts of the losses, and the losses on two samples, against values worked out by hand and in their limiting cases."""

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
from hsilib.methods.distill.okddip import attention
from hsilib.methods.distill.parts import kd, ramp
from hsilib.methods.distill.ps_kd import ps_kd
from hsilib.methods.distill.tf_kd import tf_kd, virtual_teacher
from hsilib.models.train import TrainingSet
from hsilib.study.execute import task_of
from hsilib.study.runs import make_run

from distill_help import BATCH, CE, STUDENT, TEACHER, Fixed, T, Y, Z, numbers, on_two_samples


def softmax(values):
    total = sum(exp(v) for v in values)
    return [exp(v) / total for v in values]


def kl(p, q):
    return sum(a * log(a / b) for a, b in zip(p, q))


def kd_by_hand(student, teacher, temperature):
    soft = [[softmax([v / temperature for v in row]) for row in z.tolist()] for z in (teacher, student)]
    return temperature**2 * sum(kl(p, q) for p, q in zip(*soft)) / len(student)


# ------------------------------------------------------------------------------ the parts


def test_kd_by_hand():
    student = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 1.0]])
    assert float(kd(student, Z, 4.0)) == pytest.approx(kd_by_hand(student, Z, 4.0), rel=1e-5)
    assert float(kd(Z, Z, 4.0)) == pytest.approx(0, abs=1e-6)


def test_kd_at_high_temperature_is_the_distance_of_centred_scores():
    """T^2 KL -> |(z_s - mean) - (z_t - mean)|^2 / (2 K)"""
    s, t = torch.randn(2, 50, 9, generator=torch.Generator().manual_seed(0)).double()
    apart = (s - s.mean(1, keepdim=True)) - (t - t.mean(1, keepdim=True))
    assert float(kd(s, t, 1000.0)) == pytest.approx(float(apart.square().sum(1).mean()) / 18, rel=0.01)


def test_ramp():
    assert ramp(0) == pytest.approx(exp(-5)) and ramp(40 / 300) == pytest.approx(exp(-1.25)) and ramp(0.5) == 1 == ramp(1)


def test_attention_map_by_hand():
    maps = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]], [[1.0, 2.0], [0.0, 0.0]]]])  # mean of squares: 1, 2, 0, 2
    torch.testing.assert_close(attention_map(maps), torch.tensor([[1.0, 2.0, 0.0, 2.0]]) / 3)
    torch.testing.assert_close(attention_map(5 * maps), attention_map(maps))


def kernel(cosine):
    """The kernel of correlation congruence, expanded to second order."""
    return exp(-0.8) * (1 + 0.8 * cosine + 0.32 * cosine * cosine)


def test_correlation_by_hand():
    e = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    matrix = correlation(e)
    assert matrix[0].tolist() == pytest.approx([kernel(1), kernel(0), kernel(2**-0.5)], rel=1e-5)
    gaussian = torch.exp(-0.4 * torch.cdist(F.normalize(e), F.normalize(e)) ** 2)  # what is expanded
    assert (matrix - gaussian).abs().max() < 0.06


def test_confidence_by_hand():
    costs = torch.tensor([[0.0], [log(2.0)], [log(5.0)]])  # softmax 1/8, 2/8, 5/8
    assert confidence(costs).flatten().tolist() == pytest.approx([7 / 16, 6 / 16, 3 / 16])  # the less cost the more


def test_cosine_by_hand():
    assert float(cosine_distance(Z, 3 * Z + 7)) == pytest.approx(0, abs=1e-6)
    assert float(cosine_distance(Z, -Z)) == pytest.approx(2)
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


def test_decoupled_by_hand():
    p, q = softmax([1.0, 0.0, 1.0]), softmax([2.0, 0.0, -1.0])
    tckd, nckd = tckd_nckd(Z[:1], T[:1], Y[:1], 1.0)
    assert float(tckd) == pytest.approx(kl([p[0], 1 - p[0]], [q[0], 1 - q[0]]), rel=1e-5)
    assert float(nckd) == pytest.approx(kl(softmax([0.0, 1.0]), softmax([0.0, -1.0])), rel=1e-5)


def test_virtual_teacher_is_nearly_uniform():
    target = virtual_teacher(Y, 16, 0.99, 20.0)
    assert target[0, :2].tolist() == pytest.approx([0.0655, 0.0623], abs=1e-4) and target.sum(1).tolist() == pytest.approx([1, 1])
    assert virtual_teacher(Y, 9, 0.99, 20.0)[0, :2].tolist() == pytest.approx([0.1161, 0.1105], abs=1e-4)


def test_partners_are_of_the_same_class_and_of_all_its_samples():
    y = torch.tensor([2, 0, 2, 1, 2, 0])
    partner = Partners(y, 0)
    drawn = torch.stack([partner(y) for _ in range(200)])
    assert (y[drawn] == y).all() and set(drawn[:, 0].tolist()) == {0, 2, 4} and set(drawn[:, 3].tolist()) == {3}


def test_attention_of_peers_by_hand():
    h = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]])  # three peers, one sample
    share = attention(h, lambda v: v, lambda v: v)
    assert share.shape == (1, 3, 3)
    assert share[0, 0].tolist() == pytest.approx(softmax([1.0, 0.0, 1.0]))
    assert share[0, 2].tolist() == pytest.approx(softmax([1.0, 1.0, 2.0]))


# ------------------------------------------------------------------------------ losses with a teacher


def test_offline_losses_on_two_samples():
    soft = float(kd(Z, T, 4.0))
    assert on_two_samples("soft_targets") == pytest.approx({"ce": 0.1 * CE, "kd": 0.9 * soft})
    cosine = float(cosine_distance(Z, T))
    assert on_two_samples("kl_cosine") == pytest.approx({"ce": 0.5 * CE, "kd": 0.25 * soft, "cosine": 0.25 * cosine})
    assert on_two_samples("kl_cosine", kl=1.0)["cosine"] == 0 == on_two_samples("kl_cosine", kl=0.0)["kd"]
    tckd, nckd = (float(v) for v in tckd_nckd(Z, T, Y, 4.0))
    assert on_two_samples("dkd") == pytest.approx({"ce": CE, "target": tckd, "others": 8 * nckd})
    assert on_two_samples("dkd", progress=1 / 30)["target"] == pytest.approx(tckd)  # W is not a whole epoch here


@pytest.mark.parametrize("epoch, weight", [(1, 0.25), (2, 0.5), (4, 1.0), (60, 1.0)])
def test_decoupled_parts_join_over_the_first_epochs(epoch, weight):
    """W = 20 of 300 epochs, 4 of 60"""
    terms = on_two_samples("dkd", progress=(epoch - 0.5) / 60, epochs=60)
    tckd, nckd = (float(v) for v in tckd_nckd(Z, T, Y, 4.0))
    assert terms["target"] == pytest.approx(weight * tckd) and terms["others"] == pytest.approx(8 * weight * nckd)


@pytest.mark.parametrize("progress, weight", [(0.01, 1 / 6.4), (2.5 / 96, 3 / 6.4), (0.08, 1.0)])
def test_on_images_they_join_over_the_first_passes(progress, weight):
    """An epoch of images is eight passes: W = 20 / 300 of 96."""
    student = Fixed(Z, kind="images")
    task = task_of(make_run("synthetic_landuse", "random", "ghost_dkd", options={"size": 32}))
    terms = decoupled(task, student, TEACHER)(student, BATCH._replace(progress=progress))
    assert float(terms["target"]) == pytest.approx(weight * float(tckd_nckd(Z, T, Y, 4.0)[0]))


def test_without_the_teacher_it_is_scratch():
    assert on_two_samples("soft_targets", hard=1.0, soft=0.0) == pytest.approx({"ce": CE, "kd": 0})
    assert sum(on_two_samples("kl_cosine", hard=1.0).values()) == pytest.approx(CE)
    assert sum(on_two_samples("dkd", target=0.0, others=0.0).values()) == pytest.approx(CE)


def inner(generator=None):
    return {
        "f1": torch.rand(2, 5, 15, 15, generator=generator),
        "f2": torch.rand(2, 5, 11, 11, generator=generator),
        "e": torch.rand(2, 5, generator=generator),
    }


def test_a_student_equal_to_its_teacher_has_nothing_to_learn_from_it():
    same = Fixed(Z, inner())
    for name, of_the_teacher in {
        "soft_targets": ["kd"],
        "kl_cosine": ["kd", "cosine"],
        "dkd": ["target", "others"],
        "attention_transfer": ["attention"],
        "correlation_congruence": ["kd", "congruence"],
    }.items():
        terms = on_two_samples(name, student=same, teacher=same)
        assert [terms[term] for term in of_the_teacher] == pytest.approx([0] * len(of_the_teacher), abs=1e-5)


def test_attention_and_congruence_on_two_samples():
    generator = torch.Generator().manual_seed(0)
    mine, theirs = inner(generator), inner(generator)
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


# ------------------------------------------------------------------------------ losses without a teacher


def three_classes(name, data=None):
    """A task with as many classes as the two samples know, and with the options of a method."""
    recipe = SimpleNamespace(recipe=SimpleNamespace(epochs=4))
    own = dict(options=SimpleNamespace(**methods.get(name).options), data=lambda net: data, seed=lambda role: 0)
    return SimpleNamespace(classes=3, run=recipe, notes={}, **own)


def test_tfkd_on_two_samples():
    loss = tf_kd(three_classes("tf_kd"), STUDENT)
    target = virtual_teacher(Y, 3, 0.99, 20.0).tolist()
    by_hand = sum(kl(p, softmax(z)) for p, z in zip(target, Z.tolist())) / 2
    assert numbers(loss(STUDENT, BATCH)) == pytest.approx({"ce": 0.9 * CE, "kd": 0.1 * by_hand}, rel=1e-4)


def test_cskd_on_two_samples():
    """The network says what it sees: Z of the batch, T of the only other pixel of the class."""
    data = TrainingSet(lambda index: T.flip(0)[index], Y.flip(0))
    loss = cs_kd(three_classes("cs_kd", data), None)
    terms = loss(lambda x: SimpleNamespace(logits=x), BATCH._replace(x=Z))
    assert numbers(terms) == pytest.approx({"ce": CE, "kd": kd_by_hand(Z, T, 4.0)}, rel=1e-5)


def test_pskd_on_two_samples():
    loss = ps_kd(three_classes("ps_kd", SimpleNamespace(y=Y)), STUDENT)
    assert loss(STUDENT, BATCH._replace(progress=0.25))["ce"].item() == pytest.approx(CE)  # first epoch: the labels
    target = 0.6 * F.one_hot(Y, 3) + 0.4 * F.softmax(Z, 1)  # second epoch: alpha = 0.8 * 2 / 4
    by_hand = float(-(target * F.log_softmax(Z, 1)).sum(1).mean())
    for progress in (0.5, 0.26):
        assert loss(STUDENT, BATCH._replace(progress=progress))["ce"].item() == pytest.approx(by_hand)
