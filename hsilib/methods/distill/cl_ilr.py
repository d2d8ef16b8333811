"""CL-ILR: heads on a common trunk learn from each other; the trunk's gradient is divided by their number.

Song, Chai, Collaborative Learning for Deep Neural Networks, NeurIPS 2018; methods E.2.
"""

import torch
import torch.nn.functional as F

from hsilib.methods.distill.distillation import distillation, peers
from hsilib.models.train import on_labels


class Rescale(torch.autograd.Function):
    """The identity, whose gradient is divided by the number of heads."""

    @staticmethod
    def forward(context, x, heads):
        context.heads = heads
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        return gradient / context.heads, None


@distillation("cl_ilr", "CL-ILR", "online", mark="green D", paper="CL-ILR", heads=4, temperature=2.0,
              hard=0.5)
def cl_ilr(task, student):
    """L = sum_h hard CE(z_h, y) + (1 - hard) T^2 J(z_h, q_h), q_h = softmax(mean_{j != h} z_j / T);
    head 0 is the one reported"""
    o = task.options
    others = peers(task, student, o.heads - 1)

    def loss(model, batch):
        f1 = Rescale.apply(model.stem(batch.x), o.heads)
        z = torch.stack([net.branch(f1).logits for net in (model, *others)])  # (H, B, K)
        rest = (z.sum(0) - z) / (o.heads - 1)
        q = F.softmax(rest / o.temperature, 2).detach()
        soft = -(q * F.log_softmax(z / o.temperature, 2)).sum(2).mean(1)  # J of each head
        hard = {f"ce{h}": o.hard * on_labels(z[h], batch.y) for h in range(o.heads)}
        return hard | {"soft": (1 - o.hard) * o.temperature**2 * soft.sum()}

    return loss, *others
