"""SimKD: imitate the teacher's last features, then use the teacher's own classifier.

Chen, Mei, Zhang, Wang, Feng, Chen, Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022;
methods E.1.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import nn

from hsilib.methods.distill.distillation import distillation
from hsilib.methods.distill.parts import Teacher
from hsilib.methods.task import Task
from hsilib.models.networks import CNN2D, NETWORKS, WIDTHS
from hsilib.models.train import Loss


class Reused(CNN2D):
    """A student whose last layer is a projector to the teacher's features and the teacher's classifier.

    All of it is deployed and counted; `hsilib export` does not take it.
    """

    def __init__(self, bands: int, classes: int, widths: Sequence[int], batch_norm: bool = True) -> None:
        super().__init__(bands, classes, widths, batch_norm)
        features = WIDTHS[0][2]
        projector = nn.Linear(widths[2], features, bias=False), nn.BatchNorm1d(features), nn.ReLU()
        self.fc2 = nn.Sequential(*projector, nn.Linear(features, classes))


NETWORKS["Reused"] = Reused


@distillation("simkd", "SimKD", "offline", mark="sky v", teachers=1, taps=("e",), network=Reused,
              paper="SimKD")
def simkd(task: Task, student: Reused, teacher: Teacher) -> Loss:
    """L = mean (P(e_s) - e_t)^2, nothing else; the classifier is the teacher's, frozen"""
    projector, classifier = student.fc2[:3], student.fc2[3]
    classifier.load_state_dict(teacher.net.fc2.state_dict())
    classifier.requires_grad_(False)

    def loss(model, batch):
        e = model.features(model.block(model.stem(batch.x)))["e"]
        return {"feature": F.mse_loss(projector(e), teacher(batch.index).taps["e"])}

    return loss
