"""ONE for a network small by design: three Lenses on one projection, taught by what a gate mixes of them.

Lan, Zhu, Gong, Knowledge Distillation by On-the-Fly Native Ensemble, NeurIPS 2018; methods E.2 and J.
"""

import torch

from hsilib.methods.compact.compact import RECIPE, Look, build
from hsilib.methods.compact.lens import Lens
from hsilib.methods.distill.one import mixture
from hsilib.methods.registry import method

SIZES = dict(width=22, centre=22)


@method("lens_one", "compact", "Lens with ONE", mark="pink ^", sees="patches", recipe=RECIPE,
        augment="dihedral", **SIZES, branches=3, temperature=3.0)
def lens_one(task):
    """L = sum_i CE(z_i, y) + CE(z_e, y) + w(t) sum_i KD_3(z_i, sg z_e), z_e = sum_i a_i z_i; the branches
    share the projection, and branch 0 is the one deployed"""
    net, *others = nets = [build(task, Lens, SIZES, member) for member in range(task.options.branches)]
    for other in others:
        other.project = net.project
    gate, terms = mixture(task, task.options.width)
    look = Look(task, net)

    def loss(model, batch):
        p = look.projected(model, batch)
        z = torch.stack([branch.after(p).logits for branch in nets], 1)  # (B, m, K)
        return terms(z, p, batch)

    return look.fit(net, loss=loss, extra=[gate, *others])
