"""What an exported graph does to a pixel, in whole numbers: sums of products, and the bytes between them.

A tensor's index i needs rows up to i + ``last`` of the scene with its margin, and columns alike.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from hsilib.errors import HsiError

THROUGH = "Transpose Unsqueeze Squeeze Gather Flatten Reshape Pad Identity"  # they move no value elsewhere


class NoStages(HsiError):
    """The graph does something else, and is written as C in the generic way."""


@dataclass(eq=False)
class Sums:
    """What a layer makes of bytes, or of raw spectra: value = step (sum + bias) for each channel."""

    given: "Bytes | None"
    weight: np.ndarray  # (outputs, inputs or 1, size, size)
    step: np.ndarray
    bias: np.ndarray
    depth: bool = False
    apart: int = 1
    taken: list["Bytes"] = field(default_factory=list)
    outside: np.ndarray | float | None = None  # of raw spectra: its value where there is no scene

    size = property(lambda self: self.weight.shape[2])
    reach = property(lambda self: (self.size - 1) * self.apart)
    last = property(lambda self: self.given.last + self.reach if self.given else 0)
    channels = property(lambda self: len(self.weight))


@dataclass(eq=False)
class Part:
    """Channels of a tensor: sums, behind ReLU, pooled, from an index on."""

    sums: Sums
    relu: bool = False
    pool: str = ""  # or max, mean
    size: int = 1
    apart: int = 1
    start: int = 0
    factor: float = 1.0

    last = property(lambda self: self.sums.last + (self.size - 1) * self.apart + self.start)


@dataclass(eq=False)
class Bytes:
    """Parts beside each other on the grid that a layer takes."""

    parts: list[Part]
    scale: float
    zero: int
    takers: list[Sums] = field(default_factory=list)

    last = property(lambda self: max(part.last for part in self.parts))
    channels = property(lambda self: sum(part.sums.channels for part in self.parts))

    def multipliers(self, part: Part) -> tuple[np.ndarray, np.ndarray, int]:
        """Return times, plus and shift of each channel: a sum becomes (sum times + plus) >> shift."""
        ratio = part.sums.step * part.factor / self.scale
        shift = 30 - int(np.floor(np.log2(ratio.max())))
        bias = part.sums.bias if part.size < 3 else 0  # of larger pools it is added before
        plus = [int(v) for v in np.rint((ratio * bias + self.zero).astype(np.longdouble) * 2.0**shift)]
        times = np.minimum(np.rint(ratio * 2.0**shift).astype(np.int64), 2**31 - 1)
        return times, np.array(plus) + (1 << shift - 1), shift


def stages(made: bytes) -> tuple[Sums, list[Sums], int]:
    """Read the graph of an exported file: its last layer, all layers in their order, its bands."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(made).graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = {node.output[0]: node for node in graph.node}
    constants = [node for node in graph.node if node.op_type == "Constant"]
    held |= {node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in constants}
    reader = Reader(nodes, held)
    top = [node for node in graph.node if node.op_type == "ArgMax"]
    if not top:
        raise NoStages("no class is chosen")
    try:
        parts = reader.parts(top[0].input[0])
    except (KeyError, IndexError, ValueError, TypeError):  # nodes that are put together in another way
        raise NoStages("its graph has another form") from None
    if len(parts) != 1 or parts[0].relu or parts[0].pool or parts[0].sums.given is None:
        raise NoStages("the scores are not those of one layer")
    return parts[0].sums, reader.layers, reader.layers[0].weight.shape[1]


class Reader:
    """It follows a graph backwards from its scores, and meets every layer once."""

    def __init__(self, nodes: dict, held: dict[str, np.ndarray]) -> None:
        self.nodes, self.held = nodes, held
        self.layers, self.met = [], {}

    def constant(self, name: str) -> np.ndarray:
        """Return a constant, also behind a cast or in front of its scale."""
        while name not in self.held and self.nodes[name].op_type in ("Unsqueeze", "Cast", "DequantizeLinear"):
            name = self.nodes[name].input[0]
        if name not in self.held:
            raise NoStages("weights that are computed")
        return self.held[name]

    def number(self, name: str) -> np.ndarray:
        """Return what is computed of sizes, for a scene of so many pixels that any window fits."""
        if name in self.held:
            return self.held[name]
        kind, given = self.nodes[name].op_type, self.nodes[name].input
        if kind == "Shape":
            return np.full(4, 1000 - max(part.last for part in self.parts(given[0])))
        first, *others = map(self.number, given)
        does = dict(Add=np.add, Sub=np.subtract, Mul=np.multiply, Div=np.floor_divide, Neg=np.negative)
        if kind in does:
            return does[kind](first, *others)
        if kind in ("Unsqueeze", "Cast", "Gather"):
            return first.ravel()[others[0]] if kind == "Gather" else first
        raise NoStages(f"sizes by {kind}")

    def known(self, name: str) -> bool:
        """Tell whether a tensor is a constant."""
        try:
            self.constant(name)
        except (NoStages, KeyError):
            return False
        return True

    def parts(self, name: str) -> list[Part]:
        """Return what a tensor of real values is made of."""
        if name not in self.met:
            if name not in self.nodes:
                raise NoStages(f"it begins with {name}")
            self.met[name] = self._parts(self.nodes[name])
        return [replace(part) for part in self.met[name]]

    def _parts(self, node):
        kind, given = node.op_type, list(node.input)
        words = {a.name: a for a in node.attribute}
        if kind in THROUGH.split():
            parts = self.parts(given[0])
            if kind == "Pad":
                if len(parts) > 1 or parts[0].sums.given or parts[0].relu:
                    raise NoStages("a margin between layers")
                parts[0].sums.outside = np.zeros(parts[0].sums.channels)
            return parts
        if kind == "Relu":
            return [replace(part, relu=True) for part in self.parts(given[0])]
        if kind == "Concat" and words["axis"].i == 1:
            return [part for name in given for part in self.parts(name)]
        if kind == "Slice":
            before = self.nodes[given[0]]
            (start,) = self.number(given[1]).ravel()
            if before.op_type != "Slice":
                return [replace(part, start=part.start + int(start)) for part in self.parts(given[0])]
            if self.number(before.input[1]) != start:  # rows first, then columns
                raise NoStages("a part is cut out that is no square")
            return self.parts(given[0])
        if kind == "MaxPool":
            return self.pooled("max", node, words["kernel_shape"].ints[0], 1.0)
        if kind in ("Add", "Sub", "Mul") and self.known(given[1]):
            return self.moved(kind, given)
        if kind in ("Conv", "MatMul"):
            return self.layer(node, words)
        raise NoStages(f"{kind} is no layer of it")

    def pooled(self, how, node, size, factor):
        words = {a.name: a.ints for a in node.attribute}
        apart = words["dilations"][0] if "dilations" in words else 1
        parts = self.parts(node.input[0])
        if any(part.pool for part in parts) or set(words.get("strides", [1])) != {1}:
            raise NoStages("pools that move by more than a pixel")
        return [replace(p, pool=how, size=size, apart=apart, factor=factor) for p in parts]

    def moved(self, kind, given):
        """Raw sums are scaled and moved; those of whole layers are given their bias."""
        (part,), value = self.parts(given[0]), self.constant(given[1]).astype(np.float64)
        sums = part.sums
        if part.relu or part.pool or part.start or sums.taken:
            raise NoStages("values are moved between layers")
        if sums.outside is not None:
            sums.outside = sums.outside + value
        if kind == "Mul":
            sums.step = sums.step * value
        elif self.nodes[given[1]].op_type == "DequantizeLinear":
            sums.bias = sums.bias + value
        else:
            sums.bias = sums.bias + (value if kind == "Add" else -value) / sums.step
        return [part]

    def layer(self, node, words):
        weight = self.constant(node.input[1])
        if weight.dtype != np.int8:
            if node.op_type == "Conv" and weight.shape[1:2] == (1,) and np.ptp(weight) == 0:
                return self.pooled("mean", node, weight.shape[2], float(weight.ravel()[0]))
            raise NoStages("layers of 32 bits")
        step = 1.0
        if self.nodes[node.input[1]].op_type == "DequantizeLinear":
            step = self.held[self.nodes[node.input[1]].input[1]].astype(np.float64)
        if node.op_type == "MatMul":
            weight = weight.T[..., None, None]
        apart = words["dilations"].ints[0] if "dilations" in words else 1
        plain = "pads" not in words or not any(words["pads"].ints) and set(words["strides"].ints) == {1}
        if weight.ndim != 4 or not plain:
            raise NoStages("a layer along the spectrum, or that moves by more than a pixel")
        depth = "group" in words and words["group"].i > 1
        given = None if node.input[0] == "cube" else self.bytes(node.input[0])
        zeros = np.zeros(len(weight))
        if given:
            step = step * np.float32(given.scale)
            zeros = zeros - given.zero * weight.sum((1, 2, 3), dtype=np.int64)
        bias = self.constant(node.input[2]) if len(node.input) > 2 else 0
        sums = Sums(given, weight, np.broadcast_to(step, len(weight)), zeros + bias, depth, apart)
        if given:
            given.takers.append(sums)
        self.layers.append(sums)
        return [Part(sums)]

    def bytes(self, name: str) -> Bytes:
        """Return the bytes that a layer takes: dequantized, which were quantized."""
        node = self.nodes[name]
        while node.op_type in THROUGH.split():
            node = self.nodes[node.input[0]]
        rounded = node.input[0]
        if node.op_type != "DequantizeLinear" or self.nodes[rounded].op_type != "QuantizeLinear":
            raise NoStages("a layer that takes 32 bits, or components in 32 bits")
        if rounded not in self.met:
            real, scale, zero = self.nodes[rounded].input
            parts = self.parts(real)
            made = Bytes(parts, float(self.constant(scale)), int(self.constant(zero)))
            if made.zero and any(part.relu for part in parts):
                raise NoStages("values that end at nothing on a grid that does not")
            for part in parts:
                part.sums.taken.append(made)
            self.met[rounded] = made
        return self.met[rounded]

