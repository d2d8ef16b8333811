"""A network in whole numbers as one C99 file that takes a line of raw spectra and returns a line of classes.

Each layer's value is computed once a pixel.  A ring holds the rows that a kernel reaches back to; layers of
one pixel follow in the same step.  What lies outside of the scene is the same everywhere, so every layer
makes one cell of it, which fills the rings before the first line and the margins beside each.
"""

from dataclasses import dataclass
from math import floor, lcm, log2

import numpy as np
import torch
from torch import nn

from hsilib.data.splits import WINDOW
from hsilib.deploy.stages import Grid, NoStages, Part, stages
from hsilib.deploy.trace import traced
from hsilib.errors import HsiError
from hsilib.methods.quantize.layers import static

STACK = 4096  # bytes that are set aside where no compiler measures them
HEAD = 16  # bytes of a state before its rows
# least, most, and what is taken away to make them signed
TYPES = {"uint8_t": (0, 255, 0), "uint16_t": (0, 65535, 32768), "int16_t": (-32768, 32767, 0)}


@dataclass(eq=False)
class Ring:
    """Rows of bytes that are kept; columns low to width + high of a tensor."""

    parts: list[Part]
    rows: int
    low: int
    high: int
    edge: np.ndarray  # a cell outside of the scene
    fixed: int  # it begins at fixed + each * width
    each: int

    channels = property(lambda self: len(self.edge))
    margin = property(lambda self: self.high - self.low)

    def row(self, age: int, column: int, part: Part | None = None) -> str:
        """Return C for a place in the row of an age, there for a part."""
        words = f"{self.fixed}, {self.each}, {self.rows}, {self.margin}, {self.channels}"
        at = sum(other.channels for other in self.parts[: self.parts.index(part)]) if part else 0
        return f"ring(s, {words}, {age}) + {(column - self.low) * self.channels + at}"


class Plan:
    """What is computed in which columns, from low to width + high of a tensor, and what is kept."""

    def __init__(self, made: bytes, kind: str = "uint16_t", gain: float = 1) -> None:
        self.layers, self.kind, self.gain = stages(made), kind, gain
        self.raw, self.top = self.layers[0], self.layers[-1]
        self.bands = self.raw.weight.shape[1]
        last = max(layer.last for layer in self.layers)
        self.margin = self.raw.margin if last else 0
        self.lag = last - self.margin
        if not 0 <= self.lag <= self.margin:
            raise NoStages("its window is another")
        if any(layer.given is None for layer in self.layers[1:]):
            raise NoStages("spectra are taken more than once")
        if np.abs(self.raw.weight.astype(np.int64)).sum((1, 2, 3)).max() >= 2**16:
            raise NoStages("sums of more than 32 bits")
        self.raw.step, self.raw.bias = self.raw.step / gain, self.raw.bias * gain
        self.kept, self.fixed, self.each = [], 0, 0  # rings, and their fixed + each * width bytes
        self._columns()
        for grid in dict.fromkeys(layer.given for layer in self.layers[1:]):
            self._keep(grid)
        slack = 4 * max((ring.channels for ring in self.kept), default=0)  # read, not used
        self.fixed += slack + HEAD
        self.period = lcm(*(ring.rows for ring in self.kept))

    def _columns(self):
        """A layer is computed in the columns that see any of the scene, and that the map is made of."""
        varies, needed = {self.raw: (self.margin, self.margin)}, {self.top: (0, 0)}
        for layer in self.layers[1:]:
            lows, highs = zip(*(part.through(*varies[part.layer]) for part in layer.given.parts))
            varies[layer] = min(lows) - layer.reach, max(highs)
        for layer in self.layers[-2::-1]:
            behind = [(part, taker) for part in layer.parts for taker in part.grid.takers]
            lows = [needed[taker][0] + part.start for part, taker in behind]
            needed[layer] = min(lows), max(needed[t][1] + t.reach + part.back for part, t in behind)
        for layer in self.layers:
            (low, high), (first, last) = varies[layer], needed[layer]
            layer.columns = max(low, first), min(high, last)
            if layer.given and layer.given.passes:  # in the same cells
                layer.columns = layer.given.parts[0].columns

    def _keep(self, grid: Grid) -> None:
        """Find the rings that hold a grid: one for all parts if a kernel takes them, else one for each."""
        together = any(taker.size > 1 for taker in grid.takers)
        for part in grid.parts:
            alike, one = [(p.size, p.apart, p.grid, p.relu, p.start) for p in part.layer.parts], part.layer
            look = set(alike) == {(part.size, part.apart, grid, True, 0)}
            look &= part.apart == one.apart if one.depth else one.size == 1 and part.reach == 4
            small = part.size == 1 or part.size == 2 and part.pool == "max" and part.apart == 1
            if not small and (together or not look):
                raise NoStages("such a pool behind such a layer")
            part.edge = self._edge(part)
        if grid.passes:
            return
        reads = [(low, high + taker.reach) for taker in grid.takers for low, high in [taker.columns]]
        pools = [max((p.reach for p in taker.parts if p.size > 2), default=0) for taker in grid.takers]
        back = max(taker.reach + pool for taker, pool in zip(grid.takers, pools))
        for parts in [grid.parts] if together else [[part] for part in grid.parts if part.size < 3]:
            lows, highs = zip(*reads, *(part.columns for part in parts))
            rows = back + grid.last - min(part.last for part in parts) + 1
            ring = self._ring(parts, rows, min(lows), max(highs))
            for part in parts:
                part.ring = ring
        for part in grid.parts:
            if part.size == 2:
                part.above = self._ring([part], 1, *part.layer.columns)

    def _ring(self, parts: list[Part], rows: int, low: int, high: int) -> Ring:
        """Add a ring behind those that there are."""
        edge = np.concatenate([part.edge for part in parts])
        self.kept.append(Ring(parts, rows, low, high, edge, self.fixed, self.each))
        self.fixed += rows * (high - low) * len(edge)
        self.each += rows * len(edge)
        return self.kept[-1]

    def _edge(self, part: Part) -> np.ndarray:
        """Return what a part is outside of the scene, in the very arithmetic of the file."""
        layer, (times, plus, shift) = part.layer, part.multipliers()
        if layer is self.raw:
            value = np.floor(layer.outside * part.factor / part.grid.scale + part.grid.zero + 0.5)
            return np.clip(value, 0, 255).astype(np.uint8)
        cell = np.concatenate([one.edge for one in layer.given.parts]).astype(np.int64)
        sums = (layer.weight.sum((2, 3)) * (cell[:, None] if layer.depth else cell)).sum(1)
        if part.size > 2:
            count = part.size**2 if part.pool == "mean" else 1
            sums = np.maximum(sums + layer.bias.astype(np.int64), 0) * count
        return np.minimum(np.maximum(sums * times + plus, 0) >> shift, 255).astype(np.uint8)

    def raw_values(self, cube: np.ndarray) -> np.ndarray:
        """Return the values of a scene as the C takes them."""
        least, most, _ = TYPES[self.kind]
        return np.clip(np.rint(cube * self.gain), least, most).astype(self.kind.removesuffix("_t"))

    def strip(self, width: int, ram: int, stack: int) -> int:
        """Return how many columns go into so many bytes of state and stack with their halo, at most all."""
        if not ram:
            return width
        columns = (ram - stack - self.fixed - 3) // max(self.each, 1) - self.margin - self.lag
        if columns < 1:
            least = self.state_bytes(1 + self.margin + self.lag) + stack
            raise HsiError(f"{ram} bytes hold no strip; one column takes {least} with its halo")
        return min(columns, width)

    def state_bytes(self, width: int) -> int:
        """Return the bytes of the state at a width of so many pixels."""
        return -(-(self.fixed + self.each * width) // 4) * 4

    def macs(self) -> int:
        """Return the multiply-adds of a pixel, as the file does them."""
        return sum(layer.weight.size * (3 if layer.looked else 1) for layer in self.layers)


def digits(cube: np.ndarray) -> tuple[str, int]:
    """Return the type that holds the values of a scene, and what they are multiplied with to be whole."""
    low, high = float(cube.min()), float(cube.max())
    for kind, (least, most, _) in TYPES.items():
        if least <= low and high <= most and (cube == np.rint(cube)).all():
            return kind, 1
    kind, size = "int16_t" if low < 0 else "uint16_t", max(-low, high, 1e-3)
    if size > TYPES[kind][1]:
        raise NoStages(f"values up to {size:g} do not fit 16 bits")
    return kind, 2 ** floor(log2(TYPES[kind][1] / size))


def costs(net: nn.Module, *widths: int) -> dict[str, int | dict[int, int]]:
    """Return what a network takes as a stream: bytes of its state at each width, multiply-adds of a pixel.

    It is rounded first, by samples of noise, on which neither depends.
    """
    if net.kind not in ("bands", "windows"):
        raise NoStages("its principal components are in 32 bits")
    bands, draw = net.config["bands"], torch.Generator().manual_seed(0)
    reduction = np.zeros(bands, np.float32), np.ones(bands, np.float32)
    x = torch.randn((8, bands) + (WINDOW, WINDOW) * (net.kind == "windows"), generator=draw)
    plan = Plan(traced(static(net, x, reduction), reduction, ["class"] * net.config["classes"]))
    return {"state": {width: plan.state_bytes(width) for width in widths}, "macs": plan.macs()}
