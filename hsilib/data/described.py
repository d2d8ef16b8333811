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


# --------------------------------------------------------------------------------------- tests of values


def _text(most=5000, lines=True, least=0):
    """A text that a page can show as it is."""
    return lambda v: (
        isinstance(v, str) and least <= len(v) <= most
        and not UNFIT.search(v) and (lines or not re.search(r"[\n\t]", v))
    )


label = _text(200, lines=False)  # a text of one line, such as the name of a class


def _number(low=-math.inf, high=math.inf, kinds=(int, float)):
    return lambda v: isinstance(v, kinds) and not isinstance(v, bool) and low <= v <= high


def _whole(low, high):
    return _number(low, high, int)


def _list(fits, count=None, least=0):
    return lambda v: isinstance(v, list) and len(v) >= least and count in (None, len(v)) and all(map(fits, v))


def _path(value):
    return isinstance(value, str) and 0 < len(value) < 4000 and "\0" not in value


def _inside(value):
    """A path in a folder that does not lead out of it."""
    return _path(value) and not value.startswith(("/", "\\")) and ".." not in value.split("/")


def _file(value):
    """A file of this machine: its path, the name of an array or attribute in it, and its checksum."""
    fits = _list(lambda part: isinstance(part, str), 3)(value)
    return fits and _path(value[0]) and bool(re.fullmatch(r"sha256:[0-9a-f]{64}", value[2]))


def _classes(value):
    fits = _list(lambda name: label(name) and plain(name), least=1)(value)
    return fits and len(value) <= 255 and len(set(map(plain, value))) == len(value)


BANDS = 1_000_000
TITLE: Field = lambda v: _text(300, lines=False)(v) and bool(plain(v)), "a title"
CLASSES: Field = _classes, "names of classes, each once, without < > and `"
FILE: Field = _file, "a path, a key and sha256:…"
WAVES: Field = _list(_number(0, 1e6)), "numbers, in nm"
TEXT: Field = _text(), "a text"
COUNT: Field = _whole(1, BANDS), "a number of bands"
NAMES: Field = _list(_text(300, least=1), least=1), "a list of names"
SWITCH: Field = lambda v: isinstance(v, bool), "true or false"
VALUE: Field = _number(-1e30, 1e30), "a number"


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


SCENE: dict[str, Field] = {
    "title": TITLE, "classes": CLASSES, "cube": FILE, "labels": FILE, "train": FILE, "test": FILE,
    "shape": (_list(_whole(1, BANDS), 3), "rows, columns and bands"), "wavelengths": WAVES, "crs": TEXT,
    "bad": (_list(_whole(0, BANDS)), "numbers of bands"),
    "rgb": (_list(_whole(0, BANDS), 3), "three numbers of bands"),
    # in many GeoTIFFs NaN stands for no data
    "nodata": (lambda v: _number(-1e300, 1e300)(v) or isinstance(v, float) and math.isnan(v), "a number"),
    "transform": (_list(_number(-1e12, 1e12), 6), "six numbers"),
}


def scene(data: str) -> dict[str, Any]:
    """Return the description of an own scene."""
    table = held(of_json(data), SCENE, ("title", "shape", "classes", "cube", "labels"), "description")
    if max(table.get("rgb", [0])) >= table["shape"][2]:
        raise HsiError(f"rgb must be three of the {table['shape'][2]} bands")
    return table


IMAGES: dict[str, Field] = {
    "title": TITLE, "classes": CLASSES, "path": (_path, "a folder or file"),
    "files": (_list(_inside, least=1), "names of files in the set"),
    "labels": (_list(_whole(1, 255)), "numbers of classes"),
    "digest": (lambda v: isinstance(v, str) and bool(re.fullmatch("[0-9a-f]{12}", v)), "twelve digits"),
}


def images(data: str) -> dict[str, Any]:
    """Return the description of a set of images."""
    table = held(of_json(data), IMAGES, IMAGES, "description")
    if len(table["labels"]) != len(table["files"]) or max(table["labels"]) > len(table["classes"]):
        raise HsiError("labels must be the number of its class for each file")
    return named(table)


CARD: dict[str, Field] = {
    "title": TITLE, "classes": CLASSES, "bands": COUNT, "wavelengths": WAVES, "identity": TEXT,
    "synthetic": SWITCH, "of_spectra": SWITCH, "of_images": SWITCH,
    "train_fraction": (_number(0.001, 0.999), "a share"),
    "second": (_whole(0, BANDS), "the number of a column"),
}


def card(data: str) -> dict[str, Any]:
    """Return the description of what the book shows of a scene."""
    return named(held(of_json(data), CARD, ("title", "classes", "bands", "identity"), "card of a scene"))


MODEL: dict[str, Field] = {
    "classes": CLASSES, "bands": COUNT, "model": TEXT, "scene": TEXT, "run": TEXT, "digest": TEXT,
    "low": VALUE, "high": VALUE, "wavelengths": WAVES,
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
    "title": TITLE, "scenes": NAMES, "splits": NAMES, "methods": NAMES, "schedule": TEXT,
    "ratios": (_list(_whole(0, 99), least=1), "a list of sizes"),
    "seeds": (_whole(1, 10_000), "a whole number of at least 1 and at most 10000"),
    "epochs": (_whole(1, 100_000), "a whole number of at least 1 and at most 100000"),
    "batch": (_whole(1, 1_000_000), "a whole number of at least 1"),
    "lr": (_number(0, 1000), "a number of at least 0"),
    "options": (lambda v: isinstance(v, dict), "a table of hyper-parameters"),
}


def part(table: Any) -> dict[str, Any]:
    """Return a part of a study: a grid of runs."""
    return held(table, PART, ("title", "scenes", "splits", "methods", "seeds"), "part of a study")
