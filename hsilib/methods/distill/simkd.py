"""SimKD: imitate the teacher's last features, then use the teacher's own classifier.

Chen, Mei, Zhang, Wang, Feng, Chen, Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022;
methods E.1.
"""

import torch.nn.functional as F
from torch import nn

from hsilib.methods.distill.distillation import distillation
from hsilib.models.networks import CNN2D, WIDTHS, stored


@stored
class Reused(CNN2D):
    """Its last layer is a projector to the teacher's features and the teacher's classifier, both deployed and
    counted; `hsilib export` does not take it."""

    def __init__(self, bands, classes, widths, batch_norm=True):
        super().__init__(bands, classes, widths, batch_norm)
        wide = WIDTHS[0][2]
        projector = nn.Linear(widths[2], wide, bias=False), nn.BatchNorm1d(wide), nn.ReLU()
        self.fc2 = nn.Sequential(*projector, nn.Linear(wide, classes))


@distillation("simkd", "SimKD", "offline", mark="sky v", teachers=1, taps=("e",), network=Reused,
              paper="SimKD")
def simkd(task, student, teacher):
    """L = mean (P(e_s) - e_t)^2, nothing else; the classifier is the teacher's, frozen"""
    projector, classifier = student.fc2[:3], student.fc2[3]
    classifier.load_state_dict(teacher.net.fc2.state_dict())
    classifier.requires_grad_(False)

    def loss(model, batch):
        e = model.features(model.block(model.stem(batch.x)))["e"]
        return {"feature": F.mse_loss(projector(e), teacher(batch.index).taps["e"])}

    return loss
