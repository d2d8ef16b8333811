"""A map from an exported file; needs onnx, onnxruntime and numpy, and no torch.

A large scene is read by rows: the map of strips is the map of the whole, because each strip comes with the
margin that its windows reach into.
"""

import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsilib.data import described
from hsilib.data.formats import Image, needs, of_array
from hsilib.deploy import contract
from hsilib.errors import HsiError, known, reason
from hsilib.files import outside, project, readable

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

REACH = 9  # rows that a window reaches up and down
STRIP = 1 << 22  # values of a cube that are looked at together
ROOM = 1e9  # bytes that a network may take, with a cube of nothing
MOST = 100_000_000  # bytes of a file: the largest network of the study takes 2 million
DAMAGED = "not an ONNX file that can be run, or cut off"
FOLDER = project() / "book" / "models"  # those to download
# none of them draws numbers, reads a file or runs a graph of its own
OPERATORS = set(
    "Abs Add ArgMax AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv "
    "ConvInteger DequantizeLinear Div DynamicQuantizeLinear Elu Equal Erf Exp Flatten Floor Gather Gemm "
    "GRU GlobalAveragePool GlobalMaxPool Greater HardSigmoid HardSwish Identity InstanceNormalization LSTM "
    "LayerNormalization LeakyRelu Less Log LogSoftmax MatMul MatMulInteger Max MaxPool Mean Min Mul Neg Pad "
    "Pow PRelu QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Round Selu "
    "Shape Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where".split()
)


def entries() -> dict[str, dict[str, Any]]:
    """Return {name: what ``zoo.toml`` says of a model to download}."""
    try:
        return tomllib.loads((FOLDER / "zoo.toml").read_text("utf-8"))
    except OSError:
        raise HsiError(f"{FOLDER} holds no models: they lie in a clone of the project") from None


def path_of(model: str) -> Path:
    """Return the file of a model: a path, or ``zoo:NAME`` of the models to download."""
    if not model.startswith("zoo:"):
        return Path(model)
    name = model.removeprefix("zoo:")
    return FOLDER / f"{known('model', name, entries())}.onnx"


def predict(path: Path | str, cube: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the map (H, W) of a cube (H, W, bands) by an exported file, and what the file says of itself.

    Classes are numbered from 1.

    >>> labels, metadata = predict("model.onnx", load_scene("synthetic_fields_small").cube)
    >>> first_pixel = metadata["classes"][labels[0, 0] - 1]
    """
    labels, _, metadata = predict_image(path, of_array(cube, "the scene"))
    return labels, metadata


def predict_image(
    path: Path | str, image: Image, watch: Callable[[int, int], None] = lambda done, rows: None
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return the map (H, W), 0 where there is no data, the confidence (H, W), and what the file says.

    The confidence is the largest share of softmax.  ``watch`` is told how many rows of how many are done.
    """
    classify, metadata = opened(path)
    bands = metadata["bands"]
    if len(image.size) == 3 and image.shape[2] != bands:
        image = replace(image, bad=())  # a file of which the model takes all bands
    if len(image.size) != 3 or image.shape[2] != bands or 0 in image.size:
        size = " x ".join(map(str, image.size))
        raise HsiError(f"{path} takes (rows, columns, {bands}), the scene is {size}")
    contract.hold(path, metadata, image)
    h, w, _ = image.shape
    fill = _mean(image) if image.nodata is not None else 0
    labels, confidence = np.zeros((h, w), np.uint8), np.zeros((h, w), np.float32)
    strip = max(4 * REACH, STRIP // (w * bands))
    strip = h if metadata["model"].startswith("dynamic") else strip  # its ranges are those of the whole scene
    for top in range(0, h, strip):
        first, bottom = max(top - REACH, 0), min(top + strip, h)
        values, there = image.rows(first, min(bottom + REACH, h))
        contract.hold_values(path, metadata, values[there])
        values = values if there.all() else np.where(there[..., None], values, fill)
        found, scores = classify(values)
        rows = slice(top - first, bottom - first)
        labels[top:bottom] = np.where(there, found, 0)[rows]
        shares = np.exp(scores - scores.max(0))
        confidence[top:bottom] = np.where(there, 1 / shares.sum(0), 0)[rows]
        watch(bottom, h)
    return labels, confidence, metadata


def _mean(image):
    """The mean spectrum of the pixels with data, which is nothing to a network behind its standardisation."""
    total, count = 0, 0
    for strip in image.strips():
        values, there = image.rows(*strip)
        total, count = total + values[there].sum(0, dtype=np.float64), count + int(there.sum())
    return (total / max(count, 1)).astype(np.float32)


def opened(path: Path | str) -> tuple[Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], dict[str, Any]]:
    """Open an exported file; return what gives the map and the scores of a cube, and what the file says.

    It may come from somebody else: what it computes is held to what it promises, in bounded memory.
    """
    data = vetted(outside(path, MOST), str(path))
    needs("onnxruntime", "an ONNX file")  # in bounded memory it could not be loaded
    with bounded(ROOM):
        engine = session(data, str(path))
    try:
        metadata = described.model(engine.get_modelmeta().custom_metadata_map)
    except (HsiError, UnicodeError) as error:
        says = reason(error, 400)
        raise HsiError(f"{path}: not written by `hsilib export` ({says})") from None
    if [(end.name, end.type) for end in engine.get_inputs()] != [("cube", "tensor(float)")]:
        raise HsiError(f"{path}: it takes other than a cube of 32-bit numbers")
    count = len(metadata["classes"])

    def classify(cube):
        with readable(f"{path}: cannot be run"), bounded(ROOM + 1000 * cube.nbytes):
            found, scores = engine.run(["map", "scores"], {"cube": cube})
        h, w, _ = cube.shape
        fits = found.dtype == np.uint8 and found.shape == (h, w)
        fits = fits and scores.dtype == np.float32 and scores.shape == (count, h, w)
        if not fits or not np.isfinite(scores).all() or (found != scores.argmax(0) + 1).any():
            raise HsiError(f"{path}: its map is not that of the scores of {count} classes")
        return found, scores

    return classify, metadata


def vetted(data: bytes, name: str) -> bytes:
    """Return an ONNX file as it was looked at, or refuse what this library does not write.

    That is operators that are not on the list, functions, graphs in graphs, and weights elsewhere.
    """
    onnx = needs("onnx", "an ONNX file")
    with readable(f"{name}: {DAMAGED}"):
        model = onnx.load_from_string(data)
        model.DiscardUnknownFields()
        nodes, words = model.graph.node, [word for node in model.graph.node for word in node.attribute]
        held = sum([[word.t, *word.tensors] for word in words], list(model.graph.initializer))
        strange = {node.op_type for node in nodes if node.domain not in ("", "ai.onnx")}
        if strange := strange | ({node.op_type for node in nodes} - OPERATORS):
            raise HsiError(f"{name}: operator {min(strange)!r:.40} is not one of those that `export` writes")
        if any(tensor.data_location or tensor.external_data for tensor in held):
            raise HsiError(f"{name}: its weights lie in another file")
        sparse = any(word.HasField("sparse_tensor") or word.sparse_tensors for word in words)
        if sparse or model.graph.sparse_initializer or model.functions or model.training_info:
            raise HsiError(f"{name}: it has sparse tensors or functions, which `export` does not write")
        if any(prod(tensor.dims) > MOST for tensor in held):
            raise HsiError(f"{name}: a tensor is larger than such a file")
        onnx.checker.check_model(model)
        return model.SerializeToString()


@contextmanager
def bounded(most: float) -> Iterator[None]:
    """Let this process take so many bytes more at most, where the system can hold it to that (Linux)."""
    try:
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = min(now + int(most), soft if soft != resource.RLIM_INFINITY else sys.maxsize)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def session(model: bytes, name: str = "the model") -> "InferenceSession":
    """Open a file in onnxruntime on one thread."""
    onnxruntime = needs("onnxruntime", "an ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # products with whole weights and 32-bit values stay in 32 bits; by default the values are rounded too
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    with readable(f"{name}: {DAMAGED}"):
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
