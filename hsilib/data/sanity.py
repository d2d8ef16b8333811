"""What is wrong with a scene of your own, before anything trains on it.  Each finding is one line."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from hsilib.data import described
from hsilib.errors import HsiError

SAMPLE = 20_000  # pixels of a scene that are looked at


def look(values: np.ndarray, nodata: float | None, where: str) -> list[str]:
    """Refuse a scene whose spectra (N, B) cannot be right, and return warnings of what may be wrong."""
    if values.size and (values == values.flat[0]).all():
        raise HsiError(f"{where}: all values are {values.flat[0]:g}; there is nothing to learn from")
    same = values[(values == values[:, :1]).all(1), 0] if values.shape[1] > 1 else values[:0, 0]
    value, count = Counter(same.tolist()).most_common(1)[0] if len(same) else (0, 0)
    if nodata is None and count > 0.01 * len(values):
        share = f"{100 * count / len(values):.0f} % of the pixels hold {value:g} in every band"
        if not np.isfinite(value) or value <= -99 or value >= 32767:
            raise HsiError(f"{where}: {share}; if that stands for no data, say so with --nodata {value:g}")
        return [f"{share}; if that stands for no data, say so with --nodata {value:g}"]
    return [says for says in [_misread(values)] if says]


def _misread(values):
    """Return a warning where 16-bit integers are far smoother along the bands if they are read otherwise."""
    if values.shape[1] < 8 or not np.isfinite(values).all() or (values != np.round(values)).any():
        return ""
    low, high = values.min(), values.max()
    if low < -32768 or high > 65535:
        return ""
    bits = values.astype(np.int64).astype(np.uint16)
    says = "the spectra would be far smoother if the file were read {}; is its type right?"
    swapped = min(_roughness(bits.byteswap().view(kind)) for kind in (np.uint16, np.int16))
    if swapped < 0.3 * _roughness(values):
        return says.format("with its bytes in the other order")
    if high > 32767 and _step(bits.view(np.int16)) < 0.3 * _step(values):
        return says.format("as signed numbers")
    return ""


def _step(values):
    """Mean step from band to band."""
    return np.abs(np.diff(values.astype(float), axis=1)).mean()


def _roughness(values):
    """The same by how far values lie apart at all."""
    return _step(values) / max(values.std(), 1e-9)


def class_names(classes: Sequence[str], labels: np.ndarray, where: str) -> list[str]:
    """Refuse empty and repeated class names, and return warnings of classes that no split can divide."""
    wrong = [name for name in classes if not described.label(name)]
    if wrong:
        says = "a class name must be short, without < > ` and control signs"
        raise HsiError(f"{where}: {says}: {wrong[0]!r:.60}")
    empty = [i for i, name in enumerate(classes, 1) if not name.strip()]
    if empty:
        raise HsiError(f"{where}: class {empty[0]} has no name")
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice:
        raise HsiError(f"{where}: two classes are called {twice[0]!r}")
    counts = np.bincount(labels.ravel(), minlength=len(classes) + 1)[1:]
    few = [f"{name} ({count})" for name, count in zip(classes, counts) if 0 < count < 2]
    none = [name for name, count in zip(classes, counts) if count == 0]
    says = [f"no split can divide a class of one pixel: {', '.join(few)}"] if few else []
    return says + ([f"no pixel of: {', '.join(none)}"] if none else [])
