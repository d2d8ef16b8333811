"""CS-KD: two samples of one class are to be answered alike.

Yun, Park, Lee, Shin, Regularizing Class-wise Predictions via Self-knowledge Distillation, CVPR 2020;
methods E.3.
"""

import torch

from hsilib.methods.distill.distillation import distillation, kd
from hsilib.models.train import on_labels


class Partners:
    """It draws at random, for each sample, another of its class; that may be the sample itself."""

    def __init__(self, y, seed):
        self.order = y.argsort(stable=True)  # positions, class by class
        self.count = torch.bincount(y)
        self.start = self.count.cumsum(0) - self.count
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, y):
        """Return positions in the training set, one for each of the classes ``y``."""
        draw = torch.rand(len(y), generator=self.generator).to(y.device)
        return self.order[self.start[y] + (draw * self.count[y]).long()]


@distillation("cs_kd", "CS-KD", "self", mark="orange D", paper="CS-KD", soft=1.0, temperature=4.0)
def cs_kd(task, student):
    """L = CE(z(x), y) + soft KD_4(z(x), sg z(x')), x' of the same class"""
    o, data = task.options, task.data(student)
    partner = Partners(data.y, task.seed("partners"))

    def loss(model, batch):
        with torch.no_grad():  # a pass of its own, in training mode: batch norm sees both halves
            other = model(data.x(partner(batch.y))).logits
        z = model(batch.x).logits
        return {"ce": on_labels(z, batch.y), "kd": o.soft * kd(z, other, o.temperature)}

    return loss
