"""OKDDip: peers that each make their own mixture of all peers' scores by attention, and a leader taught by their mean.

Chen, Mei, Wang, Feng, Chen, Online Knowledge Distillation with Diverse Peers, AAAI 2020; methods E.2.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.distill.distillation import distillation
from hsilib.distill.parts import kd, peers, ramp, trace
from hsilib.models.networks import initialise


def attention(h, query, key):
    """A_ab = softmax_b(q_a . k_b): features (P, B, D) of the peers -> (B, P, P)"""
    return F.softmax(torch.einsum("pbd,rbd->bpr", query(h), key(h)), 2)


@distillation("okddip", "OKDDip", "online", mark="pink v", paper="OKDDip", branches=4, temperature=3.0)
def okddip(task, student):
    """L = sum_i CE(z_i, y) + w(t) [sum_a KD_3(z_a, sum_b A_ab z_b) + KD_3(z_leader, mean_a z_a)]; nothing is detached; the
    leader is the one reported"""
    o = task.options
    others = peers(task, student, o.branches - 1)
    size = student.fc1.in_features
    query, key = (
        initialise(nn.Linear(size, size // 8, bias=False), task.seed(role)) for role in ("query", "key")
    )
    query.to(task.device), key.to(task.device)

    def loss(model, batch):
        f1 = model.stem(batch.x)
        leader, found = model.branch(f1).logits, [net.branch(f1) for net in others]
        z, h = torch.stack([out.logits for out in found]), torch.stack([out.taps["v"] for out in found])
        weight = attention(h, query, key)
        trace(task, "attention", batch, weight.mean(0))
        mixed = torch.einsum("bpr,rbk->pbk", weight, z)
        kl = sum(kd(mine, target, o.temperature) for mine, target in zip(z, mixed)) + kd(
            leader, z.mean(0), o.temperature
        )
        terms = {"ce_leader": F.cross_entropy(leader, batch.y)}
        terms |= {f"ce{a}": F.cross_entropy(mine, batch.y) for a, mine in enumerate(z)}
        return terms | {"kd": ramp(batch.progress) * kl}

    return loss, query, key, *others
