"""The networks of the study; the widths of CNN2D are an argument, which makes the students.

Parameter counts on Indian Pines (200 bands, 16 classes) are the paper's: MLP 31,047; LSTM 102,416; CNN1D
72,416; CNN2D 378,116 (c=1) and 426,866 (c=40); CNN3D 1,803,612; students 49,321 / 25,386 / 8,951.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.errors import HsiError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
WIDTHS = {0: (50, 100, 100), 90: (15, 30, 30), 95: (10, 20, 20), 98: (5, 10, 10)}  # the paper's Table 5


class Inner(dict):
    """The inner tensors of a network; one that it does not have is an error that names those it has."""

    def __missing__(self, tap):
        raise HsiError(f"the network has no tap {tap!r}; it has {', '.join(sorted(self))}")


class Outputs(NamedTuple):
    """What a network returns: the logits, and the inner tensors that methods of distillation look at.

    >>> Outputs(torch.rand(2, 9), {"e": torch.rand(2, 4)}).logits.argmax(1).shape
    torch.Size([2])
    """

    logits: torch.Tensor  # (B, K)
    taps: dict[str, torch.Tensor]  # see methods E.0


Net = TypeVar("Net", bound=nn.Module)


def initialise(model: Net, seed: int) -> Net:
    """Draw Glorot-uniform weights and set biases to zero, from ``seed`` alone.

    The reference code does the same but for its LSTM.

    >>> net = initialise(CNN2D(40, 16, widths=WIDTHS[98]), seed=0)
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (*LAYERS, nn.LSTM)):
            for name, part in module.named_parameters(recurse=False):
                if name.startswith("weight"):
                    nn.init.xavier_uniform_(part, generator=generator)
                elif name.startswith("bias"):
                    nn.init.zeros_(part)
        elif hasattr(module, "draw"):  # weights that are no layer's
            module.draw(generator)
    return model


def need(bands: int, least: int, net: str) -> None:
    """Refuse fewer bands or components than a network needs."""
    if bands < least:
        raise HsiError(f"{net} needs at least {least} bands or components, here are {bands}")


class MLP(nn.Module):
    """One hidden layer on the spectrum, of ``width`` units, or as many as the paper's rule gives.

    >>> parameters(MLP(200, 16))
    31047
    """

    kind = "bands"

    def __init__(self, bands: int, classes: int, width: int = 0) -> None:
        super().__init__()
        width = width or 2 * bands // 3 + 10  # 143 for 200 bands
        self.config = dict(bands=bands, classes=classes, width=width)
        self.fc1, self.fc2 = nn.Linear(bands, width), nn.Linear(width, classes)

    def forward(self, x):
        hidden = F.relu(self.fc1(x))  # (B, width)
        return Outputs(self.fc2(hidden), {"e": hidden})


class LSTM(nn.Module):
    """Two layers of 64 units.

    The paper's has one step that holds all bands (102,416 parameters), so its recurrent weights never see a
    gradient.  With ``review`` it has 200 steps of one band, and all hidden states go to the head (255,248).

    >>> parameters(LSTM(200, 16))
    102416
    """

    kind = "bands"

    def __init__(self, bands: int, classes: int, review: bool = False) -> None:
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
    """A convolution of length 24 along the spectrum, max-pooling and two fully connected layers.

    >>> parameters(CNN1D(200, 16))
    72416
    """

    kind = "bands"
    counts_batch_norm = True  # the paper's 72,416 holds the 200 of batch norm, unlike its 2-D and 3-D counts

    def __init__(self, bands: int, classes: int) -> None:
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
    """Two 5 x 5 convolutions, max-pooling and two fully connected layers on 19 x 19 patches.

    ``dense`` runs each convolution once over a whole scene, with the same result.

    >>> CNN2D(40, 16, widths=WIDTHS[98])(torch.rand(2, 40, 19, 19)).logits.shape
    torch.Size([2, 16])
    """

    kind = "patches"

    def __init__(
        self, bands: int, classes: int, widths: Sequence[int] = (50, 100, 100), batch_norm: bool = True
    ) -> None:
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
        """Pool and run the first fully connected layer; return the tensors on the way by name."""
        p2 = F.max_pool2d(f2, 2)  # (B, 100, 5, 5); the last row and column of f2 are not used
        v = torch.flatten(p2, 1)
        e = F.relu(self.fc1(v))  # (B, 100)
        return dict(f2=f2, p2=p2, v=v, e=e)

    def head(self, f2):
        taps = self.features(f2)
        return Outputs(self.fc2(taps["e"]), taps)

    def branch(self, f1):  # of peers that share a first convolution
        return self.head(self.block(f1))

    def forward(self, x):
        f1 = self.stem(x)
        logits, taps = self.branch(f1)
        return Outputs(logits, Inner(f1=f1, **taps))

    def dense(self, image):
        return dense_head(self, self.block(self.stem(image)))


def dense_head(net: nn.Module, f2: torch.Tensor) -> torch.Tensor:
    """Run pooling and both fully connected layers over a whole scene: (1, C, H+10, W+10) -> (K, H, W).

    A window's pooled cells lie two pixels apart, so pooling runs with stride 1 and fc1 is a 5 x 5 convolution
    dilated by 2; fc2 is 1 x 1.
    """
    pooled = F.max_pool2d(f2, 2, stride=1)  # (1, C, H+9, W+9)
    weight = net.fc1.weight.unflatten(1, (-1, 5, 5)).contiguous(memory_format=torch.channels_last)
    e = F.conv2d(pooled, weight, net.fc1.bias, dilation=2)
    e = F.relu(getattr(net, "bn_fc1", nn.Identity())(e[0, :, :-1, :-1].flatten(1).T))  # (H*W, F1)
    return net.fc2(e).T.view(-1, f2.shape[2] - 10, f2.shape[3] - 10)


class CNN3D(nn.Module):
    """Two 3-D convolutions over space and components, max-pooling and two fully connected layers.

    The convolutions run as 2-D ones over slices, which is the same sum and twice as fast on a CPU: a kernel
    of depth D over the depth axis is a 2-D kernel over D stacked channels.

    >>> parameters(CNN3D(40, 16))
    1803612
    """

    kind = "patches"

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        need(bands, 39, "CNN3D")
        self.config = dict(bands=bands, classes=classes)
        self.conv1, self.conv2 = nn.Conv3d(1, 32, (24, 5, 5)), nn.Conv3d(32, 64, (16, 5, 5))
        self.bn1, self.bn2, self.bn_fc1 = nn.BatchNorm3d(32), nn.BatchNorm3d(64), nn.BatchNorm1d(300)
        self.fc1, self.fc2 = nn.Linear(64 * (bands - 23 - 15) * 25, 300), nn.Linear(300, classes)

    @staticmethod
    def _conv(x, conv):
        """Run a 3-D convolution on x (B, C, D, H, W) -> (B, out, depth, H-4, W-4)."""
        span = conv.kernel_size[0]
        depth = x.shape[2] - span + 1  # 17, then 2 of 40 components
        slices = [x[:, :, d : d + span].flatten(1, 2) for d in range(depth)]
        stacked = torch.stack(slices, 1)  # (B, depth, C*span, H, W)
        out = F.conv2d(stacked.flatten(0, 1), conv.weight.flatten(1, 2), conv.bias)
        return out.unflatten(0, (len(x), depth)).transpose(1, 2)

    def convolutions(self, x):
        """Run both convolutions, and join channels and depth."""
        f1 = F.relu(self.bn1(self._conv(x[:, None], self.conv1)))  # (B, 32, 17, 15, 15)
        return F.relu(self.bn2(self._conv(f1, self.conv2))).flatten(1, 2)  # (B, 64*2, 11, 11)

    def forward(self, x):
        p2 = F.max_pool2d(self.convolutions(x), 2)  # max-pool 2 x 2 x 1
        e = F.relu(self.bn_fc1(self.fc1(torch.flatten(p2, 1))))
        return Outputs(self.fc2(e), {"e": e})

    def dense(self, image):
        return dense_head(self, self.convolutions(image))


NETWORKS = {net.__name__: net for net in (MLP, LSTM, CNN1D, CNN2D, CNN3D)}


def stored(net):
    """Let a class of networks be built again from its stored weights and config."""
    NETWORKS[net.__name__] = net
    return net


class Around(nn.Module):
    """A network of ``NETWORKS`` some of whose layers are replaced: it sees and gives what that does."""

    def __init_subclass__(cls):
        stored(cls)

    def __init__(self, net, config):
        super().__init__()
        self.net = NETWORKS[net](**config)
        self.kind = self.net.kind
        for name in ("dense", "window"):
            if hasattr(self.net, name):
                setattr(self, name, getattr(self.net, name))

    @classmethod
    def holding(cls, net, device, **sizes):
        """Put it around a trained network."""
        made = cls(type(net).__name__, net.config, **sizes).to(device)
        made.net.load_state_dict(net.state_dict())
        return made.eval()

    def forward(self, x):
        return self.net(x)
