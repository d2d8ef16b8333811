"""Descriptions as they are read from files: these fields, these types, these ranges, and nothing else.

That of an own scene, of a set of images, of what the book shows of a scene, of a part of a study, and what an
exported network says of itself.  Such a file may come from somebody else, and it names other files.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from hsilib.errors import HsiError, known, shown

# tags, code, control characters, half characters, and those that turn the direction of what is read
UNFIT = re.compile("[<>`\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
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


# ------------------------------------------------------------------------------------------------ fields


def _text(most=5000, lines=True, least=0):
    """A text that a page can show as it is."""
    return lambda v: (
        isinstance(v, str) and least <= len(v) <= most
        and not UNFIT.search(v) and (lines or not re.search(r"[\n\t]", v))
    )


def _number(low=-math.inf, high=math.inf, kinds=(int, float)):
    return lambda v: isinstance(v, kinds) and not isinstance(v, bool) and low <= v <= high


def _whole(low=0, high=1_000_000):
    return _number(low, high, int)


def _list(fits, count=None, least=0):
    return lambda v: isinstance(v, list) and len(v) >= least and count in (None, len(v)) and all(map(fits, v))


def _path(value):
    return isinstance(value, str) and 0 < len(value) < 4000 and "\0" not in value


def _inside(value):
    """A path in a folder that does not lead out of it."""
    return _path(value) and not value.startswith(("/", "\\")) and ".." not in value.split("/")


def _file(value):
    fits = _list(lambda part: isinstance(part, str), 3)(value)
    return fits and _path(value[0]) and bool(re.fullmatch(r"sha256:[0-9a-f]{64}", value[2]))


def _classes(value):
    fits = _list(lambda name: _text(200, lines=False)(name) and plain(name), least=1)(value)
    return fits and len(value) <= 255 and len(set(map(plain, value))) == len(value)


def _nodata(value):  # in many GeoTIFFs NaN stands for no data
    return _number(-1e300, 1e300)(value) or isinstance(value, float) and math.isnan(value)


# of each field a test of its value, and what that must be; KIND.NAME where a name has two meanings
TEXT, NAMES = (_text(), "a text"), (_list(_text(300, least=1), least=1), "a list of names")
FILE, SWITCH = (_file, "a path, a key and sha256:…"), (lambda v: isinstance(v, bool), "true or false")
FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "title": (lambda v: _text(300, lines=False)(v) and bool(plain(v)), "a title"),
    "classes": (_classes, "names of classes, each once, without < > and `"),
    "cube": FILE, "labels": FILE, "train": FILE, "test": FILE,
    "shape": (_list(_whole(1), 3), "rows, columns and bands"), "bands": (_whole(1), "a number of bands"),
    "wavelengths": (_list(_number(0, 1e6)), "numbers, in nm"),
    "bad": (_list(_whole()), "numbers of bands"), "rgb": (_list(_whole(), 3), "three numbers of bands"),
    "nodata": (_nodata, "a number"), "crs": TEXT,
    "transform": (_list(_number(-1e12, 1e12), 6), "six numbers"),
    "path": (_path, "a folder or file"), "files": (_list(_inside, least=1), "names of files in the set"),
    "images.labels": (_list(_whole(1, 255)), "numbers of classes"),
    "images.digest": (lambda v: bool(re.fullmatch("[0-9a-f]{12}", str(v))), "twelve digits"),
    "synthetic": SWITCH, "of_spectra": SWITCH, "of_images": SWITCH, "identity": TEXT,
    "train_fraction": (_number(0.001, 0.999), "a share"), "second": (_whole(), "the number of a column"),
    "model": TEXT, "scene": TEXT, "run": TEXT, "digest": TEXT,
    "low": (_number(-1e30, 1e30), "a number"), "high": (_number(-1e30, 1e30), "a number"),
    "scenes": NAMES, "splits": NAMES, "methods": NAMES, "schedule": TEXT,
    "ratios": (_list(_whole(0, 99), least=1), "a list of sizes"),
    "seeds": (_whole(1, 10_000), "a whole number of at least 1 and at most 10000"),
    "epochs": (_whole(1, 100_000), "a whole number of at least 1 and at most 100000"),
    "batch": (_whole(1), "a whole number of at least 1"), "lr": (_number(0, 1000), "a number of at least 0"),
    "options": (lambda v: isinstance(v, dict), "a table of hyper-parameters"),
}
# of each kind of description the fields that it has, and those that it may have
KINDS = {
    "scene": ("title shape classes cube labels", "train test wavelengths bad rgb nodata crs transform"),
    "images": ("title classes path files labels digest", ""),
    "card": (
        "title classes bands identity", "train_fraction second wavelengths synthetic of_spectra of_images"
    ),
    "model": ("classes bands model", "scene run digest low high wavelengths"),
    "part": ("title scenes splits methods seeds", "ratios epochs batch lr schedule options"),
}


def held(kind: str, table: Any) -> dict[str, Any]:
    """Return a table with the fields of its kind; an HsiError says which is not as it must be."""
    needed, others = (names.split() for names in KINDS[kind])
    if not isinstance(table, dict):
        raise HsiError("no description")
    for name, value in table.items():
        known("field", name, needed + others)
        fits, must = FIELDS.get(f"{kind}.{name}") or FIELDS[name]
        if not fits(value):
            raise HsiError(f"{name} must be {must}, not {shown(value)}")
    missing = [name for name in needed if name not in table]
    if missing:
        raise HsiError(f"{missing[0]} is missing")
    return table


def scene(data: str) -> dict[str, Any]:
    """Return the description of an own scene."""
    table = held("scene", of_json(data))
    if max(table.get("rgb", [0])) >= table["shape"][2]:
        raise HsiError(f"rgb must be three of the {table['shape'][2]} bands")
    return table


def images(data: str) -> dict[str, Any]:
    """Return the description of a set of images."""
    table = held("images", of_json(data))
    if len(table["labels"]) != len(table["files"]) or max(table["labels"]) > len(table["classes"]):
        raise HsiError("labels must be the number of its class for each file")
    return named(table)


def card(data: str) -> dict[str, Any]:
    """Return the description of what the book shows of a scene."""
    return named(held("card", of_json(data)))


def model(texts: dict[str, str]) -> dict[str, Any]:
    """Return what an exported network says of itself."""
    table = held("model", {name: of_json(text) for name, text in texts.items()})
    if ("low" in table) != ("high" in table) or table.get("low", 0) > table.get("high", 0):
        raise HsiError("low and high must be the ends of a range")
    if len(table.get("wavelengths", [])) not in (0, table["bands"]):
        raise HsiError("wavelengths must be one for each band")
    return named(table)


def part(table: Any) -> dict[str, Any]:
    """Return a part of a study: a grid of runs."""
    return held("part", table)
