"""Texts from outside, made plain, and descriptions as they are read from files of somebody else.

A description is of a part of a study, or of an exported network.  It has these fields, these types, these
ranges, and nothing else.
"""

import json
import re
import unicodedata
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
    if isinstance(part, list):
        return list(map(plainly, part))
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

WHAT = {str: "text", int: "whole number", float: "number", dict: "table"}
TEXT, NAMES, NUMBER = (str, 0, 5000), ([str, 1, 300], 1, 1_000_000), (float, -1e30, 1e30)
# of each field its type, and the least and the most: of a number itself, of anything else its length
FIELDS: dict[str, tuple[Any, float, float]] = {
    "title": (str, 1, 300), "classes": ([str, 0, 200], 1, 255), "bands": (int, 1, 1_000_000),
    "wavelengths": ([float, 0, 1e6], 0, 1_000_000), "low": NUMBER, "high": NUMBER,
    "model": TEXT, "scene": TEXT, "run": TEXT, "digest": TEXT, "schedule": TEXT,
    "scenes": NAMES, "splits": NAMES, "methods": NAMES, "ratios": ([int, 0, 99], 1, 1_000_000),
    "seeds": (int, 1, 10_000), "epochs": (int, 1, 100_000), "batch": (int, 1, 1_000_000),
    "lr": (float, 0, 1000), "options": (dict, 0, 1000),
}
# of each kind of description the fields that it has, and those that it may have
KINDS = {
    "model": ("classes bands model", "scene run digest low high wavelengths"),
    "part": ("title scenes splits methods seeds", "ratios epochs batch lr schedule options"),
}


def _fits(value, kind, least, most):
    """Say whether a value, or each of a list, is of a type and in a range, and can stand in a page."""
    if isinstance(kind, list):
        right = isinstance(value, list) and all(_fits(one, *kind) for one in value)
    else:
        right = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        right = right and not (kind is str and UNFIT.search(value))
    return right and least <= (value if kind in (int, float) else len(value)) <= most


def held(kind: str, table: Any) -> dict[str, Any]:
    """Return a table with the fields of its kind; an HsiError says which is not as it must be."""
    needed, others = (names.split() for names in KINDS[kind])
    if not isinstance(table, dict):
        raise HsiError("no description")
    for name, value in table.items():
        kind, least, most = FIELDS[known("field", name, needed + others)]
        if not _fits(value, kind, least, most):
            what = f"a list, each a {WHAT[kind[0]]}," if isinstance(kind, list) else f"a {WHAT[kind]}"
            size = "" if kind in (int, float) else "length "
            raise HsiError(f"{name} must be {what} of {size}{least:g} to {most:g}, not {shown(value)}")
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
