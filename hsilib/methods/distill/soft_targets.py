"""Soft targets: learn the teacher's softened answers.

Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2014; methods E.1.
"""

import torch

from hsilib.methods.distill.distillation import distillation
from hsilib.methods.distill.parts import Teacher, kd
from hsilib.methods.task import Task
from hsilib.models.train import Loss, on_labels


@distillation("soft_targets", "Soft targets", "offline", mark="blue o", teachers=1, paper="Soft targets",
              hard=0.1, soft=0.9, temperature=4.0)
def soft_targets(task: Task, student: torch.nn.Module, teacher: Teacher) -> Loss:
    """L = hard CE(z_s, y) + soft KD_T(z_s, z_t)"""
    o = task.options

    def loss(model, batch):
        s, t = model(batch.x), teacher(batch.index)
        return {
            "ce": o.hard * on_labels(s.logits, batch.y),
            "kd": o.soft * kd(s.logits, t.logits, o.temperature),
        }

    return loss
