"""KL and cosine: the teacher's softened answers, and the direction of its scores.

The soft part of the land-use paper (VGG16 to MobileNetV2); methods E.4, whose weights are ours.
"""

import torch.nn.functional as F

from hsilib.methods.distill.distillation import distillation, kd
from hsilib.models.train import on_labels


def cosine_distance(student, teacher):
    """1 - cos(u_s, u_t), mean over the batch; u: scores less their mean, which a softmax does not see"""
    student, teacher = (z - z.mean(1, keepdim=True) for z in (student, teacher))
    return (1 - F.cosine_similarity(student, teacher)).mean()


@distillation("kl_cosine", "KL + cosine", "offline", mark="indigo X", teachers=1, hard=0.5, kl=0.5,
              temperature=4.0)
def kl_cosine(task, student, teacher):
    """L = hard CE + (1 - hard) [kl KD_T + (1 - kl) L_cos];
    hard = 1: no teacher, kl = 1: KL only, kl = 0: cosine only"""
    o = task.options

    def loss(model, batch):
        s, t = model(batch.x), teacher(batch.index)
        return {
            "ce": o.hard * on_labels(s.logits, batch.y),
            "kd": (1 - o.hard) * o.kl * kd(s.logits, t.logits, o.temperature),
            "cosine": (1 - o.hard) * (1 - o.kl) * cosine_distance(s.logits, t.logits),
        }

    return loss
