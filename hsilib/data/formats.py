"""How arrays are read from files.  Each failure becomes one line, and no pickle is ever loaded."""

from pathlib import Path

import numpy as np

from hsilib.errors import HsiError


def read_array(path: Path, key: str) -> np.ndarray:
    """Read one array of a .mat, .npy or .png file; an empty ``key`` takes the only array of a .mat file."""
    import scipy.io
    from PIL import Image

    if path.suffix not in (".npy", ".mat", ".png"):
        raise HsiError(f"{path}: expected a .npy or .mat file")
    if not path.is_file():
        raise HsiError(f"{path}: no such file")
    try:
        if path.suffix == ".png":
            return np.array(Image.open(path))
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        shapes = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
        if not key and len(shapes) == 1:
            key = next(iter(shapes))
        if key in shapes and np.prod(shapes[key], dtype=float) < 4e9:  # before anything is unpacked
            return scipy.io.loadmat(path, variable_names=[key])[key]
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HsiError(f"{path}: cannot be read, perhaps truncated ({reason})") from None
    content = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
    raise HsiError(f"{path}: no usable array {key!r} in it; it holds {content}")


def check_cube(cube: np.ndarray, where: Path) -> np.ndarray:
    """Return the cube as float32, and refuse one that holds anything but finite numbers."""
    if cube.dtype.kind not in "iuf":
        raise HsiError(f"{where}: values of type {cube.dtype}, expected real numbers")
    cube = np.ascontiguousarray(cube, dtype=np.float32)
    bad = ~np.isfinite(cube)
    if bad.any():
        raise HsiError(f"{where}: {bad.sum()} values are NaN or infinite; mask or repair them first")
    return cube


def label_map(path: Path, key: str, shape: tuple[int, int]) -> np.ndarray:
    """Read a map of class numbers, with 0 for none, and check that it has the shape of its scene."""
    labels = read_array(path, key)
    if labels.shape != shape:
        raise HsiError(f"{path}: label map has shape {labels.shape}, the scene is {shape}")
    numbers = labels.dtype.kind in "iufb"
    if not numbers or labels.min() < 0 or labels.max() > 255 or (labels != np.round(labels)).any():
        raise HsiError(f"{path}: labels must be whole numbers 0 (none) to 255")
    return labels.astype(np.uint8)
