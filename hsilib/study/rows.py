"""Rows of the store as text: typed, in range and sealed by a checksum.  What is not whole is not believed."""

import csv
import hashlib
import io
from collections.abc import Iterable

import numpy as np
import pandas as pd

from hsilib.data.described import plain

COLUMNS = (
    "run scene split method ratio seed options oa top5 aa kappa f1 train test leakage params macs bytes "
    "epochs lr batch schedule precision version device threads seconds commit versions parents payload seal"
).split()
HEADER = ",".join(COLUMNS)
OLDER = [HEADER.removesuffix(",seal"), HEADER.removesuffix(",payload,seal")]  # of earlier editions
TEXTS = (
    "run scene split method options schedule precision version device commit versions parents seal"
).split()
SHOWN = "scene split method schedule precision version device commit versions".split()  # as they are
EMPTY = {"options", "parents", "seal", "commit"}  # texts that may be empty
RANGES = {  # of the numbers: lowest, highest
    "ratio": (0, 99), "seed": (0, np.inf), "oa": (0, 100), "top5": (0, 100), "aa": (0, 100),
    "kappa": (-100, 100), "f1": (0, 100), "train": (1, np.inf), "test": (1, np.inf), "leakage": (0, 100),
    "params": (0, np.inf), "macs": (0, np.inf), "bytes": (0, np.inf), "epochs": (1, np.inf),
    "lr": (0, np.inf), "batch": (1, np.inf), "threads": (0, np.inf),
    "seconds": (0, np.inf), "payload": (0, np.inf),
}
MAY_LACK = {"top5", "leakage", "params", "macs", "payload"}  # numbers that not every method has
WHOLE = "ratio seed train test epochs batch threads bytes".split()


def seal(line: str) -> str:
    """Return the checksum of a line, which ends it."""
    return hashlib.blake2b(line.encode(), digest_size=4).hexdigest()


def line_of(row: dict) -> str:
    """Return a row as a sealed line."""
    frame = pd.DataFrame([row], columns=COLUMNS[:-1])
    line = frame.to_csv(index=False, header=False, lineterminator="\n").rstrip("\n")
    return f"{line},{seal(line)}"


def renewed(text: str) -> str:
    """Return the text of a table with the columns of this edition: whole lines sealed, the others gone."""
    header, *lines = text.splitlines()
    _, wrong = read(text)
    lines = [line for number, line in enumerate(lines, 2) if number not in wrong]
    if header != HEADER:
        lines = [line + "," * (header == OLDER[1]) for line in lines]
        lines = [f"{line},{seal(line)}" for line in lines]
    return "\n".join([HEADER, *lines]) + "\n"


def read(text: str) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return the rows of a table that are whole, and {number of a line: what is wrong with it}.

    A ValueError says that it is no table of rows.
    """
    header, _, rest = text.partition("\n")
    if header not in (HEADER, *OLDER):
        missing = ", ".join(name for name in COLUMNS[:-2] if name not in header.split(","))
        raise ValueError(f"columns missing: {missing}" if missing else "other columns than a store has")
    wrong, whole, numbers = {}, [], []
    for number, line in enumerate(rest.splitlines(), 2):
        content, _, mark = line.rpartition(",")
        if header != HEADER and len(next(csv.reader([line]), [])) != header.count(",") + 1:
            wrong[number] = "cut off"
        elif header == HEADER and seal(content) != mark:
            wrong[number] = "cut off or changed: its checksum is another"
        else:
            whole.append(line)
            numbers.append(number)
    lines = io.StringIO("\n".join([header, *whole]) + "\n")
    table = pd.read_csv(lines, dtype=str, keep_default_na=False).reindex(columns=COLUMNS, fill_value="")
    bad = _bad(table)
    wrong |= {numbers[place]: reason for place, reason in bad.items()}
    table = table.drop(index=list(bad))
    for name in SHOWN:  # rows may come from somebody else
        table[name] = table[name].map({cell: plain(cell) if cell else "" for cell in table[name].unique()})
    for name in RANGES:
        table[name] = pd.to_numeric(table[name])
    return table.reset_index(drop=True), wrong


def _bad(table) -> dict[int, str]:
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
        values = pd.to_numeric(table[column], errors="coerce")
        lacks = table[column].isin(["", "nan"])
        name(values.isna() & ~(lacks if column in MAY_LACK else False), f"its {column} is no number")
        name((values < low) | (values > high) | np.isinf(values), f"its {column} is out of range")
        if column in WHOLE:
            name(values.notna() & (values % 1 != 0), f"its {column} is no whole number")
    name(table["run"].duplicated(), "its run stands in another line too")
    return found
