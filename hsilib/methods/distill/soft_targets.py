"""Soft targets: learn the teacher's softened answers.

Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2014; methods E.1.
"""

from hsilib.methods.distill.distillation import distillation, kd
from hsilib.models.train import on_labels


@distillation("soft_targets", "Soft targets", "offline", mark="blue o", teachers=1, paper="Soft targets",
              hard=0.1, soft=0.9, temperature=4.0)
def soft_targets(task, student, teacher):
    """L = hard CE(z_s, y) + soft KD_T(z_s, z_t)"""
    o = task.options

    def loss(model, batch):
        s, t = model(batch.x), teacher(batch.index)
        return {
            "ce": o.hard * on_labels(s.logits, batch.y),
            "kd": o.soft * kd(s.logits, t.logits, o.temperature),
        }

    return loss
