"""What random bit flips in the stored weights of a network cost: accuracies over many draws.

``make upsets`` compiles the C of each network to download with weights that can be written, flips bits of all
layers or of one, classifies the whole scene, puts the weights back, and writes ``book/results/upsets.json``.
"""

import ctypes
import json
import re
import sys

import numpy as np
import onnx
from onnx import numpy_helper

from bench.small import TABLE, Compiled
from hsilib.data.scenes import load_scene
from hsilib.data.splits import split_of
from hsilib.deploy import zoo
from hsilib.deploy.predict import session
from hsilib.deploy.written import wide
from hsilib.models.evaluate import LEAST, confusion, per_class

SCENE, NETWORKS = "indian_pines_8bit", ("lens-int8", "perceptron-int8", "98-int8")
FLIPS, DRAWS = (1, 8, 64, 512), 1000


class Written:
    """The C of a network, whose weights can be written, over a whole scene."""

    def __init__(self, made: bytes, cube: np.ndarray) -> None:
        self.code = code = Compiled(made, cube, "-O3", "-march=native", loose=True)
        self.cube = np.ascontiguousarray(code.plan.raw_values(cube))
        sizes = {name: int(size) for _, name, size in re.findall(TABLE, code.text, re.M)}
        self.weights = {}  # by layer, in their order; zeros that only fill up count as no weights
        for number, layer in enumerate(code.plan.layers):
            name = code.writer.weights(layer)
            size = sizes[name]
            held = np.frombuffer((ctypes.c_int8 * size).in_dll(code.code, name), np.int8)
            row = layer.weight[0].size // layer.size if not layer.depth else size
            real = np.arange(size) % (wide(row) if not layer.depth else size) < row
            self.weights[f"layer {number + 1}"] = held, np.flatnonzero(real)

    def map(self) -> np.ndarray:
        """Return the class of every pixel, from 0."""
        return self.code.map(self.cube).ravel().astype(int) - 1


class Opened:
    """An exported file of whole numbers in ONNX Runtime, of which a network with components can be had."""

    def __init__(self, made: bytes, cube: np.ndarray) -> None:
        self.model, self.cube = onnx.load_from_string(made), cube.astype(np.float32)
        self.weights, self.tensors = {}, []
        for tensor in self.model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.INT8:
                held = numpy_helper.to_array(tensor).copy()
                self.tensors.append((tensor, held))
                self.weights[f"layer {len(self.weights) + 1}"] = held.ravel(), np.arange(held.size)

    def map(self) -> np.ndarray:
        """Return the class of every pixel, from 0."""
        for tensor, held in self.tensors:
            tensor.raw_data = held.tobytes()
        found = session(self.model.SerializeToString()).run(["map"], {"cube": self.cube})
        return found[0].ravel().astype(int) - 1


def flip(parts: list, count: int, rng: np.random.Generator) -> list:
    """Flip so many bits of some weights, no bit twice; return what puts them back."""
    sizes = np.cumsum([0, *(8 * len(real) for _, real in parts)])
    before = [(held, held.copy()) for held, _ in parts]
    for bit in rng.choice(sizes[-1], min(count, sizes[-1]), replace=False):
        part = np.searchsorted(sizes, bit, "right") - 1
        held, real = parts[part]
        place, which = divmod(bit - sizes[part], 8)
        held.view(np.uint8)[real[place]] ^= np.uint8(1 << which)
    return before


def upsets(name: str) -> dict:
    """Return what flips in all layers, and in each, do to a network: median, worst and 5 % quantile."""
    scene, made = load_scene(SCENE), (zoo.FOLDER / f"{SCENE}-{name}.onnx").read_bytes()
    split = split_of(scene, "disjoint", 0)
    counts = np.bincount(split.test_y)
    net = (Opened if name == "98-int8" else Written)(made, scene.cube)

    def measured():
        matrix = confusion(split.test_y, net.map()[split.test], len(counts))
        return 100 * np.trace(matrix) / matrix.sum(), per_class(matrix)[counts >= LEAST].mean()

    bits = {layer: 8 * len(real) for layer, (_, real) in net.weights.items()}
    found = {"bits": bits, "whole": list(map(float, measured())), "flips": {}}
    groups = {"all": list(net.weights)} | {layer: [layer] for layer in bits}
    for group, layers in groups.items():
        found["flips"][group] = {"draws": DRAWS}
        for count in FLIPS:
            rng, lines = np.random.default_rng([count, len(found["flips"])]), []
            for _ in range(DRAWS):
                before = flip([net.weights[layer] for layer in layers], count, rng)
                lines.append(measured())
                for held, old in before:
                    held[:] = old
            oa, aa30 = np.array(lines).T
            row = {
                metric: [round(float(v), 2) for v in (np.median(some), some.min(), np.quantile(some, 0.05))]
                for metric, some in (("oa", oa), ("aa30", aa30))
            }
            found["flips"][group][str(count)] = row
            print(f"{name}, {group}, {count}: OA {row['oa'][0]:.1f}, worst {row['oa'][1]:.1f}", flush=True)
    assert np.allclose(found["whole"], measured()), "the weights are put back"
    return found


def main() -> None:
    """Measure the networks that are named, or all, and keep what came out."""
    path = zoo.FOLDER.parent / "results" / "upsets.json"
    for name in sys.argv[1:] or NETWORKS:
        found = upsets(name)
        kept = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(kept | {name: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
