"""ONE: branches on a common trunk, taught by the mixture that a gate makes of them.

Lan, Zhu, Gong, Knowledge Distillation by On-the-Fly Native Ensemble, NeurIPS 2018; methods E.2.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.methods.distill.distillation import LossAndModules, distillation
from hsilib.methods.distill.parts import kd, peers, ramp, trace
from hsilib.methods.task import Task
from hsilib.models.networks import CNN2D, initialise
from hsilib.models.train import Batch, on_labels


@distillation("one", "ONE", "online", mark="orange ^", paper="ONE", branches=3, temperature=3.0)
def one(task: Task, student: CNN2D) -> LossAndModules:
    """L = sum_i CE(z_i, y) + CE(z_e, y) + w(t) sum_i KD_3(z_i, sg z_e), z_e = sum_i a_i z_i;
    branch 0 is the one reported"""
    o = task.options
    others = peers(task, student, o.branches - 1)
    inputs = student.config["widths"][0]
    gate = nn.Sequential(nn.Linear(inputs, o.branches), nn.BatchNorm1d(o.branches), nn.ReLU())
    initialise(gate, task.seed("gate")).to(task.device)

    def loss(model, batch):
        f1 = model.stem(batch.x)
        z = torch.stack([net.branch(f1).logits for net in (model, *others)], 1)  # (B, m, K)
        weight = F.softmax(gate(f1.mean((2, 3))), 1)  # a = softmax(ReLU(BN(Linear(GAP f1))))
        trace(task, "gates", batch, torch.stack([weight.mean(0), weight.std(0)]))
        return ensemble_terms(z, weight, batch, o.temperature)

    return loss, gate, *others


def ensemble_terms(
    z: torch.Tensor, weight: torch.Tensor, batch: Batch, temperature: float
) -> dict[str, torch.Tensor]:
    """Return the terms of the loss of branches' scores (B, m, K) that are mixed by ``weight`` (B, m)."""
    mixed = (weight[:, :, None] * z).sum(1)
    terms = {f"ce{i}": on_labels(z[:, i], batch.y) for i in range(z.shape[1])}
    kl = sum(kd(z[:, i], mixed.detach(), temperature) for i in range(z.shape[1]))
    return terms | {"ce_mixed": on_labels(mixed, batch.y), "kd": ramp(batch.progress) * kl}
