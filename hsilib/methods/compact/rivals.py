"""Small networks of the field, built anew from their descriptions; methods J.

CLOLN: Channel-Layer-Oriented Lightweight Spectral-Spatial Network for Hyperspectral Image Classification,
TGRS 2024.  LS2CM: A Lightweight Spectral-Spatial Convolution Module for Hyperspectral Image Classification,
GRSL 2021.  Paoletti et al., Ghostnet for Hyperspectral Image Classification, TGRS 2021.  Sun et al.,
Spectral-Spatial Feature Tokenization Transformer for Hyperspectral Image Classification, TGRS 2022.

Each sees the middle of the window of 19, as wide as its authors take it.  Here they learn in the recipe of
the compact networks; a study file also gives them that of their authors.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.data.inputs import middle
from hsilib.methods.compact.compact import network
from hsilib.methods.compact.lens import Projecting
from hsilib.methods.compact.taught import taught
from hsilib.models.networks import Outputs


class Squeeze(nn.Module):
    """Squeeze and excite: each channel is weighed by what two small layers make of the means of all."""

    def __init__(self, channels, inner, bias, gate):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, inner, bias=bias), nn.Linear(inner, channels, bias=bias)
        self.gate = gate()

    def forward(self, x):
        weight = self.gate(self.fc2(F.relu(self.fc1(x.mean((2, 3))))))
        return x * weight[..., None, None]


def depthwise(channels, size=3, bias=False):
    """A kernel of its own for every channel; zeros lie around the window."""
    return nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels, bias=bias)


class Shared(nn.Conv2d):
    """Three weights along the width of the window, the same for all channels."""

    def __init__(self):
        super().__init__(1, 1, (1, 3), padding=(0, 1), bias=False)

    def forward(self, x):
        return super().forward(x.flatten(0, 1)[:, None]).view_as(x)


class Normed(nn.Module):
    """ReLU, a depthwise kernel that starts at random numbers of variance one, batch norm."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 3, 3))
        self.bn = nn.BatchNorm2d(channels, eps=1e-6)

    def draw(self, generator):
        nn.init.normal_(self.weight, generator=generator)

    def forward(self, x):
        return self.bn(F.conv2d(F.relu(x), self.weight, padding=1, groups=len(self.weight)))


@network("cloln", "CLOLN", family="rivals", mark="indigo o")
class CLOLN(Projecting):
    """Twice a mix of the channels, seen by a depthwise kernel and by three weights that all share; then
    squeeze and excite, and the mean of a window of 9."""

    window, counts_batch_norm = 9, True

    def __init__(self, bands, classes):
        super().__init__()
        self.config = dict(bands=bands, classes=classes)
        self.project, self.mix = nn.Conv2d(bands, 16, 1, bias=False), nn.Conv2d(32, 16, 1, bias=False)
        self.depth1, self.row1, self.bn1 = depthwise(16), Shared(), nn.BatchNorm2d(32)
        self.depth2, self.row2, self.bn2 = depthwise(16), Shared(), nn.BatchNorm2d(32)
        self.act1, self.squeeze1 = Normed(32), Squeeze(32, 2, False, nn.Sigmoid)
        self.conv3, self.bn3 = nn.Conv2d(32, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.act2, self.squeeze2 = Normed(16), Squeeze(16, 1, False, nn.Sigmoid)
        self.head = nn.Linear(16, classes, bias=False)

    def after(self, x):
        x = middle(x, self.window)
        x = F.relu(self.bn1(torch.cat([self.depth1(x), self.row1(x)], 1)))
        x = self.mix(x)
        x = self.bn2(torch.cat([self.depth2(x), self.row2(x)], 1))
        x = self.squeeze1(self.act1(x))
        x = self.squeeze2(self.act2(self.bn3(self.conv3(x))))
        e = F.dropout(x, 0.4, self.training).mean((2, 3))
        return Outputs(self.head(e), {"e": e})


class Light(nn.Module):
    """LS2CM: half of the channels mix those before, the other half are a depthwise kernel of that half."""

    def __init__(self, channels, out, relu):
        super().__init__()
        self.point, self.depth = nn.Conv2d(channels, out // 2, 1), depthwise(out // 2, bias=True)
        self.bn, self.relu = nn.BatchNorm2d(out), relu

    def forward(self, x):
        point = self.point(x)
        x = self.bn(torch.cat([self.depth(point), point], 1))
        return F.relu(x) if self.relu else x


class Residual(nn.Module):
    """Two of them and a way around, through a layer where the widths differ."""

    def __init__(self, channels, out):
        super().__init__()
        self.first, self.second = Light(channels, out, True), Light(out, out, False)
        around = [nn.Conv2d(channels, out, 1), nn.BatchNorm2d(out)] if channels != out else []
        self.around = nn.Sequential(*around)

    def forward(self, x):
        return self.second(self.first(x)) + self.around(x)


@network("ls2cm", "LS2CM", family="rivals", mark="indigo s")
class LS2CM(Projecting):
    """A mix of the bands, three residual blocks of light modules, the mean of a window of 11."""

    window, counts_batch_norm = 11, True

    def __init__(self, bands, classes):
        super().__init__()
        self.config = dict(bands=bands, classes=classes)
        self.project, self.bn = nn.Conv2d(bands, 16, 1), nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Residual(16, 16), Residual(16, 32), Residual(32, 64))
        self.head = nn.Linear(64, classes)

    def after(self, x):
        e = self.blocks(F.relu(self.bn(middle(x, self.window)))).mean((2, 3))
        return Outputs(self.head(e), {"e": e})


class GhostModule(nn.Module):
    """A layer across channels makes half of them, depthwise kernels make the others of these."""

    def __init__(self, channels, out, relu):
        super().__init__()
        self.point, self.bn1 = nn.Conv2d(channels, out // 2, 1, bias=False), nn.BatchNorm2d(out // 2)
        self.depth, self.bn2 = depthwise(out // 2), nn.BatchNorm2d(out // 2)
        self.act = F.relu if relu else nn.Identity()

    def forward(self, x):
        main = self.act(self.bn1(self.point(x)))
        return torch.cat([main, self.act(self.bn2(self.depth(main)))], 1)


class Bottleneck(nn.Module):
    """Two ghost modules with squeeze and excite between them, and a way around."""

    def __init__(self, channels, inner, out, size):
        super().__init__()
        self.wide, self.narrow = GhostModule(channels, inner, True), GhostModule(inner, out, False)
        self.squeeze = Squeeze(inner, inner // 4, True, nn.Identity)
        around = [depthwise(channels, size), nn.BatchNorm2d(channels)]
        around += [nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out)]
        self.around = nn.Sequential(*(around if channels != out else []))

    def forward(self, x):
        return self.narrow(self.squeeze(self.wide(x))) + self.around(x)


@network("ghostnet_hsi", "GhostNet-HSI", family="rivals", mark="indigo D")
class GhostNetHSI(nn.Module):
    """A 3 x 3 convolution of all bands, three ghost bottlenecks, two linear layers on the mean of a window of
    9."""

    kind, window, counts_batch_norm = "windows", 9, True

    def __init__(self, bands, classes):
        super().__init__()
        self.config = dict(bands=bands, classes=classes)
        self.stem, self.bn1 = nn.Conv2d(bands, 16, 3), nn.BatchNorm2d(16)
        blocks = Bottleneck(16, 16, 16, 1), Bottleneck(16, 48, 24, 3), Bottleneck(24, 72, 24, 1)
        self.blocks = nn.Sequential(*blocks)
        self.conv, self.bn2 = nn.Conv2d(24, 72, 1), nn.BatchNorm2d(72)
        self.fc1, self.bn3, self.fc2 = nn.Linear(72, 216), nn.BatchNorm1d(216), nn.Linear(216, classes)

    def forward(self, x):
        x = F.dropout(F.relu(self.bn1(self.stem(middle(x, self.window)))), 0.2, self.training)
        x = F.relu(self.bn2(self.conv(self.blocks(x)))).mean((2, 3))
        e = self.bn3(self.fc1(x))
        return Outputs(self.fc2(e), {"e": e})


@network("ssftt", "SSFTT", family="rivals", mark="indigo P", components=30, least=30)
class SSFTT(nn.Module):
    """Two convolutions over 30 principal components, four tokens that attend to the pixels of a window of 13,
    one layer of a transformer."""

    kind, window, counts_batch_norm = "patches", 13, True

    def __init__(self, bands, classes, tokens=4, width=64, heads=8):
        super().__init__()
        self.config = dict(bands=bands, classes=classes, tokens=tokens, width=width, heads=heads)
        self.conv3, self.bn3 = nn.Conv3d(1, 8, 3), nn.BatchNorm3d(8)
        self.conv2, self.bn2 = nn.Conv2d(8 * (bands - 2), width, 3), nn.BatchNorm2d(width)
        self.attend, self.value = (nn.Linear(width, out, bias=False) for out in (tokens, width))
        self.first, self.place = (nn.Parameter(torch.zeros(1, n, width)) for n in (1, tokens + 1))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 8), nn.Linear(8, width)
        self.head = nn.Linear(width, classes)

    def draw(self, generator):
        nn.init.normal_(self.place, std=0.02, generator=generator)

    def attention(self, t):
        """softmax(Q K' / sqrt(width)) V, head by head"""
        heads = self.config["heads"]
        q, k, v = self.qkv(t).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        p = F.softmax(q @ k.transpose(2, 3) / self.config["width"] ** 0.5, 3)
        return self.out((p @ v).transpose(1, 2).flatten(2))

    def forward(self, x):
        x = F.relu(self.bn3(self.conv3(middle(x, self.window)[:, None]))).flatten(1, 2)
        x = F.relu(self.bn2(self.conv2(x))).flatten(2).transpose(1, 2)  # (B, 81, width)
        t = F.softmax(self.attend(x), 1).transpose(1, 2) @ self.value(x)  # (B, tokens, width)
        t = torch.cat([self.first.expand(len(t), -1, -1), t], 1) + self.place
        drop = partial(F.dropout, p=0.1, training=self.training)
        t = drop(t)
        t = t + drop(self.attention(self.norm1(t)))
        t = t + drop(self.down(drop(F.gelu(self.up(self.norm2(t))))))
        e = t[:, 0]
        return Outputs(self.head(e), {"e": e})


taught("cloln", "olive o")
taught("ls2cm", "olive s")
taught("ghostnet_hsi", "olive D")
taught("ssftt", "olive P")
