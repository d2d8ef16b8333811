"""Networks for images of land use: VGG16, MobileNetV2 and G-GhostNet (methods F.1).

``width`` thins all layers alike.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.errors import known
from hsilib.models.networks import NETWORKS, Outputs


def conv(inputs, outputs, kernel=1, stride=1, groups=1, act=nn.ReLU):
    """Build a convolution without bias, batch norm, and an activation (``act=None``: none)."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), *([act()] if act else []))


def thin(channels, width):
    """Return the channels at another width: a multiple of eight, never a tenth less, as in MobileNetV2."""
    if width == 1:
        return channels
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded


class ImageNetwork(nn.Module):
    """A trunk leads from images (B, C, S, S) to features (B, E), and a head from these to scores."""

    kind = "images"

    def forward(self, x):
        e = self.trunk(x)
        return Outputs(self.head(e), {"e": e})


class VGG16(ImageNetwork):
    """Thirteen 3 x 3 convolutions in five blocks, each closed by max-pooling.

    head: ``classic`` (two hidden layers of 4,096) or ``pool`` (global average, one layer).
    """

    BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))

    def __init__(self, bands, classes, width=1.0, head="pool", batch_norm=True):
        super().__init__()
        known("head", head, ("classic", "pool"))
        self.config = dict(bands=bands, classes=classes, width=width, head=head, batch_norm=batch_norm)
        layers = []
        for channels, repeats in self.BLOCKS:
            channels = thin(channels, width)
            for _ in range(repeats):
                layers += [nn.Conv2d(bands, channels, 3, padding=1)]
                layers += [nn.BatchNorm2d(channels), nn.ReLU()] if batch_norm else [nn.ReLU()]
                bands = channels
            layers.append(nn.MaxPool2d(2))
        layers += [nn.AdaptiveAvgPool2d(7 if head == "classic" else 1), nn.Flatten()]
        hidden = bands
        if head == "classic":
            hidden = thin(4096, width)
            for inputs in (49 * bands, hidden):
                layers += [nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.5)]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(hidden, classes)
        self.to(memory_format=torch.channels_last)


class InvertedResidual(nn.Module):
    """Block of MobileNetV2: it widens, filters each channel by itself, and narrows without an activation."""

    def __init__(self, inputs, outputs, stride, expand):
        super().__init__()
        inner = inputs * expand
        widen = [conv(inputs, inner, act=nn.ReLU6)] if expand > 1 else []
        by_channel = conv(inner, inner, 3, stride, groups=inner, act=nn.ReLU6)
        self.layers = nn.Sequential(*widen, by_channel, conv(inner, outputs, act=None))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.shortcut else self.layers(x)


class MobileNetV2(ImageNetwork):
    """Seventeen inverted residuals in seven stages."""

    STAGES = (  # expansion, channels, blocks, stride of the first
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    )

    def __init__(self, bands, classes, width=1.0):
        super().__init__()
        self.config = dict(bands=bands, classes=classes, width=width)
        channels = thin(32, width)
        layers = [conv(bands, channels, 3, 2, act=nn.ReLU6)]
        for expand, outputs, repeats, stride in self.STAGES:
            for step in [stride] + [1] * (repeats - 1):
                layers.append(InvertedResidual(channels, thin(outputs, width), step, expand))
                channels = thin(outputs, width)
        last = thin(1280, max(width, 1.0))
        pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2)]
        self.trunk = nn.Sequential(*layers, conv(channels, last, act=nn.ReLU6), *pool)
        self.head = nn.Linear(last, classes)
        self.to(memory_format=torch.channels_last)


class Bottleneck(nn.Module):
    """Block of RegNet-X: 1 x 1, grouped 3 x 3, 1 x 1, and a shortcut, projected where the shape changes."""

    def __init__(self, inputs, outputs, stride, group):
        super().__init__()
        groups = outputs // min(outputs, group)
        grouped = conv(outputs, outputs, 3, stride, groups)
        self.layers = nn.Sequential(conv(inputs, outputs), grouped, conv(outputs, outputs, act=None))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv(inputs, outputs, stride=stride, act=None)

    def forward(self, x):
        return F.relu(self.shortcut(x) + self.layers(x))


class GhostStage(nn.Module):
    """A stage whose inner blocks run on half the channels.

    The other half is made from the first block's output by a cheap 1 x 1 convolution, to which a summary of
    the inner blocks is added.
    """

    def __init__(self, inputs, channels, depth, group):
        super().__init__()
        thinner = int(0.75 * group)
        self.raw = int(0.5 * channels / thinner) * thinner
        cheap = channels - self.raw
        self.base = Bottleneck(inputs, channels, 2, group)
        self.blocks = nn.ModuleList(Bottleneck(self.raw, self.raw, 1, thinner) for _ in range(depth - 2))
        stacked = channels + self.raw * (depth - 2)  # of the first block and the inner ones
        layers = nn.AdaptiveAvgPool2d(1), conv(stacked, cheap), conv(cheap, cheap, act=None)
        self.merge = nn.Sequential(*layers)
        self.cheap = conv(cheap, cheap, act=None)
        self.end = Bottleneck(channels, channels, 1, group)

    def forward(self, x):
        x = self.base(x)
        maps, e = [x], x[:, : self.raw]
        for block in self.blocks:
            e = block(e)
            maps.append(e)
        cheap = F.relu(self.cheap(x[:, self.raw :]) + self.merge(torch.cat(maps, 1)))
        return self.end(torch.cat([e, cheap], 1))


class GGhostNet(ImageNetwork):
    """G-Ghost-RegNetX; ``variant`` names a published size by its multiply-adds at 224 x 224, in billions."""

    VARIANTS = {  # depths, widths, group width
        "0.2": ((1, 1, 4, 7), (24, 56, 152, 368), 8), "0.4": ((1, 2, 7, 12), (32, 64, 160, 384), 16),
        "0.6": ((1, 3, 5, 7), (48, 96, 240, 528), 24), "0.8": ((1, 3, 7, 5), (64, 128, 288, 672), 16),
        "1.6": ((2, 4, 10, 2), (72, 168, 408, 912), 24), "3.2": ((2, 6, 15, 2), (96, 192, 432, 1008), 48),
        "4.0": ((2, 5, 14, 2), (80, 240, 560, 1360), 40), "6.4": ((2, 4, 10, 1), (168, 392, 784, 1624), 56),
        "8.0": ((2, 5, 15, 1), (80, 240, 720, 1920), 120), "12": ((2, 5, 11, 1), (224, 448, 896, 2240), 112),
        "16": ((2, 6, 13, 1), (256, 512, 896, 2048), 128), "32": ((2, 7, 13, 1), (336, 672, 1344, 2520), 168),
    }

    def __init__(self, bands, classes, variant="0.4"):
        super().__init__()
        self.config = dict(bands=bands, classes=classes, variant=variant)
        depths, widths, group = self.VARIANTS[known("variant", variant, self.VARIANTS)]
        layers, channels = [conv(bands, 32, 3, 2)], 32
        for number, (depth, outputs) in enumerate(zip(depths, widths)):
            if number and depth > 2:
                layers.append(GhostStage(channels, outputs, depth, group))
            else:
                layers.append(Bottleneck(channels, outputs, 2, group))
                layers += [Bottleneck(outputs, outputs, 1, group) for _ in range(depth - 1)]
            channels = outputs
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
        self.head = nn.Linear(channels, classes)
        self.to(memory_format=torch.channels_last)


NETWORKS |= {net.__name__: net for net in (VGG16, MobileNetV2, GGhostNet)}
