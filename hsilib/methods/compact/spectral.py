"""Networks of one pixel's spectrum: two that were made for satellites, and a perceptron.

Justo et al., Sea-Land-Cloud Segmentation in Satellite Hyperspectral Imagery by Deep Learning, arXiv
2310.16210; NTNU-SmallSat-Lab/hypso-onboard-segmentation; methods J.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.methods.compact.compact import network
from hsilib.models.networks import Outputs


@network("liunet", "1D-Justo-LiuNet", mark="green D", least=91)
class LiuNet(nn.Module):
    """Four convolutions of length 6 run along the spectrum, with 6, 12, 18 and 24 channels, each pooled."""

    kind = "bands"

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.config = dict(bands=bands, classes=classes)
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 6) for a, b in zip((1, 6, 12, 18), (6, 12, 18, 24)))
        for _ in self.convs:
            bands = (bands - 5) // 2
        self.head = nn.Linear(24 * bands, classes)

    def forward(self, x: torch.Tensor) -> Outputs:
        x = x[:, None]
        for conv in self.convs:
            x = F.max_pool1d(F.relu(conv(x)), 2)
        e = torch.flatten(x, 1)
        return Outputs(self.head(e), {"e": e})


@network("pointwise", "Pointwise", mark="olive v", batch_norm=False)
class Pointwise(nn.Module):
    """Three layers of 24, 12 and as many units as there are classes, on one pixel: 1 x 1 convolutions."""

    kind = "bands"

    def __init__(self, bands: int, classes: int, batch_norm: bool = False) -> None:
        super().__init__()
        self.config = dict(bands=bands, classes=classes, batch_norm=batch_norm)
        norm = nn.BatchNorm1d if batch_norm else nn.Identity
        self.fc1, self.bn1 = nn.Linear(bands, 24), norm(24)
        self.fc2, self.bn2 = nn.Linear(24, 12), norm(12)
        self.fc3 = nn.Linear(12, classes)

    def forward(self, x: torch.Tensor) -> Outputs:
        e = F.relu(self.bn2(self.fc2(F.relu(self.bn1(self.fc1(x))))))
        return Outputs(self.fc3(e), {"e": e})


@network("perceptron_wide", "Perceptron, wide", mark="sky s", width=80)
@network("perceptron", "Perceptron", mark="sky ^", width=24)
class Perceptron(nn.Module):
    """One hidden layer with batch norm on the spectrum.

    >>> parameters(Perceptron(200, 16))
    5224
    """

    kind = "bands"

    def __init__(self, bands: int, classes: int, width: int = 24) -> None:
        super().__init__()
        self.config = dict(bands=bands, classes=classes, width=width)
        self.fc1, self.bn1 = nn.Linear(bands, width), nn.BatchNorm1d(width)
        self.fc2 = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> Outputs:
        e = F.relu(self.bn1(self.fc1(x)))
        return Outputs(self.fc2(e), {"e": e})
