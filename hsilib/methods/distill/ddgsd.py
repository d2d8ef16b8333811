"""DDGSD: two distorted views of a patch are to be answered alike.

Xu, Liu, Data-Distortion Guided Self-Distillation for Deep Neural Networks, AAAI 2019; methods E.3.
"""

import torch

from hsilib.methods.distill.distillation import distillation, kd
from hsilib.models.train import flips_and_crops, on_labels


@distillation("ddgsd", "DDGSD", "self", mark="pink o", paper="DDGSD", soft=1.0, temperature=3.0,
              features=5e-4)
def ddgsd(task, student):
    """L = CE(z_a, y) + CE(z_b, y) + soft [KD_3(z_a, z_b) + KD_3(z_b, z_a)]
    + features ||mean e_a - mean e_b||^2"""
    o, generator = task.options, torch.Generator().manual_seed(task.seed("views"))

    def loss(model, batch):
        a, b = (model(flips_and_crops(batch.x, generator)) for _ in range(2))
        both = kd(a.logits, b.logits.detach(), o.temperature) + kd(b.logits, a.logits.detach(), o.temperature)
        return {
            "ce": on_labels(a.logits, batch.y) + on_labels(b.logits, batch.y),
            "kd": o.soft * both,
            "mmd": o.features * (a.taps["e"].mean(0) - b.taps["e"].mean(0)).square().sum(),
        }

    return loss
