"""From a trained network to one ONNX file that classifies raw spectra.

The file holds all that this takes: the mean spectrum, the principal components, the standardisation, the
padding, the network in 32 bits or in integers, and the names of the classes.  Its input is ``cube``
(H, W, bands) of any size; its outputs are ``map`` (H, W), 1-based, and ``scores`` (K, H, W).  Reading one
needs onnxruntime and numpy only.
"""

import json
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from hsilib.data.inputs import MARGIN, Inputs
from hsilib.data.scenes import Scene
from hsilib.deploy import contract
from hsilib.deploy.trace import OPSET, traced
from hsilib.deploy.vetted import vet
from hsilib.errors import HsiError
from hsilib.files import write_atomically
from hsilib.identity import Run
from hsilib.methods.quantize.integer import LAYERS, Int8CNN2D, Int8Layer, fold_batch_norm
from hsilib.models.networks import CNN2D
from hsilib.study.execute import task_of, trained

IR = 9  # what onnxruntime 1.15 and later read, as OPSET
FLOAT, BYTE = 1, 2  # of onnx.TensorProto
End = tuple[str, int, Sequence[int | str]]  # an input or output: name, type, shape


class Graph:
    """It collects the nodes and constants of an ONNX graph, in order, and writes the file."""

    def __init__(self) -> None:
        if not find_spec("onnx"):
            raise HsiError("onnx is not installed: pip install onnx onnxruntime")
        self.nodes, self.constants = [], {}

    def constant(self, name: str, array: Any, dtype: type = np.float32) -> str:
        """Add an array, and return its name."""
        self.constants[name] = np.ascontiguousarray(array, dtype)
        return name

    def add(self, kind: str, inputs: list[str], *outputs: str, **attributes) -> str:
        """Add a node, and return the name of its first output."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))
        return outputs[0]

    def bytes(self, inputs: Iterable[End], outputs: Iterable[End], metadata: dict[str, Any]) -> bytes:
        """Return the file; its metadata are what it says of itself."""
        from onnx import checker, helper, numpy_helper

        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        ends = [[helper.make_tensor_value_info(*end) for end in group] for group in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, "hsilib", *ends, initializer=constants)
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="hsilib")
        helper.set_model_props(made, {key: json.dumps(value) for key, value in metadata.items()})
        checker.check_model(made)
        return made.SerializeToString()


def _layers(graph, net, x):
    """Add the four layers behind the tensor ``x`` (B, C, H+18, W+18), and return the scores (B, K, H, W).

    Integer layers are written as quantize - dequantize - convolve, which the engine fuses into integer
    convolutions.
    """
    net = fold_batch_norm(net) if hasattr(net, "bn1") else net
    for name in LAYERS:
        layer = getattr(net, name)
        window = (1, 1) if name == "fc2" else (5, 5)
        weight = layer.weight.detach().cpu().numpy().reshape(len(layer.bias), -1, *window)
        bias = layer.bias.detach().cpu().numpy()
        spread = dict(dilations=[2, 2]) if name == "fc1" else {}  # pooled cells lie two pixels apart
        static = isinstance(layer, Int8Layer) and not layer.dynamic
        if static:
            scale = graph.constant(f"{name}.in_scale", layer.in_scale)
            zero = graph.constant(f"{name}.in_zero", layer.in_zero, np.uint8)
            x = graph.add("QuantizeLinear", [x, scale, zero], f"{name}.in_q")
        if name == "fc1":  # on whole numbers where there are
            crop = {"from": [0, 0], "to": [-1, -1], "axes": [2, 3]}
            crop = [graph.constant(f"pool.{key}", where, np.int64) for key, where in crop.items()]
            x = graph.add("Slice", [x, *crop], "pool.in")
            x = graph.add("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[1, 1])
        if static:
            step = layer.scale.cpu().numpy().ravel()
            x = graph.add("DequantizeLinear", [x, scale, zero], f"{name}.in")
            w = [graph.constant(f"{name}.w_q", weight, np.int8), graph.constant(f"{name}.w_scale", step)]
            w = graph.add("DequantizeLinear", w, f"{name}.w", axis=0)
            step = step * layer.in_scale.cpu().numpy()
            q = np.rint(bias / step)
            b = [graph.constant(f"{name}.b_q", q, np.int32), graph.constant(f"{name}.b_scale", step)]
            b = graph.add("DequantizeLinear", b, f"{name}.b", axis=0)
            x = graph.add("Conv", [x, w, b], name, **spread)
        elif isinstance(layer, Int8Layer):  # dynamic
            q = graph.add("DynamicQuantizeLinear", [x], f"{name}.in_q", f"{name}.in_scale", f"{name}.in_zero")
            w = graph.constant(f"{name}.w_q", weight, np.int8)
            x = graph.add("ConvInteger", [q, w, f"{name}.in_zero"], f"{name}.sum", **spread)
            x = graph.add("Cast", [x], f"{name}.float", to=FLOAT)
            step = graph.constant(f"{name}.w_scale", layer.scale.cpu().numpy().reshape(()))
            step = graph.add("Mul", [f"{name}.in_scale", step], f"{name}.step")
            x = graph.add("Mul", [x, step], f"{name}.scaled")
            x = graph.add("Add", [x, graph.constant(f"{name}.b", bias[:, None, None])], name)
        else:
            w, b = graph.constant(f"{name}.w", weight), graph.constant(f"{name}.b", bias)
            x = graph.add("Conv", [x, w, b], name, **spread)
        if name != "fc2":
            x = graph.add("Relu", [x], f"{name}.relu")
    return x


def network(net: nn.Module) -> bytes:
    """Write the network alone as an ONNX file: ``x`` (B, C, H+18, W+18) -> ``scores`` (B, K, H, W).

    A patch is a scene of one pixel.
    """
    graph = Graph()
    graph.add("Identity", [_layers(graph, net, "x")], "scores")
    x = ("x", FLOAT, ["batch", net.config["bands"], "rows + 18", "columns + 18"])
    scores = ("scores", FLOAT, ["batch", net.config["classes"], "rows", "columns"])
    return graph.bytes([x], [scores], {})


def classifier(
    net: nn.Module, reduction: tuple[np.ndarray, ...], classes: Sequence[str],
    tile: tuple[int, int] | None = None, **metadata
) -> bytes:
    """Write the whole chain from raw spectra as an ONNX file.

    reduction: (mean (B,), weight (B, C), shift (C,)), the map from a spectrum to the network's input; tile:
    rows and columns that the file is to classify at once, for code that knows its sizes, of which it is given
    nine more on every side; metadata: what else the file is to say of itself.
    """
    mean, weight, shift = reduction
    graph = Graph()
    x = graph.add("Sub", ["cube", graph.constant("mean", mean)], "centred")
    x = graph.add("MatMul", [x, graph.constant("components", weight)], "components_of")
    x = graph.add("Add", [x, graph.constant("shift", shift)], "reduced")
    x = graph.add("Transpose", [x], "planes", perm=[2, 0, 1])
    x = graph.add("Unsqueeze", [x, graph.constant("first", [0], np.int64)], "image")
    if not tile:
        margins = graph.constant("margins", [0, 0, MARGIN, MARGIN, 0, 0, MARGIN, MARGIN], np.int64)
        x = graph.add("Pad", [x, margins], "padded")
    x = graph.add("Squeeze", [_layers(graph, net, x), "first"], "scores")
    x = graph.add("ArgMax", [x], "best", axis=0, keepdims=0)
    x = graph.add("Add", [x, graph.constant("one", 1, np.int64)], "label")
    graph.add("Cast", [x], "map", to=BYTE)
    size = list(tile or ("rows", "columns"))
    given = [side + 2 * MARGIN for side in tile] if tile else size
    outputs = [("map", BYTE, size), ("scores", FLOAT, [len(classes), *size])]
    inputs = [("cube", FLOAT, [*given, len(mean)])]
    return graph.bytes(inputs, outputs, {"classes": list(classes), "bands": len(mean)} | metadata)


def graph_of(run: Run, tile: tuple[int, int] | None = None) -> bytes:
    """Return the trained network of a run as an ONNX file; the network is trained if need be."""
    says = "only networks of bands, of windows with an exact dense form, and of CNN2D's shape can"
    refusal = HsiError(f"{run.method} cannot be exported: {says}")
    if run.method in ("rf", "mlr", "svm", "cnn3d"):  # before it is trained
        raise refusal
    Graph()  # onnx is there
    model = trained(run)
    ours = isinstance(model, Int8CNN2D) or type(model) is CNN2D
    whole = model.kind == "bands" or (model.kind == "windows" and hasattr(model, "dense"))
    if not ours and not (whole and isinstance(model, nn.Module)):
        raise refusal
    task = task_of(run)
    return _graph(model, task.scene, task.inputs(model.kind), run.method, tile, model=str(run), run=run.id)


def _graph(net, scene, inputs, name, tile=None, **said):
    """Write a network with what it was given of its scene; what ``predict`` would refuse is not written."""
    write = classifier if isinstance(net, Int8CNN2D) or type(net) is CNN2D else traced
    metadata = dict(scene=scene.name, **said, **contract.of_scene(scene))
    made = write(net.cpu(), inputs.reduction, scene.classes, tile, **metadata)
    vet(made, f"{name} cannot be exported")
    return made


def export(
    run: Run | nn.Module, path: Path | str, scene: Scene | None = None, inputs: Inputs | None = None
) -> int:
    """Write a trained network as a classifier of raw spectra, and return how many bytes that took.

    That of a run is trained if need be.  One that you trained comes with its scene and what it was given of
    it.

    >>> run = make_run("synthetic_fields_small", "disjoint", "static", ratio=98, epochs=5)
    >>> size = export(run, "model.onnx")
    """
    if Path(path).is_dir():
        raise HsiError(f"{path} is a folder; name the file to be written")
    if isinstance(run, Run):
        made = graph_of(run)
    elif scene is None or inputs is None:
        raise HsiError("a network is exported with its scene and inputs: export(net, path, scene, inputs)")
    else:
        Graph()  # onnx is there
        made = _graph(run.eval(), scene, inputs, type(run).__name__, model=type(run).__name__)
    write_atomically(path, made)
    return len(made)
