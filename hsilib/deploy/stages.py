"""What an exported graph does to a pixel, in whole numbers: layers, and the bytes between them.

A tensor's index i needs rows up to i + ``last`` of the scene with its margin, and columns alike.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hsilib.data.inputs import MARGIN
from hsilib.errors import HsiError

SCENE = 1000  # rows of one that is taken to compute sizes: any window fits
NUMBERS = dict(Add=np.add, Sub=np.subtract, Mul=np.multiply, Div=np.floor_divide, Neg=np.negative)
# no value is changed; bytes are taken as they are
THROUGH = "Transpose Unsqueeze Squeeze Gather Flatten Reshape Identity DequantizeLinear".split()


class NoStages(HsiError):
    """The graph does something else, and is written as C in the generic way."""


@dataclass(eq=False)
class Layer:
    """What is made of bytes, or of raw spectra: value = step (sum + bias) for each channel."""

    given: "Grid | None"
    weight: np.ndarray  # (outputs, inputs or 1, size, size)
    step: np.ndarray
    bias: np.ndarray
    depth: bool = False
    apart: int = 1
    outside: np.ndarray | float = 0.0  # of raw spectra: its value where there is no scene ...
    margin: int = MARGIN  # ... which is so wide on every side
    parts: list["Part"] = field(default_factory=list)  # what of it becomes bytes
    columns: tuple[int, int] = (0, 0)  # it is computed in those from low to width + high

    taken = property(lambda self: self.given.channels if self.given else self.weight.shape[1])
    size = property(lambda self: self.weight.shape[2])
    reach = property(lambda self: (self.size - 1) * self.apart)
    last = property(lambda self: self.given.last + self.reach if self.given else 0)
    channels = property(lambda self: len(self.weight))
    # it is made anew for each pool behind it, not to keep its sums
    looked = property(lambda self: any(part.size > 2 for part in self.parts))


@dataclass(eq=False)
class Part:
    """Channels of a tensor: a layer, behind ReLU, pooled, from an index on."""

    layer: Layer
    relu: bool = False
    pool: str = ""  # or max, mean
    size: int = 1
    apart: int = 1
    start: int = 0
    factor: float = 1.0
    grid: "Grid | None" = None
    edge: np.ndarray | None = None  # its cell outside of the scene, if a plan has it kept ...
    ring: Any = None  # ... here, of two rows that are pooled the upper one ...
    above: Any = None  # ... here

    plain = property(lambda self: not (self.relu or self.pool or self.start))
    reach = property(lambda self: (self.size - 1) * self.apart)
    back = property(lambda self: self.reach + self.start)
    last = property(lambda self: self.layer.last + self.back)
    channels = property(lambda self: self.layer.channels)
    columns = property(lambda self: self.through(*self.layer.columns))

    def through(self, low: int, high: int) -> tuple[int, int]:
        """Return the columns (low, high) of a part of those of its layer."""
        return low - self.back, high - self.start

    def multipliers(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Return times, plus and shift of each channel: a sum becomes (sum times + plus) >> shift."""
        ratio = self.layer.step * self.factor / self.grid.scale
        shift = 30 - int(np.floor(np.log2(ratio.max())))
        bias = self.layer.bias if self.size < 3 else 0  # of larger pools it is added before
        plus = np.rint((ratio * bias + self.grid.zero).astype(np.longdouble) * 2.0**shift).astype(np.int64)
        times = np.minimum(np.rint(ratio * 2.0**shift), 2**31 - 1).astype(np.int32)
        return times, plus + (1 << shift - 1), shift


@dataclass(eq=False)
class Grid:
    """Parts beside each other as the bytes that layers take."""

    parts: list[Part]
    scale: float
    zero: int
    takers: list[Layer] = field(default_factory=list)

    last = property(lambda self: max(part.last for part in self.parts))
    channels = property(lambda self: sum(part.channels for part in self.parts))

    @property
    def passes(self) -> bool:
        """Whether its bytes go straight to the one layer that takes them, and are not kept."""
        part, taker = self.parts[0], self.takers[0]
        alone = len(self.parts) == len(self.takers) == taker.size == 1
        return alone and not part.pool and not part.layer.looked and not taker.looked


def stages(made: bytes) -> list[Layer]:
    """Read the graph of an exported file: its layers in their order; the first takes raw spectra."""
    import onnx

    graph, layers = onnx.load_from_string(made).graph, []
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer} | {"cube": []}
    for node in graph.node:
        words = {word.name: onnx.helper.get_attribute_value(word) for word in node.attribute}
        if node.op_type == "Constant":
            known[node.output[0]] = onnx.numpy_helper.to_array(words["value"])
            continue
        given = list(map(known.get, node.input))
        if node.op_type == "ArgMax" and [(one.plain, one.layer) for one in given[0]] == [(True, layers[-1])]:
            return layers
        try:
            known[node.output[0]] = _follow(node.op_type, words, layers, *given)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # put together in another way
            raise NoStages(f"its graph has another form, at {node.op_type}") from None
    raise NoStages("no class is chosen")


def _follow(kind, words, layers, first, *more):
    """What a node makes: parts of the scene, a grid, whole numbers with their steps, or numbers."""
    if set(words.get("strides", [1])) != {1} or any(words.get("pads", [])):
        raise NoStages(f"{kind} with a margin, or that moves by more than a pixel")
    match kind, first:
        case "DequantizeLinear", np.ndarray():
            return first, more[0].astype(np.float64)
        case ("Conv" | "MatMul"), _:
            return _layer(words, layers, first, *more)
        case "Shape", list():
            return np.full(4, SCENE - max((part.last for part in first), default=0))
        case "Gather", np.ndarray():
            return first.ravel()[more[0]]
        case _, np.ndarray() | np.generic() | None:  # sizes; that of the margin is known
            return NUMBERS[kind](first, *more) if kind in NUMBERS else first
        case _, []:
            raise NoStages("components in 32 bits, or spectra taken in parts")
        case _, Grid() | list() if kind in THROUGH:
            return first
        case "QuantizeLinear", list() if not (more[1] and any(part.relu for part in first)):
            grid = Grid([], float(more[0]), int(more[1]))
            grid.parts = [replace(part, grid=grid) for part in first]
            for part in grid.parts:
                part.layer.parts.append(part)
            return grid
        case "Relu", list():
            return [replace(part, relu=True) for part in first]
        case "Concat", list():
            return sum(more, first)
        case "Slice", [part] if part.plain and part.layer is layers[0] and more[0] == -more[1]:
            part.layer.margin = MARGIN - more[0].item()  # a smaller window
            return first
        case "Slice", list() if more[2] == 2:  # rows are cut off, and then as many columns
            return [replace(part, start=part.start + more[0].item()) for part in first]
        case "Slice", list() if not more[0] or more[2] == 3 and all(part.start == more[0] for part in first):
            return first
        case "MaxPool", list():
            return _pooled(first, "max", words)
        case "Pad", [part] if part.plain and part.layer is layers[0]:
            part.layer.outside = 0.0
            return first
        case ("Add" | "Sub" | "Mul"), [part] if part.plain and not part.layer.parts:
            _move(kind, part.layer, more[0])
            return first
    raise NoStages(f"{kind} is no layer of it")


def _pooled(parts, how, words, factor=1.0):
    """Parts pooled in squares that move by a pixel."""
    size, apart = words["kernel_shape"][0], words.get("dilations", [1])[0]
    if any(part.pool for part in parts):
        raise NoStages("a pool of pools")
    return [replace(part, pool=how, size=size, apart=apart, factor=factor) for part in parts]


def _move(kind, layer, value):
    """Scale or move raw sums; or give a layer its bias."""
    if isinstance(value, tuple):
        layer.bias = layer.bias + value[0]
    elif kind == "Mul":
        layer.step = layer.step * value.astype(np.float64)
    else:
        value = value.astype(np.float64) * (-1 if kind == "Sub" else 1)
        layer.bias, layer.outside = layer.bias + value / layer.step, layer.outside + value


def _layer(words, layers, given, weight, bias=(0,)):
    """What a layer makes of bytes or of raw spectra, or means of parts."""
    values, step = weight if isinstance(weight, tuple) else (weight, 1.0)
    if values.dtype != np.int8:
        if isinstance(given, list) and given and values.shape[1:2] == (1,) and np.ptp(values) == 0:
            return _pooled(given, "mean", words, float(values.ravel()[0]))
        raise NoStages("layers of 32 bits")
    values = values.T[..., None, None] if values.ndim == 2 else values
    depth, none = words.get("group", 1) > 1, np.zeros(len(values))
    made = Layer(None, values, none + step, none + bias[0], depth, words.get("dilations", [1])[0])
    if given != []:
        if given.channels != values.shape[0 if depth else 1] or values.ndim != 4:
            raise NoStages("a layer along the spectrum, or of some channels")
        made.given, made.step = given, made.step * np.float32(given.scale)
        made.bias = made.bias - given.zero * values.sum((1, 2, 3), dtype=np.int64)
        given.takers.append(made)
    layers.append(made)
    return [Part(made)]
