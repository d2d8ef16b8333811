"""From a trained network to one ONNX file that classifies raw spectra, and back to a map.

The file holds everything: the mean spectrum, the principal components, the standardisation, the padding, the network in 32
bits or in integers, and the names of the classes.  Input: ``cube`` (H, W, bands) of any size; outputs: ``map`` (H, W), 1-based,
and ``scores`` (K, H, W).  Reading one needs onnxruntime and numpy only.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hsilib.data.inputs import MARGIN
from hsilib.errors import HsiError
from hsilib.files import write_atomically
from hsilib.methods import get
from hsilib.study.execute import task_of, trained

OPSET, IR = 17, 9  # what onnxruntime 1.15 and later read
FLOAT, BYTE = 1, 2  # of onnx.TensorProto


class Graph:
    """Nodes and constants of an ONNX graph, added in order."""

    def __init__(self):
        if not find_spec("onnx"):
            raise HsiError("onnx is not installed: pip install onnx onnxruntime")
        self.nodes, self.constants = [], {}

    def constant(self, name, array, dtype=np.float32):
        self.constants[name] = np.ascontiguousarray(array, dtype)
        return name

    def add(self, kind, inputs, *outputs, **attributes):
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))
        return outputs[0]

    def bytes(self, inputs, outputs, about):
        """The file; ``inputs`` and ``outputs`` are (name, type, shape), ``about`` its metadata."""
        from onnx import checker, helper, numpy_helper

        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        ends = [[helper.make_tensor_value_info(*end) for end in group] for group in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, "hsilib", *ends, initializer=constants)
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="hsilib"
        )
        helper.set_model_props(made, {key: json.dumps(value) for key, value in about.items()})
        checker.check_model(made)
        return made.SerializeToString()


def _layers(graph, net, x):
    """The four layers behind the tensor ``x`` (B, C, H+18, W+18); returns the scores (B, K, H, W).

    Integer layers are written as quantize - dequantize - convolve, which the engine fuses into integer convolutions.
    """
    from hsilib.quantize.integer import LAYERS, Int8Layer, fold_batch_norm

    net = fold_batch_norm(net) if hasattr(net, "bn1") else net
    for name in LAYERS:
        layer = getattr(net, name)
        window = {"fc1": (5, 5), "fc2": (1, 1)}.get(name, (5, 5))
        weight = layer.weight.detach().cpu().numpy().reshape(len(layer.bias), -1, *window)
        bias = layer.bias.detach().cpu().numpy()
        spread = dict(dilations=[2, 2]) if name == "fc1" else {}  # pooled cells lie two pixels apart
        static = isinstance(layer, Int8Layer) and not layer.dynamic
        if static:
            scale = graph.constant(f"{name}.in_scale", layer.in_scale)
            zero = graph.constant(f"{name}.in_zero", layer.in_zero, np.uint8)
            x = graph.add("QuantizeLinear", [x, scale, zero], f"{name}.in_q")
        if name == "fc1":  # on whole numbers where there are
            starts, ends, axes = (
                graph.constant(f"pool.{k}", v, np.int64)
                for k, v in (("from", [0, 0]), ("to", [-1, -1]), ("axes", [2, 3]))
            )
            x = graph.add("Slice", [x, starts, ends, axes], "pool.in")
            x = graph.add("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[1, 1])
        if static:
            step = layer.scale.cpu().numpy().ravel()
            x = graph.add("DequantizeLinear", [x, scale, zero], f"{name}.in")
            w = [graph.constant(f"{name}.w_q", weight, np.int8), graph.constant(f"{name}.w_scale", step)]
            w = graph.add("DequantizeLinear", w, f"{name}.w", axis=0)
            step = step * layer.in_scale.cpu().numpy()
            b = [
                graph.constant(f"{name}.b_q", np.rint(bias / step), np.int32),
                graph.constant(f"{name}.b_scale", step),
            ]
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
            x = graph.add(
                "Conv", [x, graph.constant(f"{name}.w", weight), graph.constant(f"{name}.b", bias)], name,
                **spread
            )
        if name != "fc2":
            x = graph.add("Relu", [x], f"{name}.relu")
    return x


def network(net):
    """The network alone as an ONNX file: ``x`` (B, C, H+18, W+18) -> ``scores`` (B, K, H, W); a patch is a scene of one pixel."""
    graph, about = Graph(), net.config
    scores = _layers(graph, net, "x")
    graph.add("Identity", [scores], "scores")
    shape = ["batch", about["bands"], "rows + 18", "columns + 18"]
    return graph.bytes(
        [("x", FLOAT, shape)], [("scores", FLOAT, ["batch", about["classes"], "rows", "columns"])], {}
    )


def classifier(net, reduction, classes, **about):
    """The whole chain from raw spectra as an ONNX file.

    reduction: (mean (B,), weight (B, C), shift (C,)), the map from a spectrum to the network's input.
    """
    mean, weight, shift = reduction
    graph = Graph()
    x = graph.add("Sub", ["cube", graph.constant("mean", mean)], "centred")
    x = graph.add("MatMul", [x, graph.constant("components", weight)], "components_of")
    x = graph.add("Add", [x, graph.constant("shift", shift)], "reduced")
    x = graph.add("Transpose", [x], "planes", perm=[2, 0, 1])
    x = graph.add("Unsqueeze", [x, graph.constant("first", [0], np.int64)], "image")
    margins = graph.constant("margins", [0, 0, MARGIN, MARGIN, 0, 0, MARGIN, MARGIN], np.int64)
    x = graph.add("Pad", [x, margins], "padded")
    x = graph.add("Squeeze", [_layers(graph, net, x), "first"], "scores")
    x = graph.add("ArgMax", [x], "best", axis=0, keepdims=0)
    x = graph.add("Add", [x, graph.constant("one", 1, np.int64)], "label")
    graph.add("Cast", [x], "map", to=BYTE)
    outputs = [("map", BYTE, ["rows", "columns"]), ("scores", FLOAT, [len(classes), "rows", "columns"])]
    inputs = [("cube", FLOAT, ["rows", "columns", len(mean)])]
    return graph.bytes(inputs, outputs, {"classes": list(classes), "bands": len(mean)} | about)


# ------------------------------------------------------------------------------ running a file


def export(run, path):
    """Write the trained network of a run as a classifier of raw spectra; trains it if need be.  Returns the bytes written."""
    refusal = HsiError(
        f"{run.method} cannot be exported: only networks of CNN2D's shape can, whole or in 8 bits"
    )
    if get(run.method).family == "baselines" and not run.method.startswith(("cnn2d", "scratch")):
        raise refusal  # before it is trained, as for the other two
    if Path(path).is_dir():
        raise HsiError(f"{path} is a folder; name the file to be written")
    Graph()  # onnx is there
    model = trained(run)
    if not hasattr(model, "maps") and type(model).__name__ != "CNN2D":
        raise refusal
    task = task_of(run)
    scene = task.scene
    made = classifier(
        model.cpu(), task.inputs(model.kind).reduction, scene.classes, scene=scene.name, model=str(run),
        run=run.id
    )
    write_atomically(path, made)
    return len(made)
