"""FitNets: the student's second block, through a regressor, is to look like the teacher's.

Romero, Ballas, Kahou, Chassang, Gatta, Bengio, FitNets: Hints for Thin Deep Nets, ICLR 2015; methods E.1.
"""

import torch.nn.functional as F
from torch import nn

from hsilib.methods.distill.distillation import distillation
from hsilib.models.networks import WIDTHS, initialise
from hsilib.models.train import on_labels


def regressor(inputs, outputs, seed, bias=False):
    """Build 1 x 1 convolution, batch norm, ReLU: maps of the student to as many maps as the teacher has."""
    layers = nn.Conv2d(inputs, outputs, 1, bias=bias), nn.BatchNorm2d(outputs), nn.ReLU()
    return initialise(nn.Sequential(*layers), seed)


@distillation("fitnets", "FitNets", "offline", mark="orange s", teachers=1, taps=("f2",), paper="FitNets",
              hint=100.0)
def fitnets(task, student, teacher):
    """L = CE(z_s, y) + hint mean (r(f_s) - f_t)^2 on the maps before pooling"""
    regress = regressor(student.config["widths"][1], WIDTHS[0][1], task.seed("regressor")).to(task.device)

    def loss(model, batch):
        s, t = model(batch.x), teacher(batch.index)
        hint = F.mse_loss(regress(s.taps["f2"]), t.taps["f2"])
        return {"ce": on_labels(s.logits, batch.y), "hint": task.options.hint * hint}

    return loss, regress
