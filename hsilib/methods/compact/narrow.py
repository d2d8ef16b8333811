"""Lenses that look at less: windows of 13 or 9 instead of 19, and one without its layer on the centre.

A narrow window holds fewer training pixels, so it leaks less; methods J.
"""

import torch
import torch.nn.functional as F

from hsilib.data.inputs import MARGIN, middle
from hsilib.methods.compact.compact import network
from hsilib.methods.compact.lens import Lens, Separable
from hsilib.methods.compact.taught import ENSEMBLE, taught
from hsilib.models.networks import Outputs

# as many bytes as Lens, all of them in its depthwise separable convolutions
network("separable", "Separable", family="rivals", mark="pink s", width=24, centre=0)(Lens)


@network("lens_13", "Lens, window of 13", family="rivals", mark="pink v", window=13)
@network("lens_9", "Lens, window of 9", family="rivals", mark="pink X", window=9)
class NarrowLens(Lens):
    """As Lens, on the middle of the window: of 13 it has a layer less, of 9 it does not pool."""

    def __init__(
        self, bands: int, classes: int, window: int = 9, width: int = 22, centre: int = 22
    ) -> None:
        super().__init__(bands, classes, width, centre)
        self.config = dict(bands=bands, classes=classes, window=window, width=width, centre=centre)
        self.window, self.first = window, Separable(width, width, 3)
        if window == 13:
            del self.third, self.bn3
        self.to(memory_format=torch.channels_last)

    def maps(self, x: torch.Tensor, spread: int) -> torch.Tensor:
        """Projected bands (B, width, h, w) -> features (B, 2 width + centre, h, w) less a window's edges."""
        p, edge = F.relu(self.bn(x)), self.window // 2
        f = self.first(p)
        if self.window == 13:
            f = self.second(F.max_pool2d(f, 2, 3 - spread), spread)  # (B, width, 3, 3) of a window
        else:
            spread = 1
            f = F.relu(self.bn3(self.third(self.second(f))))  # (B, width, 3, 3)
        mean = F.conv2d(f, self.ninth, groups=len(self.ninth), dilation=spread)
        h, w = x.shape[2] - 2 * edge, x.shape[3] - 2 * edge
        parts = [part[:, :, :h, :w] for part in (mean, F.max_pool2d(f, 3, 1, dilation=spread))]
        centre = p[:, :, edge : edge + h, edge : edge + w]
        return torch.cat([*parts, F.relu(self.bn_spot(self.spot(centre)))], 1)

    def forward(self, x: torch.Tensor) -> Outputs:
        """Classify windows (B, bands, 19, 19), of which the middle is seen."""
        return self.after(self.project(x))

    def after(self, x: torch.Tensor) -> Outputs:
        """Do all that follows the projection."""
        return super().after(middle(x, self.window))

    def dense(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits (K, H, W) of every pixel of a padded image (1, C, H+18, W+18)."""
        edge = MARGIN - self.window // 2
        return super().dense(image[:, :, edge:-edge, edge:-edge])


taught("lens_9_taught", "Lens, window of 9, taught", "lens_9", mark="orange X", **ENSEMBLE)
taught("lens_13_taught", "Lens, window of 13, taught", "lens_13", mark="orange v", **ENSEMBLE)
taught("separable_taught", "Separable, taught", "separable", mark="orange s", **ENSEMBLE)
