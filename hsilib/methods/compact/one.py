"""ONE for a network small by design: three Lenses on one projection, taught by what a gate mixes of them.

Lan, Zhu, Gong, Knowledge Distillation by On-the-Fly Native Ensemble, NeurIPS 2018; methods E.2 and J.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.methods.compact.compact import RECIPE, Look, build
from hsilib.methods.compact.lens import Lens
from hsilib.methods.distill.one import ensemble_terms
from hsilib.methods.distill.parts import trace
from hsilib.methods.registry import method
from hsilib.methods.task import Task
from hsilib.models.networks import initialise

SIZES = dict(width=22, centre=22)
WORDS = dict(sees="patches", recipe=RECIPE, mark="pink ^", augment="dihedral")


@method("lens_one", "compact", "Lens with ONE", **WORDS, **SIZES, branches=3, temperature=3.0)
def lens_one(task: Task) -> Lens:
    """L = sum_i CE(z_i, y) + CE(z_e, y) + w(t) sum_i KD_3(z_i, sg z_e), z_e = sum_i a_i z_i; the branches
    share the projection, and branch 0 is the one deployed"""
    o = task.options
    net, *others = nets = [build(task, Lens, SIZES, member) for member in range(o.branches)]
    for other in others:
        other.project = net.project
    gate = nn.Sequential(nn.Linear(o.width, o.branches), nn.BatchNorm1d(o.branches), nn.ReLU())
    initialise(gate, task.seed("gate")).to(task.device)
    look = Look(task, net)

    def loss(model, batch):
        p = look.projected(model, batch)
        z = torch.stack([branch.after(p).logits for branch in nets], 1)  # (B, m, K)
        weight = F.softmax(gate(p.mean((2, 3))), 1)  # a = softmax(ReLU(BN(Linear(GAP p))))
        trace(task, "gates", batch, torch.stack([weight.mean(0), weight.std(0)]))
        return ensemble_terms(z, weight, batch, o.temperature)

    return task.fit(net, data=look.data, augment=look.draw, loss=loss, extra=[gate, *others])
