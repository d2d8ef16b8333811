"""OKDDip: peers that each mix all peers' scores by attention, and a leader taught by the peers' mean.

Chen, Mei, Wang, Feng, Chen, Online Knowledge Distillation with Diverse Peers, AAAI 2020; methods E.2.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.methods.distill.distillation import distillation, kd, peers, ramp, trace
from hsilib.models.networks import initialise
from hsilib.models.train import on_labels


def attention(h, query, key):
    """A_ab = softmax_b(q_a . k_b): features (P, B, D) of the peers -> (B, P, P)"""
    return F.softmax(torch.einsum("pbd,rbd->bpr", query(h), key(h)), 2)


@distillation("okddip", "OKDDip", "online", mark="pink v", paper="OKDDip", branches=4, temperature=3.0)
def okddip(task, student):
    """L = sum_i CE(z_i, y) + w(t) [sum_a KD_3(z_a, sum_b A_ab z_b) + KD_3(z_leader, mean_a z_a)];
    nothing is detached; the leader is the one reported"""
    o = task.options
    others = peers(task, student, o.branches - 1)
    size = student.fc1.in_features
    layers = {role: nn.Linear(size, size // 8, bias=False) for role in ("query", "key")}
    query, key = (initialise(layer, task.seed(role)).to(task.device) for role, layer in layers.items())

    def loss(model, batch):
        f1 = model.stem(batch.x)
        leader, peer = model.branch(f1).logits, [net.branch(f1) for net in others]
        z, h = torch.stack([out.logits for out in peer]), torch.stack([out.taps["v"] for out in peer])
        weight = attention(h, query, key)
        trace(task, "attention", batch, weight.mean(0))
        mixed = torch.einsum("bpr,rbk->pbk", weight, z)
        kl = sum(kd(mine, target, o.temperature) for mine, target in zip(z, mixed))
        kl = kl + kd(leader, z.mean(0), o.temperature)
        terms = {"ce_leader": on_labels(leader, batch.y)}
        terms |= {f"ce{a}": on_labels(mine, batch.y) for a, mine in enumerate(z)}
        return terms | {"kd": ramp(batch.progress) * kl}

    return loss, query, key, *others
