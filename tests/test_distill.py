"""Every loss against values worked out by hand, in its limiting cases, and with its gradients where they belong."""

from math import exp, log
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hsilib import methods
from hsilib.distill import congruence, cosine
from hsilib.distill.ca_mkd import ca_mkd
from hsilib.distill.cl_ilr import cl_ilr
from hsilib.distill.cs_kd import cs_kd
from hsilib.distill.decoupled import decoupled
from hsilib.distill.distillation import distillation
from hsilib.distill.fitnets import fitnets
from hsilib.distill.okddip import attention, okddip
from hsilib.distill.parts import Teacher, kd, pictures, ramp, teachers_of, trace
from hsilib.distill.ps_kd import ps_kd
from hsilib.distill.simkd import Reused
from hsilib.distill.tf_kd import tf_kd
from hsilib.errors import HsiError
from hsilib.models.networks import CNN2D, WIDTHS, Outputs, initialise
from hsilib.models.train import Batch, flips_and_crops, flips_and_rotations
from hsilib.study.execute import execute, task_of, trained
from hsilib.study.runs import make_run
from hsilib.study.store import Store

SMALL = "synthetic_urban_small"
FAMILIES = ("offline", "online", "self")
Z = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 1.0]])
Y = torch.tensor([0, 2])


def softmax(values):
    total = sum(exp(v) for v in values)
    return [exp(v) / total for v in values]


def kl(p, q):
    return sum(a * log(a / b) for a, b in zip(p, q))


# ------------------------------------------------------------------------------ the parts


def test_kd_by_hand():
    student, teacher = [[1.0, 0.0, 0.0], [0.0, 2.0, 1.0]], Z.tolist()
    by_hand = [kl(softmax([v / 4 for v in t]), softmax([v / 4 for v in s])) for s, t in zip(student, teacher)]
    assert float(kd(torch.tensor(student), Z, 4.0)) == pytest.approx(16 * sum(by_hand) / 2, rel=1e-5)
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
    torch.testing.assert_close(attention.attention_map(maps), torch.tensor([[1.0, 2.0, 0.0, 2.0]]) / 3)
    torch.testing.assert_close(attention.attention_map(5 * maps), attention.attention_map(maps))


def test_correlation_by_hand():
    e = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    found = congruence.correlation(e)
    value = lambda x: exp(-0.8) * (1 + 0.8 * x + 0.32 * x * x)  # noqa: E731
    assert found[0].tolist() == pytest.approx([value(1), value(0), value(2**-0.5)], rel=1e-5)
    near = torch.exp(-0.4 * torch.cdist(F.normalize(e), F.normalize(e)) ** 2)  # what is expanded
    assert (found - near).abs().max() < 0.06


def test_confidence_by_hand():
    costs = torch.tensor([[0.0], [log(2.0)], [log(5.0)]])  # softmax 1/8, 2/8, 5/8
    assert ca_mkd.confidence(costs).flatten().tolist() == pytest.approx([7 / 16, 6 / 16, 3 / 16])  # the less cost the more


def test_cosine_by_hand():
    assert float(cosine.cosine_distance(Z, 3 * Z + 7)) == pytest.approx(0, abs=1e-6)
    assert float(cosine.cosine_distance(Z, -Z)) == pytest.approx(2)
    assert float(cosine.cosine_distance(torch.tensor([[1.0, -1, 0]]), torch.tensor([[1.0, 1, -2]]))) == pytest.approx(1)


def test_decoupled_parts_make_up_the_whole():
    s, t = torch.randn(2, 40, 9, generator=torch.Generator().manual_seed(0)) * 3
    y = torch.randint(9, (40,), generator=torch.Generator().manual_seed(1))
    whole, by_sample = 0, 0
    for i in range(40):
        one = slice(i, i + 1)
        tckd, nckd = decoupled.tckd_nckd(s[one], t[one], y[one], 4.0)
        p = F.softmax(t[one] / 4, 1)[0, y[i]]
        whole, by_sample = whole + kd(s[one], t[one], 4.0), by_sample + tckd + (1 - p) * nckd
    assert float(whole) == pytest.approx(float(by_sample), rel=1e-4)
    sure = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)  # 1 - p is zero in 32 bits
    tckd, _ = decoupled.tckd_nckd(sure, torch.tensor([[0.0, 9.0, 0.0]]), Y[:1], 1.0)
    tckd.backward()
    assert torch.isfinite(tckd) and sure.grad.abs().max() > 0.1


def test_decoupled_by_hand():
    s, t = Z[:1], torch.tensor([[1.0, 0.0, 1.0]])
    p, q = softmax([1.0, 0.0, 1.0]), softmax([2.0, 0.0, -1.0])
    tckd, nckd = decoupled.tckd_nckd(s, t, Y[:1], 1.0)
    assert float(tckd) == pytest.approx(kl([p[0], 1 - p[0]], [q[0], 1 - q[0]]), rel=1e-5)
    assert float(nckd) == pytest.approx(kl(softmax([0.0, 1.0]), softmax([0.0, -1.0])), rel=1e-5)


def test_virtual_teacher_is_nearly_uniform():
    target = tf_kd.virtual_teacher(Y, 16, 0.99, 20.0)
    assert target[0, :2].tolist() == pytest.approx([0.0655, 0.0623], abs=1e-4) and target.sum(1).tolist() == pytest.approx([1, 1])
    assert tf_kd.virtual_teacher(Y, 9, 0.99, 20.0)[0, :2].tolist() == pytest.approx([0.1161, 0.1105], abs=1e-4)


def test_partners_are_of_the_same_class_and_of_all_its_samples():
    y = torch.tensor([2, 0, 2, 1, 2, 0])
    partner = cs_kd.Partners(y, 0)
    drawn = torch.stack([partner(y) for _ in range(200)])
    assert (y[drawn] == y).all() and set(drawn[:, 0].tolist()) == {0, 2, 4} and set(drawn[:, 3].tolist()) == {3}


def test_attention_of_peers_by_hand():
    h = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]])  # three peers, one sample
    found = okddip.attention(h, lambda v: v, lambda v: v)
    assert found.shape == (1, 3, 3)
    assert found[0, 0].tolist() == pytest.approx(softmax([1.0, 0.0, 1.0])) and found[0, 2].tolist() == pytest.approx(
        softmax([1.0, 1, 2])
    )


def test_rescaling_divides_the_gradient_only():
    x = torch.ones(3, requires_grad=True)
    y = cl_ilr.Rescale.apply(x, 4)
    assert torch.equal(y, x)
    (2 * y).sum().backward()
    assert x.grad.tolist() == [0.5] * 3


def test_flips_and_crops_move_by_at_most_two():
    x = torch.zeros(200, 1, 19, 19)
    x[:, 0, 9, 9] = 1
    seen = flips_and_crops(x, torch.Generator().manual_seed(0))
    assert seen.shape == x.shape and torch.equal(seen.sum((1, 2, 3)), torch.ones(200))
    places = {divmod(int(p.argmax()), 19) for p in seen.flatten(1)}
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


# ------------------------------------------------------------------------------ whole losses


class Fixed(torch.nn.Module):
    """A network that says what it is told to."""

    kind = "patches"

    def __init__(self, logits, **taps):
        super().__init__()
        self.logits, self.taps = torch.nn.Parameter(logits.clone()), taps
        self.config = dict(widths=[5, 10, 10])

    def forward(self, x):
        return Outputs(self.logits, self.taps)


def task_for(name, epochs=10, **options):
    run = make_run(SMALL, "disjoint", name, 98, epochs=epochs, options=options)
    return task_of(run)


def build(name, student, *teachers, **options):
    """The loss of a registered method."""
    found = BUILDERS[name](task_for(name, **options), student, *teachers)
    return found[0] if isinstance(found, tuple) else found


BUILDERS = {name: m.train.__wrapped__ for name, m in methods.METHODS.items() if m.family in FAMILIES}
BATCH = Batch(torch.arange(2), torch.zeros(2, 40, 19, 19), Y, 0.5)
CE = float(F.cross_entropy(Z, Y))
T = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 2.0]])


def test_there_are_sixteen():
    by_family = {f: sum(m.family == f for m in methods.METHODS.values()) for f in FAMILIES}
    assert by_family == {"offline": 8, "online": 4, "self": 4}


def say(name, progress=0.5, logits=T, **options):
    student, teacher = Fixed(Z), lambda index: Outputs(logits[index], {})
    return {
        k: float(v.detach())
        for k, v in build(name, student, teacher, **options)(student, BATCH._replace(progress=progress)).items()
    }


def test_offline_losses_on_two_samples():
    soft = float(kd(Z, T, 4.0))
    assert say("soft_targets") == pytest.approx({"ce": 0.1 * CE, "kd": 0.9 * soft})
    cos = float(cosine.cosine_distance(Z, T))
    assert say("kl_cosine") == pytest.approx({"ce": 0.5 * CE, "kd": 0.25 * soft, "cosine": 0.25 * cos})
    assert say("kl_cosine", hard=0.5, kl=1.0)["cosine"] == 0 == say("kl_cosine", kl=0.0)["kd"]
    parts = [float(v) for v in decoupled.tckd_nckd(Z, T, Y, 4.0)]
    assert say("dkd") == pytest.approx({"ce": CE, "target": parts[0], "others": 8 * parts[1]})
    assert say("dkd", progress=1 / 30)["target"] == pytest.approx(parts[0])  # W is not a whole epoch here


@pytest.mark.parametrize("epoch, weight", [(1, 0.25), (2, 0.5), (4, 1.0), (60, 1.0)])
def test_decoupled_parts_join_over_the_first_epochs(epoch, weight):
    """W = 20 of 300 epochs, 4 of 60"""
    loss = decoupled.decoupled(task_for("dkd", epochs=60), Fixed(Z), lambda index: Outputs(T[index], {}))
    terms = loss(Fixed(Z), BATCH._replace(progress=(epoch - 0.5) / 60))
    parts = [float(v) for v in decoupled.tckd_nckd(Z, T, Y, 4.0)]
    assert float(terms["target"].detach()) == pytest.approx(weight * parts[0])
    assert float(terms["others"].detach()) == pytest.approx(8 * weight * parts[1])


@pytest.mark.parametrize("progress, weight", [(0.01, 1 / 6.4), (2.5 / 96, 3 / 6.4), (0.08, 1.0)])
def test_on_images_they_join_over_the_first_passes(progress, weight):
    """an epoch of images is eight passes: W = 20 / 300 of 96"""
    student = Fixed(Z)
    student.kind = "images"
    run = make_run("synthetic_landuse", "random", "ghost_dkd", options={"size": 32})
    loss = decoupled.decoupled(task_of(run), student, lambda index: Outputs(T[index], {}))
    terms = loss(student, BATCH._replace(progress=progress))
    assert float(terms["target"].detach()) == pytest.approx(weight * float(decoupled.tckd_nckd(Z, T, Y, 4.0)[0]))


def test_without_the_teacher_it_is_scratch():
    assert say("soft_targets", hard=1.0, soft=0.0) == pytest.approx({"ce": CE, "kd": 0})
    assert sum(say("kl_cosine", hard=1.0).values()) == pytest.approx(CE)
    assert sum(say("dkd", target=0.0, others=0.0).values()) == pytest.approx(CE)


def test_a_student_equal_to_its_teacher_has_nothing_to_learn_from_it():
    assert say("soft_targets", logits=Z)["kd"] == pytest.approx(0, abs=1e-6)
    assert say("kl_cosine", logits=Z)["cosine"] == pytest.approx(0, abs=1e-6)
    found = say("dkd", logits=Z)
    assert found["target"] == pytest.approx(0, abs=1e-6) and found["others"] == pytest.approx(0, abs=1e-6)
    taps = {"f1": torch.rand(2, 5, 15, 15), "f2": torch.rand(2, 10, 11, 11), "e": torch.rand(2, 10)}
    student = Fixed(Z, **taps)
    for name in ("attention_transfer", "correlation_congruence"):
        terms = build(name, student, lambda index: Outputs(Z, taps))(student, BATCH)
        assert float(terms[{"attention_transfer": "attention", "correlation_congruence": "congruence"}[name]]) == pytest.approx(
            0, abs=1e-5
        )


def test_attention_and_congruence_on_two_samples():
    g = torch.Generator().manual_seed(0)
    mine, theirs = (
        {
            "f1": torch.rand(2, 5, 15, 15, generator=g),
            "f2": torch.rand(2, 5, 11, 11, generator=g),
            "e": torch.rand(2, 5, generator=g),
        }
        for _ in "st"
    )
    student = Fixed(Z, **mine)
    at = build("attention_transfer", student, lambda index: Outputs(T, theirs))(student, BATCH)
    by_hand = 0
    for tap in ("f1", "f2"):
        q = [(v := f[tap].square().mean(1).flatten(1)) / v.norm(dim=1, keepdim=True) for f in (mine, theirs)]
        by_hand += float((q[0] - q[1]).square().mean())
    assert float(at["attention"].detach()) == pytest.approx(1000 * by_hand, rel=1e-4) and float(
        at["ce"].detach()
    ) == pytest.approx(CE)
    cc = build("correlation_congruence", student, lambda index: Outputs(T, theirs))(student, BATCH)
    cos = [float(F.cosine_similarity(f["e"][:1], f["e"][1:])) for f in (mine, theirs)]
    value = [exp(-0.8) * (1 + 0.8 * c + 0.32 * c * c) for c in cos]  # only the two off-diagonal of four differ
    assert float(cc["congruence"].detach()) == pytest.approx(100 * (value[0] - value[1]) ** 2 / 2, rel=1e-3)


def test_tfkd_and_cskd_and_pskd_on_two_samples():
    student = Fixed(Z)
    task_classes = torch.full((2, 3), 0.0)
    log_p = F.log_softmax(Z, 1)
    loss = tf_kd.tf_kd(SimpleNamespace(options=SimpleNamespace(soft=0.1, temperature=20.0, correct=0.99), classes=3), student)
    target = tf_kd.virtual_teacher(Y, 3, 0.99, 20.0)
    by_hand = float((target * (target.log() - log_p)).sum(1).mean())
    assert {k: float(v.detach()) for k, v in loss(student, BATCH).items()} == pytest.approx({"ce": 0.9 * CE, "kd": 0.1 * by_hand})

    from hsilib.distill.ps_kd import ps_kd

    data = SimpleNamespace(y=Y, x=lambda index: task_classes[index])
    task = SimpleNamespace(options=SimpleNamespace(last=0.8), classes=3, data=lambda net: data)
    task.run, task.notes = SimpleNamespace(recipe=SimpleNamespace(epochs=4)), {}
    loss = ps_kd.ps_kd(task, student)
    assert float(loss(student, BATCH._replace(progress=0.25))["ce"].detach()) == pytest.approx(CE)  # first epoch: the labels
    p = F.softmax(Z, 1)
    target = 0.6 * F.one_hot(Y, 3) + 0.4 * p  # second epoch: alpha = 0.8 * 2 / 4
    assert float(loss(student, BATCH._replace(progress=0.5))["ce"].detach()) == pytest.approx(
        float(-(target * log_p).sum(1).mean())
    )
    assert float(loss(student, BATCH._replace(progress=0.26))["ce"].detach()) == pytest.approx(
        float(-(target * log_p).sum(1).mean())
    )


def test_cskd_looks_at_a_partner_without_a_gradient():
    task = task_for("cs_kd")
    net = task.network(CNN2D, widths=WIDTHS[98])
    data, index = task.data(net), torch.arange(8)
    terms = cs_kd.cs_kd(task, net)(net, Batch(index, data.x(index), data.y[index], 0.5))
    assert set(terms) == {"ce", "kd"} and float(terms["kd"].detach()) > 0
    once = cs_kd.cs_kd(task_for("cs_kd", soft=0.0), net)(net, Batch(index, data.x(index), data.y[index], 0.5))
    assert float(once["kd"].detach()) == 0


# ------------------------------------------------------------------------------ gradients


def gradients(name, **options):
    """After one batch: which modules had a gradient; (student, modules that train along)."""
    task = task_for(name, **options)
    about = methods.get(name)
    network = Reused if name == "simkd" else CNN2D
    student = task.network(network, widths=WIDTHS[98])
    data = task.data(student)
    taps = {
        "fitnets": ("f2",),
        "attention_transfer": ("f1", "f2"),
        "correlation_congruence": ("e",),
        "simkd": ("e",),
        "ca_mkd": ("f2",),
    }.get(name, ())
    count = {"ca_mkd": 3}.get(name, 1) if about.family == "offline" else 0
    teachers = [Teacher(initialise(CNN2D(40, 9), k).eval().requires_grad_(False), data, taps) for k in range(count)]
    made = BUILDERS[name](task, student, *teachers)
    loss, *extra = made if isinstance(made, tuple) else (made,)
    index = torch.arange(16)
    terms = loss(student.train(), Batch(index, data.x(index), data.y[index], 0.5))
    return terms, student, extra, teachers


def has(module):
    return any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize("name", BUILDERS)
def test_gradients_reach_the_student_and_never_the_teacher(name):
    terms, student, extra, teachers = gradients(name)
    assert all(torch.isfinite(v) for v in terms.values())
    sum(terms.values()).backward()
    frozen = {"simkd": ["fc2.3.weight", "fc2.3.bias"]}.get(name, [])
    for key, p in student.named_parameters():
        if key not in frozen and not (name == "simkd" and key.startswith("fc2.3")):
            assert p.grad is not None, key
    assert all(has(m) for m in extra) and not any(has(t.net) for t in teachers)


@pytest.mark.parametrize("name, detached", [("dml", True), ("one", True), ("cl_ilr", True), ("okddip", False)])
def test_online_targets_are_constants_but_for_okddip(name, detached):
    """A peer's own loss left out, does it still get a gradient through what it teaches?"""
    terms, student, extra, _ = gradients(name)
    peer = next(m for m in extra if isinstance(m, CNN2D))
    if name == "dml":
        terms["kl0"].backward()  # teaches network 0
        assert has(student) and not has(peer)
        terms, student, (peer,), _ = gradients(name)
        terms["kl1"].backward()
        assert has(peer) and not has(student)
    elif name == "okddip":
        terms["kd"].backward()
        query = extra[0]
        assert has(peer.fc2) and has(query)  # the attention learns through the targets
    elif name == "one":
        gate = extra[0]
        terms["kd"].backward()
        assert not has(gate) and has(peer.fc2)
        terms, _, (gate, *_), _ = gradients(name)
        terms["ce_mixed"].backward()
        assert has(gate)
    else:
        assert peer.conv1 is student.conv1 and all(m.conv1 is student.conv1 for m in extra)


def test_the_trunk_of_clilr_gets_a_quarter_of_its_gradient(monkeypatch):
    def trunk():
        terms, student, *_ = gradients("cl_ilr")
        return torch.autograd.grad(sum(terms.values()), student.conv1.weight)[0]

    rescaled = trunk()
    monkeypatch.setattr(cl_ilr, "Rescale", SimpleNamespace(apply=lambda x, heads: x))
    torch.testing.assert_close(rescaled, trunk() / 4)


def test_camkd_weighs_unequal_teachers_and_learns_through_the_weights_of_features():
    terms, student, (embed,), teachers = gradients("ca_mkd")
    data, index = task_for("ca_mkd").data(student), torch.arange(16)
    x, y = data.x(index), data.y[index]
    s = said(student, x)
    costs = torch.stack([F.cross_entropy(t(index).logits, y, reduction="none") for t in teachers])
    share = (1 - torch.softmax(costs, 0)) / 2  # the less a teacher errs, the more
    p, q = ([torch.softmax(z / 4, 1) for z in scores] for scores in ([t(index).logits for t in teachers], [s.logits.detach()]))
    apart = torch.stack([(a * (a / q[0]).log()).sum(1) for a in p])
    assert float(terms["kd"].detach()) == pytest.approx(16 / 3 * float((share * apart).sum(0).mean()), rel=1e-4)

    seen = [g(s.taps["f2"]) for g in embed]
    costs = [F.cross_entropy(t.net.head(g).logits, y, reduction="none") for t, g in zip(teachers, seen)]
    share = (1 - torch.softmax(torch.stack(costs), 0)) / 2  # not held fixed
    apart = torch.stack([(g - t(index).taps["f2"]).square().mean((1, 2, 3)) for t, g in zip(teachers, seen)])
    weight = embed[0][0].weight
    asked, by_hand, fixed = (
        torch.autograd.grad(v, weight, retain_graph=True)[0]
        for v in (terms["feature"], 50 / 3 * (share * apart).sum(0).mean(), 50 / 3 * (share.detach() * apart).sum(0).mean())
    )
    torch.testing.assert_close(asked, by_hand, atol=1e-5, rtol=1e-3)
    assert (asked - fixed).abs().max() > 1e-3 * asked.abs().max()


def test_okddip_holds_no_target_fixed():
    terms, student, (query, key, *others), _ = gradients("okddip")
    assert [(m.in_features, m.out_features, m.bias) for m in (query, key)] == 2 * [(250, 31, None)]  # D = 25 * 10, D / 8
    data = task_for("okddip").data(student)
    leader, *found = [said(net, data.x(torch.arange(16))) for net in (student, *others)]
    z = torch.stack([out.logits for out in found])
    share = okddip.attention(torch.stack([out.taps["v"] for out in found]), query, key)
    mixed = torch.einsum("bpr,rbk->pbk", share, z)
    total = sum(kd(mine, target, 3.0) for mine, target in zip(z, mixed)) + kd(leader.logits, z.mean(0), 3.0)
    for peer in others:
        asked, by_hand = (torch.autograd.grad(v, peer.fc2.weight, retain_graph=True)[0] for v in (terms["kd"], total))
        torch.testing.assert_close(asked, by_hand, atol=1e-5, rtol=1e-3)


def test_what_trains_along_has_the_layers_of_its_authors():
    kinds = lambda *modules: [type(m) for m in modules]  # noqa: E731
    nn = torch.nn
    for ratio, count in ((90, 3200), (95, 2200), (98, 1200)):
        regress = fitnets.regressor(WIDTHS[ratio][1], 100, 0)
        assert sum(p.numel() for p in regress.parameters()) == count
    assert kinds(*regress) == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    _, _, (gate, *_), _ = gradients("one")
    assert kinds(*gate) == [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    _, student, *_ = gradients("simkd")
    assert kinds(*student.fc2) == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear] and student.fc2[0].bias is None


def test_camkd_listens_to_features_after_the_first_epoch():
    task = task_for("ca_mkd")
    terms, *_ = gradients("ca_mkd")
    assert set(terms) == {"ce", "kd", "feature"}
    student = task.network(CNN2D, widths=WIDTHS[98])
    data = task.data(student)
    teachers = [Teacher(initialise(CNN2D(40, 9), k).eval(), data, ("f2",)) for k in range(3)]
    loss, _ = ca_mkd.ca_mkd(task, student, *teachers)
    index = torch.arange(16)
    assert set(loss(student, Batch(index, data.x(index), data.y[index], 0.1))) == {"ce", "kd"}  # one epoch of ten


def test_one_teacher_three_times_is_heard_as_one():
    """Equal teachers weigh 1/3 each, and 1/K on top: L_div = KD_T / 3"""
    task = task_for("ca_mkd")
    student = task.network(CNN2D, widths=WIDTHS[98])
    data = task.data(student)
    same = Teacher(initialise(CNN2D(40, 9), 0).eval(), data, ("f2",))
    loss, _ = ca_mkd.ca_mkd(task, student, same, same, same)
    index = torch.arange(16)
    x, y = data.x(index), data.y[index]
    found = float(loss(student.eval(), Batch(index, x, y, 0.1))["kd"].detach())
    assert found == pytest.approx(float(kd(student(x).logits.detach(), same(index).logits, 4.0)) / 3, rel=1e-4)


def test_recorded_teacher_says_what_the_live_one_does():
    task = task_for("soft_targets")
    net = initialise(CNN2D(40, 9), 3).eval()
    data = task.data(net)
    teacher = Teacher(net, data, ("f2", "e"))
    index = torch.tensor([5, 0, 17])
    live = net(data.x(index))
    said = teacher(index)
    torch.testing.assert_close(said.logits, live.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(said.taps["f2"], live.taps["f2"], atol=1e-5, rtol=1e-4)


def test_simkd_is_deployed_with_projector_and_classifier_and_counts_them():
    net = Reused(40, 16, WIDTHS[90])
    from hsilib.models import measure

    assert measure.parameters(net) == 53_441  # 200 more with the batch norm, which is not counted anywhere
    row, model = execute(make_run(SMALL, "disjoint", "simkd", 98, epochs=2), Store())
    again = trained(make_run(SMALL, "disjoint", "simkd", 98, epochs=2))
    teacher = trained(teachers_of(make_run(SMALL, "disjoint", "simkd", 98, epochs=2), 1)[0])
    assert type(again) is Reused and torch.equal(again.fc2[3].weight, teacher.fc2.weight)


def test_students_start_where_scratch_starts_and_scratch_is_the_limit():
    """Soft targets with no weight on them end bit for bit where Scratch ends."""
    common = dict(scene=SMALL, split="disjoint", ratio=98, epochs=2)
    scratch, _ = execute(make_run(method="scratch", **common), Store())
    plain, _ = execute(make_run(method="soft_targets", options={"hard": 1.0, "soft": 0.0}, **common), Store())
    assert plain["oa"] == scratch["oa"] and plain["kappa"] == scratch["kappa"]


def test_members_differ_from_the_dense_network_and_share_its_split():
    run = make_run(SMALL, "random", "ca_mkd", 98, seed=1, epochs=2)
    first, second, third = teachers_of(run, 3)
    assert (first.method, second.method, third.method) == ("cnn2d", "cnn2d_member", "cnn2d_member")
    assert len({first.id, second.id, third.id}) == 3 and {r.seed for r in (first, second, third)} == {1}
    nets = [trained(r) for r in (first, second, third)]
    assert not torch.equal(nets[0].conv1.weight, nets[1].conv1.weight)
    assert not torch.equal(nets[1].conv1.weight, nets[2].conv1.weight)


def test_pictures_of_a_network_that_knows_the_classes():
    from hsilib.models.train import TrainingSet

    class Knows(torch.nn.Module):
        def forward(self, x):
            e = F.one_hot(x[:, 0, 0, 0].long(), 4).float()
            maps = torch.zeros(len(x), 2, 11, 11)
            maps[:, :, 3, 4] = 2
            return Outputs(40 * e, {"e": e, "f2": maps})

    y = torch.tensor([0, 1, 1, 2, 2, 2])
    data = TrainingSet(lambda index: y[index].float()[:, None, None, None].expand(-1, 1, 19, 19), y)
    found = pictures(Knows(), data, 4, range(100, 200), examples=2)
    assert found["similarity"][1] == [0, 1, 0, 0] and found["answers"][2][2] == pytest.approx(1, abs=1e-3)
    assert found["similarity"][3] == [0] * 4  # a class without a training pixel
    assert found["looks"]["classes"] == [2, 1] and found["looks"]["maps"][0][3][4] == 1
    task = SimpleNamespace(run=SimpleNamespace(recipe=SimpleNamespace(epochs=4)), notes={})
    for progress, value in ((0.1, 1.0), (0.25, 2.0), (0.26, 3.0), (1.0, 4.0)):
        trace(task, "seen", BATCH._replace(progress=progress), torch.tensor(value))
    assert task.notes == {"seen": {"1": 2.0, "2": 3.0, "4": 4.0}}


# ------------------------------------------------------------------------------ whole losses of networks in training mode


def trained_on(name, progress=0.5, epochs=10, **options):
    """(terms, the batch, student, modules that train along, teachers) of a registered method on eight pixels."""
    task = task_of(make_run(SMALL, "disjoint", name, 98, epochs=epochs, options=options))
    task.parent = lambda run: initialise(CNN2D(40, 9), len(run.method)).eval()
    student, loss, extra, known = methods.get(name).prepare(task)
    index = torch.tensor([30, 2, 11, 5, 77, 40, 8, 19])
    data = task.data(student)
    batch = Batch(index, data.x(index), data.y[index], progress)
    for m in (student, *extra):
        m.train()
    terms = {k: float(v.detach()) for k, v in loss(student, batch).items()}
    return terms, batch, student, extra, known


def said(net, x):
    return Outputs(*net.train()(x))


def test_fitnets_and_simkd_and_camkd_in_full():
    terms, batch, student, (regress,), (teacher,) = trained_on("fitnets")
    f = said(student, batch.x).taps["f2"]
    assert terms["hint"] == pytest.approx(
        100 * float((regress(f) - teacher(batch.index).taps["f2"]).square().mean().detach()), rel=1e-4
    )

    terms, batch, student, _, (teacher,) = trained_on("simkd")
    e = student.features(student.block(student.stem(batch.x)))["e"]
    apart = (student.fc2[:3](e) - teacher(batch.index).taps["e"]).square().mean()
    assert set(terms) == {"feature"} and terms["feature"] == pytest.approx(float(apart.detach()), rel=1e-4)

    terms, batch, student, (embed,), teachers = trained_on("ca_mkd")
    f = said(student, batch.x).taps["f2"]
    weights, apart = [], []
    for g, t in zip(embed, teachers):
        seen = g(f)
        weights.append(F.cross_entropy(t.net.head(seen).logits, batch.y, reduction="none"))
        apart.append((seen - t(batch.index).taps["f2"]).square().mean((1, 2, 3)))
    weights = (1 - torch.softmax(torch.stack(weights), 0)) / 2
    by_hand = 50 / 3 * sum(w * a for w, a in zip(weights, apart)).mean()
    assert terms["feature"] == pytest.approx(float(by_hand.detach()), rel=1e-4)


@pytest.mark.parametrize("progress, weight", [(0.05, exp(-5 * (1 - 0.05 * 300 / 80) ** 2)), (0.5, 1.0)])
def test_online_losses_in_full(progress, weight):
    terms, batch, student, (peer,), _ = trained_on("dml", progress)
    z = [said(net, batch.x).logits.detach() for net in (student, peer)]
    assert terms["kl0"] == pytest.approx(kl_of(z[1], z[0], 1), rel=1e-4) and terms["kl1"] == pytest.approx(
        kl_of(z[0], z[1], 1), rel=1e-4
    )
    assert terms["ce1"] == pytest.approx(float(F.cross_entropy(z[1], batch.y)), rel=1e-4)

    terms, batch, student, (gate, *others), _ = trained_on("one", progress)
    z = [said(net, batch.x).logits.detach() for net in (student, *others)]
    share = torch.softmax(gate.train()(student.stem(batch.x).mean((2, 3))), 1).detach()
    mixed = sum(share[:, i, None] * z[i] for i in range(3))
    assert terms["kd"] == pytest.approx(weight * sum(9 * kl_of(mixed, one, 3) for one in z), rel=1e-3)
    assert terms["ce_mixed"] == pytest.approx(float(F.cross_entropy(mixed, batch.y)), rel=1e-4) and len(terms) == 5

    terms, batch, student, others, _ = trained_on("cl_ilr", progress)
    z = [said(net, batch.x).logits.detach() for net in (student, *others)]
    soft = 0
    for h in range(4):
        q = torch.softmax(sum(z[j] for j in range(4) if j != h) / 3 / 2, 1)
        soft -= float((q * torch.log_softmax(z[h] / 2, 1)).sum(1).mean())
    assert terms["soft"] == pytest.approx(0.5 * 4 * soft, rel=1e-4)
    assert terms["ce2"] == pytest.approx(0.5 * float(F.cross_entropy(z[2], batch.y)), rel=1e-4)

    terms, batch, student, (query, key, *others), _ = trained_on("okddip", progress)
    leader, *found = [said(net, batch.x) for net in (student, *others)]
    z = [out.logits.detach() for out in found]
    total = 9 * kl_of(sum(z) / 3, leader.logits.detach(), 3)
    for a in range(3):
        score = torch.stack([(query(found[a].taps["v"]) * key(found[b].taps["v"])).sum(1) for b in range(3)], 1)
        share = torch.softmax(score, 1).detach()
        total += 9 * kl_of(sum(share[:, b, None] * z[b] for b in range(3)), z[a], 3)
    assert terms["kd"] == pytest.approx(weight * total, rel=1e-3) and "ce_leader" in terms


def kl_of(teacher, student, temperature):
    p, q = torch.softmax(teacher / temperature, 1), torch.softmax(student / temperature, 1)
    return float((p * (p / q).log()).sum(1).mean())


def test_self_losses_in_full():
    terms, batch, student, *_ = trained_on("ddgsd")
    task = task_for("ddgsd")
    views = torch.Generator().manual_seed(task.seed("views"))
    a, b = (said(student, flips_and_crops(batch.x, views)) for _ in range(2))
    both = 9 * (kl_of(a.logits.detach(), b.logits.detach(), 3) + kl_of(b.logits.detach(), a.logits.detach(), 3))
    assert terms["kd"] == pytest.approx(both, rel=1e-3)
    assert terms["ce"] == pytest.approx(
        float((F.cross_entropy(a.logits, batch.y) + F.cross_entropy(b.logits, batch.y)).detach()), rel=1e-4
    )
    apart = (a.taps["e"].mean(0) - b.taps["e"].mean(0)).square().sum()
    assert terms["mmd"] == pytest.approx(5e-4 * float(apart.detach()), rel=1e-3)

    terms, batch, student, *_ = trained_on("cs_kd")
    data = task.data(student)
    other = cs_kd.Partners(data.y, task.seed("partners"))(batch.y)
    z = [said(student, x).logits.detach() for x in (batch.x, data.x(other))]
    assert terms["kd"] == pytest.approx(16 * kl_of(z[1], z[0], 4), rel=1e-3)


def test_pskd_remembers_by_pixel_not_by_place():
    task = task_for("ps_kd")
    student = task.network(CNN2D, widths=WIDTHS[98])
    loss, data = ps_kd(task, student), task.data(student)
    first, second = torch.tensor([5, 9, 2, 7]), torch.tensor([2, 5, 7, 9])
    student.train()
    p = torch.softmax(said(student, data.x(first)).logits, 1).detach()
    loss(student, Batch(first, data.x(first), data.y[first], 0.1))
    log_p = torch.log_softmax(said(student, data.x(second)).logits, 1).detach()
    old = p[[2, 0, 3, 1]]  # of the same pixels
    alpha = 0.8 * 5 / 10
    by_hand = -(((1 - alpha) * F.one_hot(data.y[second], 9) + alpha * old) * log_p).sum(1).mean()
    assert float(loss(student, Batch(second, data.x(second), data.y[second], 0.5))["ce"].detach()) == pytest.approx(
        float(by_hand), rel=1e-4
    )


@pytest.mark.parametrize("name", BUILDERS)
def test_batch_norm_sees_each_view_once(name):
    _, _, student, extra, _ = trained_on(name)
    passes = {"cs_kd": 2, "ddgsd": 2}.get(name, 1)
    for m in {
        m for net in (student, *extra) for m in net.modules() if isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)
    }:
        assert m.num_batches_tracked == passes


def test_targets_are_constants():
    """What the soft term alone asks of the last bias: with a constant target T (p_s - p_t), averaged over the batch."""

    def asked(name, term):
        task = task_for(name)
        student, loss, extra, _ = methods.get(name).prepare(task)
        data, index = task.data(student), torch.arange(16)
        for m in (student, *extra):
            m.train()
        terms = loss(student, Batch(index, data.x(index), data.y[index], 0.5))
        gradient = torch.autograd.grad(terms[term], student.fc2.bias)[0]
        return gradient, task, student, extra, data.x(index), data.y[index]

    gradient, _, student, others, x, _ = asked("cl_ilr", "soft")
    z = [said(net, x).logits.detach() for net in (student, *others)]
    by_hand = 0.5 * 2 * (torch.softmax(z[0] / 2, 1) - torch.softmax(sum(z[1:]) / 3 / 2, 1)).mean(0)
    torch.testing.assert_close(gradient, by_hand, atol=1e-5, rtol=1e-3)

    gradient, *_ = asked("ddgsd", "kd")  # what one view asks, the other takes back
    assert gradient.abs().max() < 1e-5

    gradient, task, student, _, x, y = asked("cs_kd", "kd")
    data = task.data(student)
    other = cs_kd.Partners(data.y, task.seed("partners"))(y)
    p, q = (torch.softmax(said(student, v).logits.detach() / 4, 1) for v in (x, data.x(other)))
    torch.testing.assert_close(gradient, 4 * (p - q).mean(0), atol=1e-5, rtol=1e-3)


def test_teachers_are_those_of_the_run():
    nets = {}
    for seed in (0, 1, 0):
        task = task_of(make_run(SMALL, "random", "soft_targets", 98, seed=seed, epochs=2))
        task.parent = lambda run: nets.setdefault(run.id, initialise(CNN2D(40, 9), run.seed).eval())
        student, _, _, (known,) = methods.get("soft_targets").prepare(task)
        data, index = task.data(student), torch.tensor([3, 0])
        torch.testing.assert_close(known(index).logits, known.net(data.x(index)).logits, atol=1e-5, rtol=1e-4)
        assert torch.equal(known.net.conv1.weight, initialise(CNN2D(40, 9), seed).conv1.weight)
    other = make_run(SMALL, "disjoint", "soft_targets", 98, epochs=2)
    assert teachers_of(other, 1)[0].id != teachers_of(task.run, 1)[0].id


def test_a_group_needs_two():
    with pytest.raises(HsiError, match="cl_ilr needs at least two networks"):
        methods.get("cl_ilr").prepare(task_for("cl_ilr", heads=1))


def ce(model, batch):
    return F.cross_entropy(model(batch.x).logits, batch.y)


@pytest.mark.parametrize(
    ("build", "about", "said"),
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
        (lambda task, student: ce, {"name": "soft_targets"}, "soft_targets is taken by a method of hsilib.distill.soft_targets"),
        (
            lambda task, student, t: lambda m, b: {"ce": ce(m, b) + t(b.index).taps["f2"].mean()},
            {"teachers": 1},
            r"keeps no 'f2': name it in distillation\(..., taps=\('f2',\)\)",
        ),
    ],
)
def test_a_mistake_in_a_method_is_one_line(build, about, said):
    about = {"name": "wrong", "family": "mine"} | about
    try:
        with pytest.raises(HsiError, match=said) as found:
            distillation(about.pop("name"), "Wrong", about.pop("family"), **about)(build)
            execute(make_run(SMALL, "disjoint", "wrong", 98, epochs=1), Store())
        assert "\n" not in str(found.value)
    finally:
        methods.METHODS.pop("wrong", None)
