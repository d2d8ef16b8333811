"""Correlation congruence: samples that are alike to the teacher are to be alike to the student.

Peng, Jin, Liu, Zhou, Wu, Liu, Li, Zhang, Correlation Congruence for Knowledge Distillation, ICCV 2019;
methods E.1.
"""

import math

import torch.nn.functional as F

from hsilib.methods.distill.distillation import distillation, kd
from hsilib.models.train import on_labels


def correlation(e, gamma=0.4, order=2):
    """C_ij = exp(-2g) sum_p (2g)^p / p! (e_i . e_j)^p: a Gaussian kernel of unit vectors, to order P"""
    unit = F.normalize(e)
    product = unit @ unit.T
    terms = ((2 * gamma) ** p / math.factorial(p) * product**p for p in range(order + 1))
    return math.exp(-2 * gamma) * sum(terms)


@distillation("correlation_congruence", "Correlation congruence", "offline", mark="pink D", teachers=1,
              taps=("e",), paper="Correlation Congruence", hard=0.1, soft=0.9, temperature=4.0,
              congruence=100.0)
def correlation_congruence(task, student, teacher):
    """L = hard CE(z_s, y) + soft KD_T(z_s, z_t) + congruence mean (C_s - C_t)^2 on the penultimate layer"""
    o = task.options

    def loss(model, batch):
        s, t = model(batch.x), teacher(batch.index)
        return {
            "ce": o.hard * on_labels(s.logits, batch.y),
            "kd": o.soft * kd(s.logits, t.logits, o.temperature),
            "congruence": o.congruence * F.mse_loss(correlation(s.taps["e"]), correlation(t.taps["e"])),
        }

    return loss
