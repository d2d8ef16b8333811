"""TF-KD: a virtual teacher that is always right and nearly as often unsure.

Yuan, Tay, Li, Wang, Feng, Revisiting Knowledge Distillation via Label Smoothing Regularization, CVPR 2020;
methods E.3.
"""

import torch
import torch.nn.functional as F

from hsilib.methods.distill.distillation import distillation
from hsilib.models.train import on_labels


def virtual_teacher(y, classes, correct, temperature):
    """softmax(p_d / tau), as the authors write it: p_d = correct for the true class, (1 - correct) / (K - 1)
    for the others"""
    p = torch.full((len(y), classes), (1 - correct) / (classes - 1), device=y.device)
    return F.softmax(p.scatter(1, y[:, None], correct) / temperature, 1)


@distillation("tf_kd", "TF-KD", "self", mark="blue ^", paper="TF-KD", soft=0.1, temperature=20.0,
              correct=0.99)
def tf_kd(task, student):
    """L = (1 - soft) CE(z, y) + soft KL(p_virtual || p)"""
    o = task.options

    def loss(model, batch):
        z = model(batch.x).logits
        target = virtual_teacher(batch.y, task.classes, o.correct, o.temperature)
        kl = F.kl_div(F.log_softmax(z, 1), target, reduction="batchmean")
        return {"ce": (1 - o.soft) * on_labels(z, batch.y), "kd": o.soft * kl}

    return loss
