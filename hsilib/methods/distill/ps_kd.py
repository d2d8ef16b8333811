"""PS-KD: the targets move from the labels towards what the network itself said an epoch ago.

Kim, Ji, Yoon, Hwang, Self-Knowledge Distillation with Progressive Refinement of Targets, ICCV 2021;
methods E.3.
"""

import torch.nn.functional as F

from hsilib.methods.distill.distillation import distillation, epoch_of, trace


@distillation("ps_kd", "PS-KD", "self", mark="green v", paper="PS-KD", last=0.8)
def ps_kd(task, student):
    """L = -mean sum target log p, target = (1 - alpha_t) onehot(y) + alpha_t P_{t-1},
    alpha_t = last (t + 1) / E"""
    epochs, y = task.run.recipe.epochs, task.data(student).y
    said = F.one_hot(y, task.classes).float()  # P: before the first epoch, the labels

    def loss(model, batch):
        alpha = task.options.last * epoch_of(task, batch) / epochs
        log_p = F.log_softmax(model(batch.x).logits, 1)
        target = (1 - alpha) * F.one_hot(batch.y, task.classes) + alpha * said[batch.index]
        trace(task, "target", batch, target.gather(1, batch.y[:, None]).mean())
        said[batch.index] = log_p.detach().exp().to(said)
        return {"ce": -(target * log_p).sum(1).mean()}

    return loss
