"""A map from an exported file; needs onnxruntime and numpy, and no torch.

A large scene is read by rows: the map of strips is the map of the whole, because each strip comes with the
margin that its windows reach into.
"""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from hsilib.data import described
from hsilib.data.formats import Image, needs, of_array
from hsilib.deploy import contract
from hsilib.deploy.vetted import MOST, bounded, vet
from hsilib.errors import HsiError, known, reason, starved
from hsilib.files import outside, project

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

REACH = 9  # rows that a window reaches up and down
STRIP = 1 << 22  # values of a cube that are looked at together
WIDEST = 500_000_000  # values of a strip; a scene that asks for more is none
PATIENCE = 20  # seconds in which an engine opens a file and classifies two pixels
ROOM = 1e9  # bytes that a network may take, with a cube of nothing
FOLDER = project() / "book" / "models"  # those to download


def entries() -> dict[str, dict[str, Any]]:
    """Return {name: what ``zoo.toml`` says of a model to download}."""
    try:
        return tomllib.loads((FOLDER / "zoo.toml").read_text())
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
    model, bands = metadata["model"], metadata["bands"]
    if len(image.size) == 3 and image.shape[2] != bands:
        image = replace(image, bad=())  # a file of which the model takes all bands
    if len(image.size) != 3 or image.shape[2] != bands or 0 in image.size:
        size = " x ".join(map(str, image.size))
        raise HsiError(f"{path} takes (rows, columns, {bands}), the scene is {size}")
    contract.hold(path, metadata, image)
    h, w, _ = image.shape
    fill = _mean(image) if image.nodata is not None else 0
    labels, confidence = np.zeros((h, w), np.uint8), np.zeros((h, w), np.float32)
    if 4 * REACH * w * bands > WIDEST:
        raise HsiError(f"{image.where}: {w} columns of {bands} bands are more than can be held at once")
    strip = max(4 * REACH, STRIP // (w * bands))
    strip = h if model.startswith("dynamic") else strip  # its ranges are those of the whole scene
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
    _engine()  # in bounded memory it could not be loaded
    with bounded(ROOM):  # here, and not in the thread, which may outlive it
        engine = _in_time(path, lambda: session(path))
    try:
        metadata = described.model(engine.get_modelmeta().custom_metadata_map)
        asks = [(end.name, end.type) for end in engine.get_inputs()]
    except (HsiError, UnicodeError) as error:
        says = reason(error, 400)
        raise HsiError(f"{path}: not written by `python -m hsilib export` ({says})") from None
    count = len(metadata["classes"])
    if asks != [("cube", "tensor(float)")]:
        raise HsiError(f"{path}: it takes other than a cube of 32-bit numbers")

    def run(cube):
        try:
            found, scores = engine.run(["map", "scores"], {"cube": cube})
        except Exception as error:
            raise HsiError(f"{path}: cannot be run ({reason(error)})") from None
        h, w, _ = cube.shape
        fits = found.dtype == np.uint8 and found.shape == (h, w)
        fits = fits and scores.dtype == np.float32 and scores.shape == (count, h, w)
        if not fits or not np.isfinite(scores).all() or (found != scores.argmax(0) + 1).any():
            raise HsiError(f"{path}: its map is not that of the scores of {count} classes")
        return found, scores

    def classify(cube):
        with bounded(ROOM + 1000 * cube.nbytes):
            return run(cube)

    middle = (metadata.get("low", 0) + metadata.get("high", 0)) / 2
    few = np.full((1, 2, metadata["bands"]), middle, np.float32)
    with bounded(ROOM):
        _in_time(path, lambda: run(few))
    return classify, metadata


def _in_time(path, work):
    """Return what work gives, or say that it takes too long; the thread is then left to itself."""
    found = []

    def told():
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    thread = Thread(target=told, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if not found:
        raise HsiError(f"{path}: it does not come to an end with two pixels in {PATIENCE} s")
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _engine():
    return needs("onnxruntime", "an ONNX file")


def session(model: Path | str | bytes, profile: str | None = None) -> "InferenceSession":
    """Open a file, or its bytes, in onnxruntime on one thread.

    profile: where the engine writes what each node takes.
    """
    onnxruntime = _engine()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # products with whole weights and 32-bit values stay in 32 bits; by default the values are rounded too
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    name, data = ("the model", model) if isinstance(model, bytes) else (model, outside(model, MOST))
    if data is not model:  # else it was made here
        vet(data, str(model))
        options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if starved(error):
            raise HsiError(f"{name}: to open it needs more memory than there is") from None
        raise HsiError(f"{name}: not an ONNX file that can be run, or cut off ({reason(error)})") from None
