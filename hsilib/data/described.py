"""The description of an own scene, as it is read from its file: these fields, these types, these ranges.

Whatever else stands in such a file is refused: it may come from somebody else, and names files.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any

from hsilib.errors import HsiError, known

UNFIT = re.compile(r"[<>`\x00-\x08\x0b-\x1f\x7f]")  # tags, code, control characters


def text(value: Any, most: int = 5000) -> bool:
    """Say whether it is a text that a page can show as it is."""
    return isinstance(value, str) and len(value) <= most and not UNFIT.search(value)


def _numbers(value, count, low=-math.inf, high=math.inf, whole=False):
    kinds = int if whole else (int, float)
    return (
        isinstance(value, list) and (count is None or len(value) == count)
        and all(isinstance(v, kinds) and not isinstance(v, bool) and low <= v <= high for v in value)
    )


def _file(value):
    """A file of this machine: its path, the name of an array or attribute in it, and its checksum."""
    return (
        isinstance(value, list) and len(value) == 3 and all(isinstance(part, str) for part in value)
        and 0 < len(value[0]) < 4000 and "\0" not in value[0] and "://" not in value[0]
        and bool(re.fullmatch(r"sha256:[0-9a-f]{64}", value[2]))
    )


def _classes(value):
    return (
        isinstance(value, list) and 1 <= len(value) <= 255 and len(set(map(str, value))) == len(value)
        and all(text(name, 200) and name.strip() for name in value)
    )


def _number(value):
    """A number, or none: in many GeoTIFFs NaN stands for no data."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not abs(value) > 1e300


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "title": (lambda v: text(v, 300) and bool(v.strip()), "a title"),
    "shape": (lambda v: _numbers(v, 3, 1, 1_000_000, whole=True), "rows, columns and bands"),
    "classes": (_classes, "names of classes, each once, without < > and `"),
    "cube": (_file, "a path, a key and sha256:…"), "labels": (_file, "a path, a key and sha256:…"),
    "train": (_file, "a path, a key and sha256:…"), "test": (_file, "a path, a key and sha256:…"),
    "wavelengths": (lambda v: _numbers(v, None, 0, 1e6), "numbers, in nm"),
    "bad": (lambda v: _numbers(v, None, 0, 1_000_000, whole=True), "numbers of bands"),
    "rgb": (lambda v: _numbers(v, 3, 0, 1_000_000, whole=True), "three numbers of bands"),
    "nodata": (_number, "a number"), "crs": (text, "a text"),
    "transform": (lambda v: _numbers(v, 6, -1e12, 1e12), "six numbers"),
}
NEEDED = "title", "shape", "classes", "cube", "labels"


def scene(data: str) -> dict[str, Any]:
    """Return the fields of a description; an HsiError says which is not as it must be."""
    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        raise HsiError("no JSON") from None
    if not isinstance(table, dict):
        raise HsiError("no description of a scene")
    for name, value in table.items():
        fits, must = FIELDS[known("field", name, FIELDS)]
        if not fits(value):
            raise HsiError(f"{name} must be {must}")
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise HsiError(f"{missing[0]} is missing")
    h, w, bands = table["shape"]
    if max(table.get("rgb", [0])) >= bands:
        raise HsiError(f"rgb must be three of the {bands} bands")
    return table
