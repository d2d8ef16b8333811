"""The neural baselines.  ``forward`` returns ``Outputs(logits, taps)``; widths are arguments, and make the students.

Parameter counts on Indian Pines (200 bands, 16 classes) are the paper's: MLP 31,047; LSTM 102,416; CNN1D 72,416;
CNN2D 378,116 (c=1) and 426,866 (c=40); CNN3D 1,803,612; students 49,321 / 25,386 / 8,951.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.errors import HsiError

WIDTHS = {0: (50, 100, 100), 90: (15, 30, 30), 95: (10, 20, 20), 98: (5, 10, 10)}  # the paper's Table 5


class Outputs(NamedTuple):
    logits: torch.Tensor  # (B, K)
    taps: dict  # name -> tensor, see methods E.0


def initialise(model, seed):
    """Glorot-uniform weights and zero biases, from ``seed`` alone (as in the reference, but for its LSTM)."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LSTM):
            for name, weight in module.named_parameters():
                if "weight" in name:
                    nn.init.xavier_uniform_(weight, generator=generator)
                else:
                    nn.init.zeros_(weight)
    return model


def need(bands, least, net):
    if bands < least:
        raise HsiError(f"{net} needs at least {least} bands or components, here are {bands}")


class MLP(nn.Module):
    kind = "bands"

    def __init__(self, bands, classes, width=0):
        super().__init__()
        width = width or 2 * bands // 3 + 10  # 143 for 200 bands
        self.config = dict(bands=bands, classes=classes, width=width)
        self.fc1, self.fc2 = nn.Linear(bands, width), nn.Linear(width, classes)

    def forward(self, x):
        hidden = F.relu(self.fc1(x))  # (B, width)
        return Outputs(self.fc2(hidden), {"e": hidden})


class LSTM(nn.Module):
    """Two layers of 64 units.  ``review``: 200 steps of one band, all hidden states to the head (255,248).  Paper: one
    step that holds all bands (102,416); its recurrent weights never see a gradient.
    """

    kind = "bands"

    def __init__(self, bands, classes, review=False):
        super().__init__()
        self.config = dict(bands=bands, classes=classes, review=review)
        self.review = review
        self.lstm = nn.LSTM(1 if review else bands, 64, num_layers=2, batch_first=True)
        self.head = nn.Linear(64 * bands if review else 64, classes)

    def forward(self, x):
        states, _ = self.lstm(x[..., None] if self.review else x[:, None])  # (B, steps, 64)
        hidden = torch.flatten(states, 1)
        return Outputs(self.head(hidden), {"e": hidden})


class CNN1D(nn.Module):
    kind = "bands"
    counts_batch_norm = True  # the paper's 72,416 holds the 200 of batch norm, unlike its 2-D and 3-D counts

    def __init__(self, bands, classes):
        super().__init__()
        need(bands, 28, "CNN1D")
        self.config = dict(bands=bands, classes=classes)
        self.conv = nn.Conv1d(1, 20, 24)
        self.fc1 = nn.Linear(20 * ((bands - 23) // 5), 100)
        self.bn = nn.BatchNorm1d(100)
        self.fc2 = nn.Linear(100, classes)

    def forward(self, x):
        features = F.max_pool1d(F.relu(self.conv(x[:, None])), 5)  # (B, 20, 35)
        hidden = F.relu(self.bn(self.fc1(torch.flatten(features, 1))))
        return Outputs(self.fc2(hidden), {"e": hidden})


class CNN2D(nn.Module):
    """conv5 - conv5 - max-pool 2 - fc - fc on 19 x 19 patches; ``dense`` runs it over a whole scene, exactly."""

    kind = "patches"

    def __init__(self, bands, classes, widths=(50, 100, 100), batch_norm=True):
        super().__init__()
        self.config = dict(bands=bands, classes=classes, widths=list(widths), batch_norm=batch_norm)
        c1, c2, f1 = widths
        self.conv1, self.conv2 = nn.Conv2d(bands, c1, 5), nn.Conv2d(c1, c2, 5)
        self.bn1, self.bn2 = (nn.BatchNorm2d(c) if batch_norm else nn.Identity() for c in (c1, c2))
        self.fc1, self.fc2 = nn.Linear(25 * c2, f1), nn.Linear(f1, classes)
        self.to(memory_format=torch.channels_last)

    def stem(self, x):
        return F.relu(self.bn1(self.conv1(x)))  # f1 (B, 50, 15, 15)

    def block(self, f1):
        return F.relu(self.bn2(self.conv2(f1)))  # f2 (B, 100, 11, 11)

    def features(self, f2):
        p2 = F.max_pool2d(f2, 2)  # (B, 100, 5, 5); the last row and column of f2 are not used
        v = torch.flatten(p2, 1)
        e = F.relu(self.fc1(v))  # (B, 100)
        return dict(f2=f2, p2=p2, v=v, e=e)

    def head(self, f2):
        taps = self.features(f2)
        return Outputs(self.fc2(taps["e"]), taps)

    def branch(self, f1):
        return self.head(self.block(f1))

    def forward(self, x):
        f1 = self.stem(x)
        logits, taps = self.branch(f1)
        return Outputs(logits, {"f1": f1} | taps)

    def dense(self, image):
        """Logits (K, H, W) of every pixel from the padded image (1, C, H+18, W+18), each convolution run once."""
        return dense_head(self, self.block(self.stem(image)))


def dense_head(net, f2):
    """Pooling and both fully connected layers over a whole scene.

    A window's pooled cells lie two pixels apart, so pooling runs with stride 1 and fc1 is a 5 x 5 convolution dilated by
    2; fc2 is 1 x 1.  ``f2`` (1, C, H+10, W+10) -> (K, H, W).
    """
    pooled = F.max_pool2d(f2, 2, stride=1)  # (1, C, H+9, W+9)
    weight = net.fc1.weight.view(len(net.fc1.weight), -1, 5, 5)
    e = F.conv2d(pooled, weight.contiguous(memory_format=torch.channels_last), net.fc1.bias, dilation=2)
    e = F.relu(getattr(net, "bn_fc1", nn.Identity())(e[0, :, :-1, :-1].flatten(1).T))  # (H*W, F1)
    return net.fc2(e).T.view(-1, f2.shape[2] - 10, f2.shape[3] - 10)


class CNN3D(nn.Module):
    """Two 3-D convolutions over space and components.  Written as 2-D convolutions over depth slices, which is the same
    sum and twice as fast on a CPU: a kernel of depth D over the depth axis is a 2-D kernel over D stacked channels.
    """

    kind = "patches"

    def __init__(self, bands, classes):
        super().__init__()
        need(bands, 39, "CNN3D")
        self.config = dict(bands=bands, classes=classes)
        self.d1, self.d2 = bands - 23, bands - 23 - 15  # 17 and 2 depth positions
        self.conv1, self.conv2 = nn.Conv3d(1, 32, (24, 5, 5)), nn.Conv3d(32, 64, (16, 5, 5))
        self.bn1, self.bn2, self.bn_fc1 = nn.BatchNorm3d(32), nn.BatchNorm3d(64), nn.BatchNorm1d(300)
        self.fc1, self.fc2 = nn.Linear(64 * self.d2 * 25, 300), nn.Linear(300, classes)

    @staticmethod
    def _conv(x, conv, depth):
        """x (B, C, D, H, W) -> (B, out, depth, H-4, W-4)."""
        span = conv.kernel_size[0]
        stacked = torch.stack(
            [x[:, :, d : d + span].flatten(1, 2) for d in range(depth)], 1
        )  # (B, depth, C*span, H, W)
        out = F.conv2d(stacked.flatten(0, 1), conv.weight.flatten(1, 2), conv.bias)
        return out.unflatten(0, (len(x), depth)).transpose(1, 2)

    def convolutions(self, x):
        f1 = F.relu(self.bn1(self._conv(x[:, None], self.conv1, self.d1)))  # (B, 32, 17, 15, 15)
        return F.relu(self.bn2(self._conv(f1, self.conv2, self.d2))).flatten(1, 2)  # (B, 64*2, 11, 11)

    def forward(self, x):
        p2 = F.max_pool2d(self.convolutions(x), 2)  # max-pool 2 x 2 x 1
        e = F.relu(self.bn_fc1(self.fc1(torch.flatten(p2, 1))))
        return Outputs(self.fc2(e), {"e": e})

    def dense(self, image):
        return dense_head(self, self.convolutions(image))


NETWORKS = {net.__name__: net for net in (MLP, LSTM, CNN1D, CNN2D, CNN3D)}
