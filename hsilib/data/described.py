"""Descriptions as they are read from files: these fields, these types, these ranges, and nothing else.

That of an own scene, of a set of images, of what the book shows of a scene, of a part of a study, and what an
exported network says of itself.  Such a file may come from somebody else, and it names other files.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

from hsilib.errors import HsiError, known, shown

Field = tuple[Callable[[Any], bool], str]  # a test of a value, and what that must be

# tags, code, control characters, half characters, and those that turn the direction of what is read
UNFIT = re.compile("[<>`\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def text(value: Any, most: int = 5000) -> bool:
    """Say whether it is a text that a page can show as it is."""
    return isinstance(value, str) and len(value) <= most and not UNFIT.search(value)


def label(value: Any, most: int = 200) -> bool:
    """Say whether it is a text of one line, such as the name of a class."""
    return text(value, most) and not re.search(r"[\n\t]", value)


# what is markup, a template, a link or a formula somewhere, and what stands for it in a plain text
MARKUP = str.maketrans("{}[]<>`\\*|", "()()‹›'/∗¦", "$")


def plain(words: Any, most: int = 200) -> str:
    """Return a text from outside as one line of words that nothing which shows it takes for more.

    All names from outside pass it: of scenes, classes, folders, methods, and the cells of rows.  What runs or
    loads something in Markdown, HTML, a template, a figure or a spreadsheet is written otherwise.

    >>> plain("a{{b}} ![c](http://d)")
    'a((b)) !(c)(http://d)'
    """
    line = " ".join(str(words).split())[: 2 * most].translate(MARKUP)
    line = "".join(sign for sign in line if unicodedata.category(sign)[0] != "C").strip() or "?" * bool(line)
    line = f"'{line}" if re.match(r"[-=+@#%:~!&]", line) else line
    return line if len(line) <= most else f"{line[: most - 1]}…"


def plainly(part: Any) -> Any:
    """Return what was read from a file with all texts in it made plain."""
    if isinstance(part, dict):
        return {plain(name): plainly(value) for name, value in part.items()}
    if isinstance(part, (list, tuple)):
        return type(part)(map(plainly, part))
    return plain(part) if isinstance(part, str) else part


def named(table: dict[str, Any]) -> dict[str, Any]:
    """Return the same of its title and classes alone."""
    return table | {name: plainly(table[name]) for name in ("title", "classes") if name in table}


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
        isinstance(value, list) and 1 <= len(value) <= 255 and len(set(map(plain, value))) == len(value)
        and all(label(name) and plain(name) for name in value)
    )


def _number(value):
    """A number, or none: in many GeoTIFFs NaN stands for no data."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not abs(value) > 1e300


def _between(low, high, whole=False):
    """A number in a range."""
    return lambda value: _numbers([value], 1, low, high, whole)


def _texts(value, most=1000):
    """One text or more."""
    return isinstance(value, list) and 1 <= len(value) <= most and all(text(v, 300) and v for v in value)


def _inside(value):
    """Names of files in a folder, each once, none of which leads out of it."""
    return (
        isinstance(value, list) and 0 < len(value) <= 10_000_000
        and all(isinstance(v, str) and 0 < len(v) < 4000 and "\0" not in v for v in value)
        and len(set(value)) == len(value)
        and not any(v.startswith(("/", "\\")) or ".." in v.split("/") for v in value)
    )


def _switch(value):
    """True or false."""
    return isinstance(value, bool)


def held(table: Any, fields: dict[str, Field], needed: Iterable[str], what: str) -> dict[str, Any]:
    """Return a table that has these fields; an HsiError says which is not as it must be."""
    if not isinstance(table, dict):
        raise HsiError(f"no {what}")
    for name, value in table.items():
        fits, must = fields[known("field", name, fields)]
        if not fits(value):
            raise HsiError(f"{name} must be {must}, not {shown(value)}")
    missing = [name for name in needed if name not in table]
    if missing:
        raise HsiError(f"{missing[0]} is missing")
    return table


def of_json(data: str | bytes) -> Any:
    """Return what a JSON text holds; an HsiError says that it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise HsiError("no JSON") from None


def notes(data: str) -> dict[str, Any]:
    """Return what a method told of a run: a table of anything."""
    table = of_json(data)
    if not isinstance(table, dict):
        raise HsiError("no notes of a run")
    return plainly(table)


TITLE = lambda v: label(v, 300) and bool(plain(v)), "a title"
CLASSES = _classes, "names of classes, each once, without < > and `"
FILE = _file, "a path, a key and sha256:…"
WAVES = (lambda v: _numbers(v, None, 0, 1e6)), "numbers, in nm"

SCENE: dict[str, Field] = {
    "title": TITLE, "classes": CLASSES, "cube": FILE, "labels": FILE, "train": FILE, "test": FILE,
    "shape": (lambda v: _numbers(v, 3, 1, 1_000_000, whole=True), "rows, columns and bands"),
    "wavelengths": WAVES,
    "bad": (lambda v: _numbers(v, None, 0, 1_000_000, whole=True), "numbers of bands"),
    "rgb": (lambda v: _numbers(v, 3, 0, 1_000_000, whole=True), "three numbers of bands"),
    "nodata": (_number, "a number"), "crs": (text, "a text"),
    "transform": (lambda v: _numbers(v, 6, -1e12, 1e12), "six numbers"),
}


def scene(data: str) -> dict[str, Any]:
    """Return the description of an own scene."""
    table = held(of_json(data), SCENE, ("title", "shape", "classes", "cube", "labels"), "description")
    h, w, bands = table["shape"]
    if max(table.get("rgb", [0])) >= bands:
        raise HsiError(f"rgb must be three of the {bands} bands")
    return table


IMAGES: dict[str, Field] = {
    "title": TITLE, "classes": CLASSES,
    "path": (lambda v: isinstance(v, str) and 0 < len(v) < 4000 and "\0" not in v, "a folder or file"),
    "files": (_inside, "names of files in the set, each once"),
    "labels": (lambda v: _numbers(v, None, 1, 255, whole=True), "numbers of classes"),
    "digest": (lambda v: isinstance(v, str) and bool(re.fullmatch("[0-9a-f]{12}", v)), "twelve digits"),
}


def images(data: str) -> dict[str, Any]:
    """Return the description of a set of images."""
    table = held(of_json(data), IMAGES, IMAGES, "description")
    if len(table["labels"]) != len(table["files"]) or max(table["labels"]) > len(table["classes"]):
        raise HsiError("labels must be the number of its class for each file")
    return named(table)


CARD: dict[str, Field] = {
    "title": TITLE, "classes": CLASSES, "train_fraction": (_between(0.001, 0.999), "a share"),
    "synthetic": (_switch, "true or false"), "of_spectra": (_switch, "true or false"),
    "bands": (_between(1, 1_000_000, whole=True), "a number of bands"),
    "of_images": (_switch, "true or false"), "wavelengths": WAVES, "identity": (text, "a text"),
    "second": (_between(0, 1_000_000, whole=True), "the number of a column"),
}


def card(data: str) -> dict[str, Any]:
    """Return the description of what the book shows of a scene."""
    return named(held(of_json(data), CARD, ("title", "classes", "bands", "identity"), "card of a scene"))


MODEL: dict[str, Field] = {
    "classes": CLASSES, "bands": (_between(1, 1_000_000, whole=True), "a number of bands"),
    "model": (lambda v: text(v, 500), "a text"), "scene": (lambda v: text(v, 300), "a text"),
    "run": (lambda v: text(v, 100), "a text"), "digest": (lambda v: text(v, 300), "a text"),
    "low": (_between(-1e30, 1e30), "a number"), "high": (_between(-1e30, 1e30), "a number"),
    "wavelengths": WAVES,
}


def model(texts: dict[str, str]) -> dict[str, Any]:
    """Return what an exported network says of itself."""
    table = held({k: of_json(v) for k, v in texts.items()}, MODEL, ("classes", "bands", "model"), "model")
    if ("low" in table) != ("high" in table) or table.get("low", 0) > table.get("high", 0):
        raise HsiError("low and high must be the ends of a range")
    if len(table.get("wavelengths", [])) not in (0, table["bands"]):
        raise HsiError("wavelengths must be one for each band")
    return named(table)


PART: dict[str, Field] = {
    "title": TITLE, "scenes": (_texts, "a list of names"), "splits": (_texts, "a list of names"),
    "methods": (_texts, "a list of names or families"),
    "ratios": (lambda v: _numbers(v, None, 0, 99, whole=True) and len(v) > 0, "a list of sizes"),
    "seeds": (_between(1, 10_000, whole=True), "a whole number of at least 1 and at most 10000"),
    "epochs": (_between(1, 100_000, whole=True), "a whole number of at least 1 and at most 100000"),
    "batch": (_between(1, 1_000_000, whole=True), "a whole number of at least 1"),
    "lr": (_between(0, 1000), "a number of at least 0"), "schedule": (text, "a text"),
    "options": (lambda v: isinstance(v, dict), "a table of hyper-parameters"),
}


def part(table: Any) -> dict[str, Any]:
    """Return a part of a study: a grid of runs."""
    return held(table, PART, ("title", "scenes", "splits", "methods", "seeds"), "part of a study")
