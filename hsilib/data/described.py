"""Texts from outside, made plain, and descriptions as they are read from files of somebody else.

A description is of a part of a study, or of an exported network.  It has these fields, these types, these
ranges, and nothing else.
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
    """Return a table with a plain title, and plain names of classes, each of which must be there once."""
    classes = list(map(plain, table["classes"]))
    if len(set(classes)) < len(classes) or not all(classes):
        raise HsiError("classes must be names, each once")
    return table | {"classes": classes} | ({"title": plain(table["title"])} if "title" in table else {})


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


def _list(fits, least=1, most=1_000_000):
    return lambda v: isinstance(v, list) and least <= len(v) <= most and all(map(fits, v))


# of each field a test of its value, and what that must be
TEXT, NAMES = (_text(), "a text"), (_list(_text(300, least=1)), "a list of names")
VALUE = (_number(-1e30, 1e30), "a number")
FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "title": (_text(300, least=1, lines=False), "a title"),
    "classes": (_list(_text(200, lines=False), most=255), "names of classes, without < > and `"),
    "bands": (_whole(1), "a number of bands"), "wavelengths": (_list(_number(0, 1e6), 0), "numbers, in nm"),
    "model": TEXT, "scene": TEXT, "run": TEXT, "digest": TEXT, "low": VALUE, "high": VALUE,
    "scenes": NAMES, "splits": NAMES, "methods": NAMES, "schedule": TEXT,
    "ratios": (_list(_whole(0, 99)), "a list of sizes"),
    "seeds": (_whole(1, 10_000), "a whole number of at least 1 and at most 10000"),
    "epochs": (_whole(1, 100_000), "a whole number of at least 1 and at most 100000"),
    "batch": (_whole(1), "a whole number of at least 1"), "lr": (_number(0, 1000), "a number of at least 0"),
    "options": (lambda v: isinstance(v, dict), "a table of hyper-parameters"),
}
# of each kind of description the fields that it has, and those that it may have
KINDS = {
    "model": ("classes bands model", "scene run digest low high wavelengths"),
    "part": ("title scenes splits methods seeds", "ratios epochs batch lr schedule options"),
}


def held(kind: str, table: Any) -> dict[str, Any]:
    """Return a table with the fields of its kind; an HsiError says which is not as it must be."""
    needed, others = (names.split() for names in KINDS[kind])
    if not isinstance(table, dict):
        raise HsiError("no description")
    for name, value in table.items():
        fits, must = FIELDS[known("field", name, needed + others)]
        if not fits(value):
            raise HsiError(f"{name} must be {must}, not {shown(value)}")
    missing = [name for name in needed if name not in table]
    if missing:
        raise HsiError(f"{missing[0]} is missing")
    return table


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
