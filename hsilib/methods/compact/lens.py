"""Lens: a sharp look at the centre and a coarse one around it, from raw bands; methods J.

The bands of every pixel are projected once, by a layer that learns along and starts at the whitened principal
components.  Depthwise separable convolutions look at the surroundings, a layer on the centre's projection at
the pixel itself: rare classes live there.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.data.inputs import principal
from hsilib.data.splits import WINDOW
from hsilib.methods.compact.compact import network
from hsilib.models.networks import Outputs


def whitened(spectra, count):
    """Return weights (count, B) that make principal components of variance one of spectra (N, B)."""
    x = spectra.double().cpu().numpy()
    x = x - x.mean(0)
    covariance = x.T @ x / max(len(x) - 1, 1)
    vectors = principal(covariance, count)
    spread = (vectors * (covariance @ vectors)).sum(0) ** 0.5
    return torch.from_numpy((vectors / spread.clip(1e-3 * spread.max())).T.copy()).float()


class Spread(nn.Conv2d):
    """A convolution whose cells lie ``dilation`` pixels apart in a scene."""

    def forward(self, x, dilation=1):
        return F.conv2d(x, self.weight, self.bias, dilation=dilation, groups=self.groups)


class Depthwise(Spread):
    """A kernel of its own for every channel."""

    def __init__(self, channels, size):
        super().__init__(channels, channels, size, groups=channels, bias=False)


class Separable(nn.Module):
    """A depthwise convolution, then one across channels; batch norm and ReLU behind each."""

    def __init__(self, channels, out, size):
        super().__init__()
        self.depth = Depthwise(channels, size)
        self.point = nn.Conv2d(channels, out, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(out)

    def forward(self, x, dilation=1):
        return F.relu(self.bn2(self.point(F.relu(self.bn1(self.depth(x, dilation))))))


class Projecting(nn.Module):
    """A network of windows (B, bands, 19, 19) that begins with ``project``; ``after`` is all that follows."""

    kind = "windows"

    def forward(self, x: torch.Tensor) -> Outputs:
        return self.after(self.project(x))


@network("lens_20k", "Lens 20 kB", mark="red s", width=40, centre=40, learnt=True)
@network("lens_5k", "Lens 5 kB", mark="red v", width=12, centre=12, learnt=True)
@network("lens_2k", "Lens 2 kB", mark="red ^", width=5, centre=5, learnt=True)
@network("lens", "Lens", mark="red o", width=22, centre=22, learnt=True)
class Lens(Projecting):
    """A learnt projection of the bands; depthwise separable convolutions on the window beside a layer on the
    centre's spectrum.

    >>> payload(Lens(200, 16), bands=200)
    32184
    """

    def __init__(
        self, bands: int, classes: int, width: int = 22, centre: int = 22, learnt: bool = True
    ) -> None:
        super().__init__()
        self.config = dict(bands=bands, classes=classes, width=width, centre=centre, learnt=learnt)
        self.project, self.bn = nn.Conv2d(bands, width, 1, bias=False), nn.BatchNorm2d(width)
        self.project.requires_grad_(learnt)  # else it stays at the principal components
        self.first, self.second = Separable(width, width, 5), Separable(width, width, 3)
        self.third, self.bn3 = Depthwise(width, 3), nn.BatchNorm2d(width)
        self.spot = nn.Conv2d(width, centre, 1, bias=False) if centre else None
        self.bn_spot = nn.BatchNorm2d(centre) if centre else None
        self.head = nn.Linear(2 * width + centre, classes)
        self.register_buffer("ninth", torch.full((width, 1, 3, 3), 1 / 9), persistent=False)
        self.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def start(self, spectra):
        """Begin with the whitened principal components; more channels than bands keep random weights."""
        weight = whitened(spectra, len(self.project.weight))
        self.project.weight[: len(weight)] = weight[..., None, None].to(self.project.weight.device)

    def maps(self, x, spread):
        """Projected bands (B, width, h, w) -> features (B, 2 width + centre, h - 18, w - 18)."""
        p, edge = F.relu(self.bn(x)), getattr(self, "window", WINDOW) // 2
        f, apart = self.around(p, spread)
        mean = F.conv2d(f, self.ninth, groups=len(self.ninth), dilation=apart)
        h, w = x.shape[2] - 2 * edge, x.shape[3] - 2 * edge
        parts = [part[:, :, :h, :w] for part in (mean, F.max_pool2d(f, 3, 1, dilation=apart))]
        if self.spot is not None:
            centre = p[:, :, edge : edge + h, edge : edge + w]
            parts.append(F.relu(self.bn_spot(self.spot(centre))))
        return torch.cat(parts, 1)

    def around(self, p, spread):
        """Look at the surroundings, and say how far apart the cells of what is seen lie.

        Those behind the pool lie two pixels apart: in a window the pool has stride 2; in a scene it has
        stride 1 and later kernels are dilated by ``spread`` = 2.
        """
        f = F.max_pool2d(self.first(p), 2, 3 - spread)  # (B, width, 7, 7) of a window
        f = self.second(f, spread)  # (B, width, 5, 5)
        return F.relu(self.bn3(self.third(f, spread))), spread  # (B, width, 3, 3)

    def after(self, x):
        e = self.maps(x, 1)[:, :, 0, 0]
        return Outputs(self.head(e), {"e": e})

    def dense(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits (K, H, W) of every pixel of a padded image (1, C, H+18, W+18)."""
        e = self.maps(self.project(image), 2)[0]
        return self.head(e.flatten(1).T).T.view(-1, *e.shape[1:])
