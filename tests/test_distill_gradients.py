"""What a method holds fixed and what learns: gradients end where the paper says."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hsilib.methods.distill.cl_ilr import Rescale
from hsilib.methods.distill.cs_kd import Partners, cs_kd
from hsilib.methods.distill.fitnets import regressor
from hsilib.methods.distill.okddip import attention
from hsilib.methods.distill.parts import kd
from hsilib.models.networks import CNN2D, WIDTHS
from torch import nn

from distill_help import BUILDERS, batch_of, one_batch, task_for


def has_gradient(module):
    return any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def same(gradient, by_hand):
    torch.testing.assert_close(gradient, by_hand, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", BUILDERS)
def test_gradients_reach_the_student_and_never_the_teacher(name):
    trial = one_batch(name)
    assert all(torch.isfinite(v) for v in trial.terms.values())
    sum(trial.terms.values()).backward()
    for key, p in trial.student.named_parameters():
        frozen = name == "simkd" and key.startswith("fc2.3")  # the teacher's classifier
        assert (p.grad is None) == frozen, key
    assert all(map(has_gradient, trial.extra)) and not any(has_gradient(t.net) for t in trial.teachers)


@pytest.mark.parametrize("name", BUILDERS)
def test_batch_norm_sees_each_view_once(name):
    trial = one_batch(name)
    passes = {"cs_kd": 2, "ddgsd": 2}.get(name, 1)
    for net in (trial.student, *trial.extra):
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                assert module.num_batches_tracked == passes


# ------------------------------------------------------------------------------ targets of the online methods


@pytest.mark.parametrize("learner", [0, 1])
def test_a_network_of_dml_does_not_learn_by_teaching(learner):
    trial = one_batch("dml")
    trial.terms[f"kl{learner}"].backward()
    nets = trial.student, *trial.extra
    assert has_gradient(nets[learner]) and not has_gradient(nets[1 - learner])


@pytest.mark.parametrize("term, learns", [("kd", False), ("ce_mixed", True)])
def test_the_gate_of_one_learns_from_the_labels_alone(term, learns):
    trial = one_batch("one")
    trial.terms[term].backward()
    gate, peer, _ = trial.extra
    assert has_gradient(gate) == learns and has_gradient(peer.fc2)


def test_the_attention_of_okddip_learns_through_the_targets():
    trial = one_batch("okddip")
    trial.terms["kd"].backward()
    query, key, peer, *_ = trial.extra
    assert has_gradient(query) and has_gradient(key) and has_gradient(peer.fc2)


def test_okddip_holds_no_target_fixed():
    trial = one_batch("okddip")
    query, key, *peers = trial.extra
    assert [(m.in_features, m.out_features, m.bias) for m in (query, key)] == 2 * [(250, 31, None)]  # D = 25 * 10, D / 8
    leader, *answers = [net(trial.batch.x) for net in (trial.student, *peers)]
    z = torch.stack([out.logits for out in answers])
    share = attention(torch.stack([out.taps["v"] for out in answers]), query, key)
    mixed = torch.einsum("bpr,rbk->pbk", share, z)
    total = sum(kd(mine, target, 3.0) for mine, target in zip(z, mixed)) + kd(leader.logits, z.mean(0), 3.0)
    for peer in peers:
        same(*(torch.autograd.grad(v, peer.fc2.weight, retain_graph=True)[0] for v in (trial.terms["kd"], total)))


def test_rescaling_divides_the_gradient_only():
    x = torch.ones(3, requires_grad=True)
    y = Rescale.apply(x, 4)
    assert torch.equal(y, x)
    (2 * y).sum().backward()
    assert x.grad.tolist() == [0.5] * 3


def test_the_heads_of_clilr_share_a_trunk_that_gets_a_quarter_of_its_gradient(monkeypatch):
    def trunk():
        trial = one_batch("cl_ilr")
        assert len(trial.extra) == 3 and all(head.conv1 is trial.student.conv1 for head in trial.extra)
        return torch.autograd.grad(sum(trial.terms.values()), trial.student.conv1.weight)[0]

    rescaled = trunk()
    monkeypatch.setattr("hsilib.methods.distill.cl_ilr.Rescale", SimpleNamespace(apply=lambda x, heads: x))
    torch.testing.assert_close(rescaled, trunk() / 4)


# ------------------------------------------------------------------------------ what a soft term asks of the last bias


def asked(trial, term):
    """With a constant target this is T (p_s - p_t), averaged over the batch."""
    return torch.autograd.grad(trial.terms[term], trial.student.fc2.bias)[0]


def test_targets_of_clilr_are_constants():
    trial = one_batch("cl_ilr")
    z = [net(trial.batch.x).logits.detach() for net in (trial.student, *trial.extra)]
    same(asked(trial, "soft"), 0.5 * 2 * (torch.softmax(z[0] / 2, 1) - torch.softmax(sum(z[1:]) / 3 / 2, 1)).mean(0))


def test_targets_of_ddgsd_are_constants():
    """What one view asks, the other takes back."""
    assert asked(one_batch("ddgsd"), "kd").abs().max() < 1e-5


def test_targets_of_cskd_are_constants():
    trial = one_batch("cs_kd")
    data = trial.task.data(trial.student)
    other = Partners(data.y, trial.task.seed("partners"))(trial.batch.y)
    p, q = (torch.softmax(trial.student(x).logits.detach() / 4, 1) for x in (trial.batch.x, data.x(other)))
    same(asked(trial, "kd"), 4 * (p - q).mean(0))


def test_cskd_looks_at_a_partner_without_a_gradient():
    task = task_for("cs_kd")
    net = task.network(CNN2D, widths=WIDTHS[98])
    passes = []
    net.register_forward_hook(lambda module, inputs, outputs: passes.append(outputs.logits.requires_grad))
    terms = cs_kd(task, net)(net, batch_of(task, net))
    assert passes == [False, True]  # the partner, then the sample itself
    assert set(terms) == {"ce", "kd"} and terms["kd"].item() > 0
    alone = cs_kd(task_for("cs_kd", soft=0.0), net)(net, batch_of(task, net))
    assert alone["kd"].item() == 0


# ------------------------------------------------------------------------------ what trains along


def test_camkd_weighs_unequal_teachers_and_learns_through_the_weights_of_features():
    terms, batch, _, student, (embed,), teachers = one_batch("ca_mkd")
    s, answers = student(batch.x), [teacher(batch.index) for teacher in teachers]
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
    def kinds(modules):
        return [type(m) for m in modules]

    for ratio, count in ((90, 3200), (95, 2200), (98, 1200)):
        regress = regressor(WIDTHS[ratio][1], 100, 0)
        assert sum(p.numel() for p in regress.parameters()) == count
    assert kinds(regress) == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    gate, *_ = one_batch("one").extra
    assert kinds(gate) == [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    student = one_batch("simkd").student
    assert kinds(student.fc2) == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear] and student.fc2[0].bias is None
