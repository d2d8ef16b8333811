"""Decoupled distillation: what the teacher says of the true class, and of the others, weighed apart.

Zhao, Cui, Song, Qiu, Liang, Decoupled Knowledge Distillation, CVPR 2022; methods E.5.
"""

import torch
import torch.nn.functional as F

from hsilib.methods.distill.distillation import distillation, epoch_of
from hsilib.models.train import on_labels


def parts(z, y, temperature):
    """Return the logarithms of (p_y, 1 - p_y), (B, 2), and of the shares of the other classes, (B, K - 1)."""
    z = z / temperature
    others = torch.arange(z.shape[1], device=z.device) != y[:, None]
    rest = z[others].view(len(z), -1)
    of_all, of_rest = z.logsumexp(1), rest.logsumexp(1)
    return torch.stack([z.gather(1, y[:, None])[:, 0] - of_all, of_rest - of_all], 1), rest - of_rest[:, None]


def tckd_nckd(student, teacher, y, temperature):
    """Return T^2 KL of the binary parts and of the rests; KD_T = TCKD + (1 - p_t,y) NCKD for each sample."""
    pairs = zip(parts(student, y, temperature), parts(teacher, y, temperature))
    return tuple(temperature**2 * F.kl_div(s, t, reduction="batchmean", log_target=True) for s, t in pairs)


@distillation("dkd", "Decoupled KD", "offline", mark="olive h", teachers=1, target=1.0, others=8.0,
              temperature=4.0, warm_up=20 / 300)
def decoupled(task, student, teacher):
    """L = CE(z_s, y) + min(t / W, 1) (target TCKD + others NCKD)"""
    o = task.options
    passes = task.inputs(student.kind).turns  # an epoch of images is several
    warm_up = max(1, o.warm_up * task.run.recipe.epochs * passes)  # W, in passes, counted from 1

    def loss(model, batch):
        s, t = model(batch.x), teacher(batch.index)
        tckd, nckd = tckd_nckd(s.logits, t.logits, batch.y, o.temperature)
        weight = min(epoch_of(task, batch, passes) / warm_up, 1)
        return {
            "ce": on_labels(s.logits, batch.y),
            "target": weight * o.target * tckd,
            "others": weight * o.others * nckd,
        }

    return loss
