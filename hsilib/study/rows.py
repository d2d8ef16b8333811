"""Rows of runs, as the store keeps them: which columns there are, and what their values can be."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from hsilib.data.described import of_json, plain
from hsilib.errors import HsiError

COLUMNS = (
    "run scene split method ratio seed options oa top5 aa kappa f1 train test leakage params macs bytes "
    "epochs lr batch schedule precision version device threads seconds commit versions parents payload"
).split()
TEXTS = "run scene split method options schedule precision version device commit versions parents".split()
SHOWN = "scene split method schedule precision version device commit versions".split()  # as they are
ACCURACIES, COSTS = "oa top5 aa kappa f1".split(), "params macs payload".split()
EMPTY = {"options", "parents", "commit"}  # texts that may be empty
RANGES = {"ratio": (0, 99), "kappa": (-100, 100)}  # of the numbers: lowest, highest
RANGES |= dict.fromkeys("oa top5 aa f1 leakage".split(), (0, 100))
RANGES |= dict.fromkeys("train test epochs batch".split(), (1, np.inf))
RANGES |= dict.fromkeys("seed params macs bytes lr threads seconds payload".split(), (0, np.inf))
MAY_LACK = {"top5", "leakage", *COSTS}  # numbers that not every method has
WHOLE = "ratio seed train test epochs batch threads bytes".split()
COUNTS = {*WHOLE, *COSTS}


def read(text: str) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return the rows of a CSV table that are whole, and {number of a line: what is wrong with it}.

    A ValueError or an error of csv says that it is no table of rows.  Further columns are left out.
    """
    header, *lines = csv.reader(io.StringIO(text))
    missing = [name for name in COLUMNS if name not in header and name != "payload"]
    if missing or len({*header}) < len(header):
        raise ValueError(f"columns missing: {', '.join(missing)}" if missing else "two columns of one name")
    whole = {number: cells for number, cells in enumerate(lines, 2) if len(cells) == len(header)}
    cut, numbers = set(range(2, len(lines) + 2)) - set(whole), list(whole)
    table, wrong = checked(pd.DataFrame(list(whole.values()), columns=header, dtype=str))
    return table, dict.fromkeys(cut, "cut off") | {numbers[place]: why for place, why in wrong.items()}


def checked(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return the rows of a table of texts that can be, numbers as numbers, and {place: what is wrong}."""
    table = table.reindex(columns=COLUMNS, fill_value="").reset_index(drop=True)
    numbers = {name: pd.to_numeric(table[name], errors="coerce") for name in RANGES}  # "nan" is none
    wrong = _bad(table, numbers)
    table = table.assign(**numbers).drop(index=list(wrong))
    table = table.astype(dict.fromkeys(set(WHOLE) - MAY_LACK, int))  # a value that was none made them floats
    for name in SHOWN:  # rows may come from somebody else
        table[name] = table[name].map({cell: plain(cell) if cell else "" for cell in table[name].unique()})
    return table.reset_index(drop=True), wrong


def _bad(table, numbers) -> dict[int, str]:
    """{place: why} of the rows with a value that cannot be, and of those that stand there twice."""
    found = {}

    def name(places: Iterable, reason: str):
        for place in np.flatnonzero(places):
            found.setdefault(int(place), reason)

    name(~table["run"].str.fullmatch("[0-9a-f]{12}"), "its run is no identity")
    for column in set(TEXTS) - EMPTY:
        name(table[column] == "", f"it has no {column}")
    name(~table["options"].str.match(r"$|\w+="), "its options are none")
    for column, (low, high) in RANGES.items():
        values, lacks = numbers[column], numbers[column].isna()
        if column in MAY_LACK:
            lacks &= ~table[column].isin(["", "nan"])
        name(lacks, f"its {column} is no number")
        name((values < low) | (values > high) | np.isinf(values), f"its {column} is out of range")
        if column in WHOLE:
            name(values.notna() & (values % 1 != 0), f"its {column} is no whole number")
    name(table["run"].duplicated(), "its run stands in another line too")
    return found


def as_json(row: Mapping[str, Any], names: Iterable[str] = COLUMNS) -> dict[str, Any]:
    """Return columns of a row as JSON holds them: no NaN, and counts without a decimal point."""

    def cell(name, value):
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, float) and math.isnan(value):
            return None
        return int(value) if name in COUNTS and isinstance(value, float) and value % 1 == 0 else value

    return {name: cell(name, row[name]) for name in names}


def as_file(family: str, row: Mapping[str, Any], measured: Mapping[str, Any]) -> bytes:
    """Return the ``run.json`` of a run."""
    about = {"family": family, "row": as_json(row), "measured": as_json(measured, measured)}
    return json.dumps(about, indent=1).encode()


def of_json_files(texts: Iterable[bytes | str]) -> tuple[pd.DataFrame, list[dict], dict[int, str]]:
    """Return the rows of the ``run.json`` of some runs that are whole, what else each of these says, and
    {place: what is wrong} of the others."""
    said, wrong = [], {}
    for place, text in enumerate(texts):
        try:
            table = of_json(text)
            if not (isinstance(table, dict) and isinstance(table.get("row"), dict)):
                raise HsiError("it has no row")
        except HsiError as error:
            table, wrong[place] = {"row": {}}, str(error)
        said.append(table)
    rows = [{name: _text(part["row"].get(name)) for name in COLUMNS} for part in said]
    table, bad = checked(pd.DataFrame(rows, columns=COLUMNS, dtype=str))
    bad |= wrong
    return table, [part for place, part in enumerate(said) if place not in bad], bad


def _text(value):
    """A value of a row in JSON as a cell of a table has it."""
    return "" if value is None else str(value) if isinstance(value, str | int | float) else "?"


def measured(said: Any) -> dict[str, Any]:
    """Return what is measured beside a row: texts and numbers, under names that a column can have."""
    said, numbers = said if isinstance(said, dict) else {}, {"aa30", *RANGES}
    named = {name: value for name, value in said.items() if re.fullmatch(r"[a-z]\w{0,40}", name)}
    kept = {name: value for name, value in named.items()
            if isinstance(value, int | float) and abs(value) < 1e300
            or isinstance(value, str) and name not in numbers}
    return {name: plain(value) if isinstance(value, str) else float(value) for name, value in kept.items()}
