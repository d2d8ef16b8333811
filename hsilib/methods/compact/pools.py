"""Pools: one layer mixes the bands, means over squares of several sizes look around, two layers decide.

The means are box filters without weights, so that a turned window gives what the window gives, and a scene
costs two running sums a channel and size; methods J.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.data.inputs import MARGIN
from hsilib.methods.compact.compact import network
from hsilib.methods.compact.lens import whitened
from hsilib.models.networks import Outputs


@network("pools_5k", "Pools 5 kB", mark="olive ^", width=14, hidden=14, sizes="1+3+7+13")
@network("pools", "Pools", mark="olive X", width=22, hidden=28, sizes="1+3+7+13")
class Pools(nn.Module):
    """A learnt projection of the bands, its means over squares around the centre, a hidden layer, a head."""

    kind = "windows"

    def __init__(
        self, bands: int, classes: int, width: int = 22, hidden: int = 28, sizes: str = "1+3+7+13"
    ) -> None:
        super().__init__()
        self.config = dict(bands=bands, classes=classes, width=width, hidden=hidden, sizes=sizes)
        self.sizes = [int(size) for size in sizes.split("+")]
        self.project, self.bn = nn.Conv2d(bands, width, 1, bias=False), nn.BatchNorm2d(width)
        self.mix = nn.Conv2d(len(self.sizes) * width, hidden, 1, bias=False)
        self.bn_mix = nn.BatchNorm2d(hidden)
        self.head = nn.Conv2d(hidden, classes, 1)
        self.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def start(self, spectra: torch.Tensor) -> None:
        """Begin with the whitened principal components; more channels than bands keep random weights."""
        weight = whitened(spectra, len(self.project.weight))
        self.project.weight[: len(weight)] = weight[..., None, None].to(self.project.weight.device)

    def forward(self, x: torch.Tensor) -> Outputs:
        """Classify windows (B, bands, 19, 19)."""
        return self.after(self.project(x))

    def after(self, x: torch.Tensor) -> Outputs:
        """Do all that follows the projection."""
        e = self.maps(x)
        return Outputs(self.head(e)[:, :, 0, 0], {"e": e[:, :, 0, 0]})

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """Projected bands (B, width, h, w) -> features (B, hidden, h - 18, w - 18)."""
        p = F.relu(self.bn(x))
        parts = []
        for size in self.sizes:
            edge = MARGIN - size // 2
            parts.append(F.avg_pool2d(p[:, :, edge : p.shape[2] - edge, edge : p.shape[3] - edge], size, 1))
        return F.relu(self.bn_mix(self.mix(torch.cat(parts, 1))))

    def dense(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits (K, H, W) of every pixel of a padded image (1, C, H+18, W+18)."""
        return self.head(self.maps(self.project(image)))[0]
