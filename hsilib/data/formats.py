"""Reading arrays from files, with every failure said in one line.  No pickle is ever loaded."""

import numpy as np

from hsilib.errors import HsiError


def read_array(path, key):
    """One array of a .mat or .npy file."""
    import scipy.io

    if path.suffix not in (".npy", ".mat") or not path.is_file():
        raise HsiError(
            f"{path}: "
            + ("no such file" if path.suffix in (".npy", ".mat") else "expected a .npy or .mat file")
        )
    try:
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
    found = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
    raise HsiError(f"{path}: no usable array {key!r} in it; it holds {found}")


def check_cube(cube, where):
    """Cleaning: numbers only, and finite ones; float32."""
    if cube.dtype.kind not in "iuf":
        raise HsiError(f"{where}: values of type {cube.dtype}, expected real numbers")
    cube = np.ascontiguousarray(cube, dtype=np.float32)
    bad = ~np.isfinite(cube)
    if bad.any():
        raise HsiError(f"{where}: {bad.sum()} values are NaN or infinite; mask or repair them first")
    return cube


def label_map(path, key, shape):
    """A map of class numbers, 0 for none, of the shape of its scene."""
    labels = read_array(path, key)
    if labels.shape != shape:
        raise HsiError(f"{path}: label map has shape {labels.shape}, the scene is {shape}")
    if (
        labels.dtype.kind not in "iufb"
        or labels.min() < 0
        or labels.max() > 255
        or (labels != np.round(labels)).any()
    ):
        raise HsiError(f"{path}: labels must be whole numbers 0 (none) to 255")
    return labels.astype(np.uint8)
