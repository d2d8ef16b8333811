"""A map from an exported file; needs onnxruntime and numpy only."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsilib.data.formats import check_cube
from hsilib.errors import HsiError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def predict(path: Path | str, cube: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the map (H, W) of a cube (H, W, bands) by an exported file, and what the file says of itself.

    Classes are numbered from 1.

    >>> labels, metadata = predict("model.onnx", load_scene("synthetic_fields_small").cube)
    >>> first_pixel = metadata["classes"][labels[0, 0] - 1]
    """
    opened = session(path)
    try:
        texts = opened.get_modelmeta().custom_metadata_map
        metadata = {key: json.loads(text) for key, text in texts.items()}
        _, _, bands = metadata["classes"], metadata["model"], metadata["bands"]
    except (ValueError, KeyError):
        raise HsiError(f"{path}: not written by `python -m hsilib export`") from None
    if cube.ndim != 3 or cube.shape[2] != bands or not cube.size:
        shape = " x ".join(map(str, cube.shape))
        raise HsiError(f"{path} takes (rows, columns, {bands}), the scene is {shape}")
    return opened.run(["map"], {"cube": check_cube(cube, "the scene")})[0], metadata


def session(model: Path | str | bytes, profile: str | None = None) -> "InferenceSession":
    """Open a file, or its bytes, in onnxruntime on one thread.

    profile: where the engine writes what each node takes.
    """
    try:
        import onnxruntime
    except ImportError:
        raise HsiError("onnxruntime is not installed: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    name = "the model" if isinstance(model, bytes) else model
    try:
        data = model if isinstance(model, bytes) else Path(model).read_bytes()
    except OSError as error:
        raise HsiError(f"{model}: {error.strerror}") from None
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).splitlines()[0][:100]
        raise HsiError(f"{name}: not an ONNX file that can be run, or cut off ({reason})") from None
