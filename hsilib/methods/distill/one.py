"""ONE: branches on a common trunk, taught by the mixture that a gate makes of them.

Lan, Zhu, Gong, Knowledge Distillation by On-the-Fly Native Ensemble, NeurIPS 2018; methods E.2.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.methods.distill.distillation import distillation, kd, peers, ramp, trace
from hsilib.models.networks import initialise
from hsilib.models.train import on_labels


@distillation("one", "ONE", "online", mark="orange ^", paper="ONE", branches=3, temperature=3.0)
def one(task, student):
    """L = sum_i CE(z_i, y) + CE(z_e, y) + w(t) sum_i KD_3(z_i, sg z_e), z_e = sum_i a_i z_i;
    branch 0 is the one reported"""
    others = peers(task, student, task.options.branches - 1)
    gate, terms = mixture(task, student.config["widths"][0])

    def loss(model, batch):
        f1 = model.stem(batch.x)
        z = torch.stack([net.branch(f1).logits for net in (model, *others)], 1)  # (B, m, K)
        return terms(z, f1, batch)

    return loss, gate, *others


def mixture(task, channels):
    """Return a gate, and the terms of the loss of scores z (B, m, K) that it mixes by what it makes of the
    branches' maps f (B, channels, H, W): a = softmax(ReLU(BN(Linear(GAP f))))"""
    o = task.options
    gate = nn.Sequential(nn.Linear(channels, o.branches), nn.BatchNorm1d(o.branches), nn.ReLU())
    initialise(gate, task.seed("gate")).to(task.device)

    def terms(z, f, batch):
        weight = F.softmax(gate(f.mean((2, 3))), 1)
        trace(task, "gates", batch, torch.stack([weight.mean(0), weight.std(0)]))
        mixed = (weight[:, :, None] * z).sum(1)
        hard = {f"ce{i}": on_labels(z[:, i], batch.y) for i in range(o.branches)}
        kl = sum(kd(z[:, i], mixed.detach(), o.temperature) for i in range(o.branches))
        return hard | {"ce_mixed": on_labels(mixed, batch.y), "kd": ramp(batch.progress) * kl}

    return gate, terms
