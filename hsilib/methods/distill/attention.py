"""Attention transfer: look where the teacher looks.

Zagoruyko, Komodakis, Paying More Attention to Attention, ICLR 2017; methods E.1.
"""

import torch.nn.functional as F

from hsilib.methods.distill.distillation import distillation
from hsilib.models.train import on_labels

TAPS = ("f1", "f2")


def attention_map(maps):
    """q = Q / ||Q||_2 with Q = vec(mean_c |A_c|^2): (B, C, H, W) -> (B, HW)"""
    return F.normalize(maps.square().mean(1).flatten(1))


@distillation("attention_transfer", "Attention transfer", "offline", mark="green ^", teachers=1, taps=TAPS,
              paper="Attention Transfer", attention=1000.0)
def attention_transfer(task, student, teacher):
    """L = CE(z_s, y) + attention sum over both blocks of mean (q_s - q_t)^2"""

    def loss(model, batch):
        s, t = model(batch.x), teacher(batch.index)
        apart = sum(F.mse_loss(attention_map(s.taps[tap]), attention_map(t.taps[tap])) for tap in TAPS)
        return {"ce": on_labels(s.logits, batch.y), "attention": task.options.attention * apart}

    return loss
