"""Ghost modules in place of separable convolutions: half of the channels are cheap copies of the others.

Han et al., GhostNet: More Features from Cheap Operations, CVPR 2020; methods F.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.methods.compact.compact import network
from hsilib.methods.compact.lens import Depthwise, Lens


class Ghost(nn.Module):
    """A convolution across channels makes half of them; a depthwise one makes the other half of these."""

    def __init__(self, channels, out, size):
        super().__init__()
        self.point, self.bn1 = nn.Conv2d(channels, out // 2, 1, bias=False), nn.BatchNorm2d(out // 2)
        self.cheap, self.bn2 = Depthwise(out // 2, size), nn.BatchNorm2d(out // 2)

    def forward(self, x, dilation=1):
        main = F.relu(self.bn1(self.point(x)))
        copy = self.cheap(main, dilation)
        edge = (main.shape[2] - copy.shape[2]) // 2  # what the depthwise kernel needs around a pixel
        return torch.cat([main[:, :, edge:-edge, edge:-edge], F.relu(self.bn2(copy))], 1)


@network("ghost_lens_20k", "Ghost lens 20 kB", mark="orange s", width=48, centre=48)
@network("ghost_lens", "Ghost lens", mark="orange D", width=24, centre=24)
class GhostLens(Lens):
    """As Lens, with ghost modules in place of depthwise separable convolutions."""

    def __init__(self, bands, classes, width=24, centre=24):
        super().__init__(bands, classes, width, centre)
        del self.config["learnt"]
        self.first, self.second = Ghost(width, width, 5), Ghost(width, width, 3)
        self.to(memory_format=torch.channels_last)
