"""Eight-bit numbers: grids, roundings, and the observers that find the range of an activation.

Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
CVPR 2018; methods D.  Equation numbers are the paper's.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

BYTE = (0, 255)  # activations
# of a weight: two products then fit 16 bits together, which is all that CPUs without VNNI add them in
BITS = 7
EPS = torch.finfo(torch.float32).eps
Observer = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # tensor -> the range it is given


class Grid(NamedTuple):
    """The values that 8-bit numbers stand for; scale and zero broadcast against what is quantized."""

    scale: torch.Tensor
    zero: torch.Tensor
    low: int = BYTE[0]
    high: int = BYTE[1]

    def quantize(self, x: torch.Tensor) -> torch.Tensor:
        """(1) q = clamp(round(x / S) + Z, q_min, q_max), half to even"""
        return (torch.round(x / self.scale) + self.zero).clamp(self.low, self.high)

    def dequantize(self, q: torch.Tensor) -> torch.Tensor:
        """(3) x' = S (q - Z)"""
        return self.scale * (q - self.zero)

    def ends(self) -> list[torch.Tensor]:
        """Return the smallest and the largest value of the grid."""
        return [self.dequantize(torch.tensor(float(end))) for end in (self.low, self.high)]


def affine(low: torch.Tensor | float, high: torch.Tensor | float, levels: tuple[int, int] = BYTE) -> Grid:
    """Return the grid over [low, high], first made to contain zero, so that zero padding is exact."""
    low, high = (torch.as_tensor(v, dtype=torch.float32) for v in (low, high))
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / (levels[1] - levels[0])).clamp(min=EPS)  # (2) S = (x_max - x_min) / (2^b - 1)
    zero = (levels[0] - torch.round(low / scale)).clamp(*levels)  # (2) Z = q_min - round(x_min / S)
    return Grid(scale, zero, *levels)


def symmetric(weight: torch.Tensor, per_channel: bool = True, bits: int = BITS) -> Grid:
    """Return the grid of a weight tensor, zero at 0: one scale for each output channel, or one for all."""
    half = 2 ** (bits - 1)
    size = weight.detach().abs()
    bound = size.amax(tuple(range(1, weight.ndim)), keepdim=True) if per_channel else size.max()
    scale = (bound / (half - 0.5)).clamp(min=EPS)
    return Grid(scale, torch.zeros_like(scale), -half, half - 1)


def fake_quantize(x: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Round as the integer network will, but in floating point, so that training goes on.

    The forward pass gives x'; the gradient passes straight through inside the grid's range and is zero
    outside.
    """
    low, high = grid.ends()
    inside = torch.minimum(torch.maximum(x, low), high)
    return inside + (grid.dequantize(grid.quantize(x)) - inside).detach()


# ------------------------------------------------------------------ observers: the range of an activation


def minmax(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the smallest and the largest value seen."""
    return x.min(), x.max()


def histogram(x: torch.Tensor, bins: int = 2048, steps: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the range of least squared error.

    Both ends are moved inwards as long as what is clipped costs less than the finer grid saves.
    """
    low, high = (float(v) for v in minmax(x))
    if low == high:
        return minmax(x)
    counts = torch.histc(x, bins, low, high)
    centres = low + (torch.arange(bins) + 0.5) * (high - low) / bins

    def error(low, high):
        grid = affine(low, high)
        return float((counts * (centres - grid.dequantize(grid.quantize(centres))) ** 2).sum())

    shares = torch.arange(steps, 0, -1) / steps
    high = min((high * float(s) for s in shares), key=lambda end: error(low, end)) if high > 0 else high
    low = min((low * float(s) for s in shares), key=lambda end: error(end, high)) if low < 0 else low
    return torch.tensor(low), torch.tensor(high)


class MovingRange(nn.Module):
    """It averages each batch's minimum and maximum as training goes on, and stands still once ``frozen``."""

    def __init__(self, constant: float = 0.01) -> None:
        super().__init__()
        self.constant, self.frozen = constant, False
        self.register_buffer("range", torch.full((2,), torch.nan))

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> Grid:
        """Take in a batch while training, and return the grid over the range so far."""
        if self.training and not self.frozen:
            new = torch.stack(minmax(x))
            self.range = torch.where(self.range.isnan(), new, self.range + self.constant * (new - self.range))
        return affine(*self.range)
