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

from hsilib.data.inputs import MARGIN
from hsilib.data.splits import WINDOW
from hsilib.deploy.stages import Bytes, NoStages, Part, Sums, stages
from hsilib.deploy.trace import traced
from hsilib.errors import HsiError
from hsilib.methods.quantize.layers import Int8Net, static

STACK = 4096  # bytes that are set aside where no compiler measures them
HEAD = 16  # bytes of a state before its rows
# least, most, and what is taken away to make them signed
TYPES = {"uint8_t": (0, 255, 0), "uint16_t": (0, 65535, 32768), "int16_t": (-32768, 32767, 0)}


@dataclass(eq=False)
class Ring:
    """Rows of bytes that are kept; columns low to width + high of a tensor."""

    channels: int
    rows: int
    low: int
    high: int
    edge: np.ndarray
    fixed: int = 0  # it begins at fixed + each * width
    each: int = 0

    def row(self, age: int | str, column: int) -> str:
        """Return C for a place in the row of an age."""
        words = f"{self.fixed}, {self.each}, {self.rows}, {self.high - self.low}, {self.channels}"
        return f"ring(s, {words}, {age}) + {(column - self.low) * self.channels}"


class Plan:
    """What is computed from which columns, and what is kept."""

    def __init__(self, made: bytes, kind: str = "uint16_t", gain: float = 1) -> None:
        self.top, self.layers, self.bands = stages(made)
        self.kind, self.gain = kind, gain
        self.last = max(layer.last for layer in self.layers)
        self.margin = MARGIN if self.last else 0
        if self.last and not MARGIN <= self.last <= 2 * MARGIN:
            raise NoStages("its window is another")
        raw = [layer for layer in self.layers if layer.given is None]
        if len(raw) != 1 or raw[0].size != 1:
            raise NoStages("spectra are taken more than once")
        self.raw = raw[0]
        if np.abs(self.raw.weight.astype(np.int64)).sum((1, 2, 3)).max() >= 2**16:
            raise NoStages("sums of more than 32 bits")
        self.raw.step = self.raw.step / gain
        self.raw.bias = self.raw.bias * gain
        self.rings, self.edges = {}, {}
        self.computed = {layer: self._computed(layer) for layer in self.layers}
        for layer in self.layers:
            for given in dict.fromkeys(layer.taken):
                self._keep(given)
        fixed = each = 0
        for ring in self.rings.values():
            ring.fixed, ring.each = fixed, each
            fixed += ring.rows * (ring.high - ring.low) * ring.channels
            each += ring.rows * ring.channels
        self.slack = 4 * max((ring.channels for ring in self.rings.values()), default=0)  # read, not used
        self.fixed, self.each = fixed + self.slack + HEAD, each
        self.period = lcm(*(ring.rows for ring in self.rings.values()), 1)
        self.lag = self.last - self.margin

    # -------------------------------------------------------------- columns: low to width + high

    def _varies(self, layer):
        """The columns of a layer that see any of the scene."""
        if layer.given is None:
            return self.margin, self.margin
        ends = [self._part(part, self._varies(part.sums)) for part in layer.given.parts]
        return min(low for low, _ in ends) - layer.reach, max(high for _, high in ends)

    def _part(self, part, ends):
        back = (part.size - 1) * part.apart + part.start
        return ends[0] - back, ends[1] - part.start

    def _needed(self, layer):
        """The columns of a layer that the map is made of."""
        if layer is self.top:
            return 0, 0
        ends = []
        for given in layer.taken:
            lows, highs = zip(*[(self._needed(t)[0], self._needed(t)[1] + t.reach) for t in given.takers])
            for part in (part for part in given.parts if part.sums is layer):
                more = (part.size - 1) * part.apart
                ends.append((min(lows) + part.start, max(highs) + more + part.start))
        return min(low for low, _ in ends), max(high for _, high in ends)

    def _computed(self, layer):
        if layer.given and self.passes(layer.given):
            part = layer.given.parts[0]
            return self._part(part, self._computed(part.sums))
        (low, high), (first, last) = self._varies(layer), self._needed(layer)
        return max(low, first), min(high, last)

    # -------------------------------------------------------------- what is kept

    def looked(self, layer: Sums) -> bool:
        """Tell whether a layer is made anew for each pool behind it, not to keep its sums."""
        return any(p.size > 2 for given in layer.taken for p in given.parts if p.sums is layer)

    def passes(self, given: Bytes) -> bool:
        """Tell whether bytes go straight to the one layer that takes them."""
        (first, *more), (taker, *others) = given.parts, given.takers
        return not more and not others and taker.size == 1 and not first.pool and not self.looked(first.sums)

    def _keep(self, given):
        for part in given.parts:
            layer = part.sums
            if part.size > 2 and not self._can_look(layer, given):
                raise NoStages("pools of more than 2 x 2 behind such a layer")
            if part.pool and part.size == 2 and (part.pool != "max" or part.apart != 1):
                raise NoStages("means of 2 x 2")
        self.edges[given] = np.concatenate([self._edge(given, part) for part in given.parts])
        if self.passes(given):
            return
        spatial = [taker for taker in given.takers if taker.size > 1]
        reads = [(self.computed[t][0], self.computed[t][1] + t.reach) for t in given.takers]
        low, high = min(low for low, _ in reads), max(high for _, high in reads)
        back = max((self._ages(taker) for taker in given.takers), default=0)
        groups = [given.parts] if spatial else [[part] for part in given.parts]
        for parts in groups:
            if parts[0].size > 2:
                continue
            delay = given.last - min(part.last for part in parts)
            ends = [self._part(part, self.computed[part.sums]) for part in parts]
            ends += [(low, high)]
            ends = min(low for low, _ in ends), max(high for _, high in ends)
            channels = sum(part.sums.channels for part in parts)
            ring = Ring(channels, back + delay + 1, *ends, self.edge(given, *parts))
            for part in parts:
                self.rings[given, part] = ring
        for part in given.parts:
            if part.size == 2:
                low, high = self.computed[part.sums]
                edge = self.edge(given, part)
                self.rings[given, part, "above"] = Ring(part.sums.channels, 1, low, high, edge)

    def _ages(self, taker):
        """How many rows back a layer reaches, with the pools that are made anew behind it."""
        parts = [part for given in taker.taken for part in given.parts if part.sums is taker]
        pools = [(part.size - 1) * part.apart for part in parts if part.size > 2]
        return taker.reach + max(pools, default=0)

    def _can_look(self, layer, given):
        pools = [part for part in given.parts if part.sums is layer]
        same = {(p.size, p.apart, p.relu) for p in pools} == {(pools[0].size, layer.apart, True)}
        return layer.depth and same and (pools[0].size - 1) * layer.apart == 4 and len(set(layer.taken)) == 1

    def edge(self, given: Bytes, *parts: Part) -> np.ndarray:
        """Return the cell of some parts outside of the scene."""
        places, at = [], 0
        for part in given.parts:
            if part in parts:
                places += range(at, at + part.sums.channels)
            at += part.sums.channels
        return self.edges[given][places]

    def _edge(self, given, part):
        """What a part is outside of the scene, in the very arithmetic of the file."""
        times, plus, shift = given.multipliers(part)
        layer = part.sums
        if layer.given is None and layer.outside is None:  # it sees one pixel
            return np.zeros(layer.channels, np.uint8)
        if layer.given is None:
            value = np.floor(layer.outside * part.factor / given.scale + given.zero + 0.5)
            return np.clip(value, 0, 255).astype(np.uint8)
        cell = self.edges[layer.given].astype(np.int64)
        if layer.depth:
            sums = layer.weight.sum((1, 2, 3), dtype=np.int64) * cell
        else:
            sums = layer.weight.sum((2, 3), dtype=np.int64) @ cell
        if part.size > 2:
            count = part.size**2 if part.pool == "mean" else 1
            sums = np.maximum(sums + layer.bias.astype(np.int64), 0) * count
        found = [max(int(s) * int(t) + int(p), 0) >> shift for s, t, p in zip(sums, times, plus)]
        return np.minimum(found, 255).astype(np.uint8)

    def written(self, given: Bytes, part: Part) -> tuple[str, int]:
        """Return C for the place of the first computed cell of a part, and the bytes to the next."""
        ring, at = self.rings[given, part], 0
        for other in given.parts:
            if other is part:
                break
            at += other.sums.channels if self.rings.get((given, other)) is ring else 0
        column = self._part(part, self.computed[part.sums])[0]
        return f"{ring.row(part.last - given.last, column)} + {at}", ring.channels

    # -------------------------------------------------------------- values and costs

    def raw_values(self, cube: np.ndarray) -> np.ndarray:
        """Return the values of a scene as the C takes them."""
        least, most, _ = TYPES[self.kind]
        return np.clip(np.rint(cube * self.gain), least, most).astype(self.kind.removesuffix("_t"))

    def strip(self, width: int, ram: int, stack: int) -> int:
        """Return how many columns go into so many bytes of state and stack with their halo, or all."""
        if not ram or self.state_bytes(width) + stack <= ram:
            return width
        columns = (ram - stack - self.fixed - 3) // max(self.each, 1) - self.margin - self.lag
        if columns < 1:
            least = self.state_bytes(1 + self.margin + self.lag) + stack
            raise HsiError(f"{ram} bytes hold no strip; one column takes {least} with its halo")
        return columns

    def state_bytes(self, width: int) -> int:
        """Return the bytes of the state at a width of so many pixels."""
        return -(-(self.fixed + self.each * width) // 4) * 4

    def macs(self) -> int:
        """Return the multiply-adds of a pixel, as the file does them."""
        again = {layer: 3 if self.looked(layer) else 1 for layer in self.layers}
        return sum(layer.weight.size * again[layer] for layer in self.layers)


def digits(cube: np.ndarray) -> tuple[str, int]:
    """Return the type that holds the values of a scene, and what they are multiplied with to be whole.

    >>> digits(np.array([0.0, 255.0]))
    ('uint8_t', 1)
    """
    low, high = float(cube.min()), float(cube.max())
    if (cube == np.rint(cube)).all():
        for kind, (least, most, _) in TYPES.items():
            if least <= low and high <= most:
                return kind, 1
    kind, size = "int16_t" if low < 0 else "uint16_t", max(-low, high, 1e-3)
    if size > TYPES[kind][1]:
        raise NoStages(f"values up to {size:g} do not fit 16 bits")
    return kind, 2 ** floor(log2(TYPES[kind][1] / size))


def costs(model: bytes | nn.Module, width: int) -> dict[str, int]:
    """Return what a network costs as a stream: bytes of its numbers, of its state at a width, and
    multiply-adds of a pixel.

    ``model``: an exported file, or a network of the library; one in 32 bits is rounded first, by samples of
    noise, on which none of the three depends.

    >>> costs(zoo.path_of("zoo:indian_pines_8bit-lens-int8").read_bytes(), 64)
    {'payload': 9337, 'state': 44940, 'macs': 8250}
    """
    plan = Plan(model if isinstance(model, bytes) else _exported(model))
    grids = sum(5 for layer in plan.layers if layer.given)
    numbers = sum(layer.weight.size + 8 * layer.channels for layer in plan.layers)
    around = 4 * plan.raw.channels * (plan.margin > 0)  # what lies outside of the scene
    return {"payload": numbers + grids + around, "state": plan.state_bytes(width), "macs": plan.macs()}


def _exported(net):
    """A network of the library in whole numbers as a file, for a scene of standardised bands."""
    config = net.config["config"] if isinstance(net, Int8Net) else net.config
    if net.kind not in ("bands", "windows"):
        raise NoStages("its principal components are in 32 bits")
    reduction = np.zeros(config["bands"], np.float32), np.ones(config["bands"], np.float32)
    if not isinstance(net, Int8Net):
        shape = (8, config["bands"]) + (WINDOW, WINDOW) * (net.kind == "windows")
        net = static(net, torch.randn(shape, generator=torch.Generator().manual_seed(0)), reduction)
    return traced(net, reduction, ["class"] * config["classes"])
