"""The store: what was trained, and what pages show of scenes.

A run of yours is a folder, ``<identity>/run.json`` with its map, its log and what its method notes.  It is
written under another name and renamed once, so that nobody ever sees half a run and nobody waits for another.
Published runs are packed: a CSV table for each family, with ``maps``, ``logs`` and ``notes`` beside, as were
yours in earlier editions.  Reading gives both, and needs neither torch nor a cube.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsilib.data import cards, described
from hsilib.errors import HsiError
from hsilib.files import cache_folder, clear, own_folder, project, readable, temporary, workplace, write
from hsilib.study import measures, rows

# a file in the folder of a run -> the folder and the ending that it has where runs are packed
PARTS = {"map.png": ("maps", "png"), "log.csv": ("logs", "csv"), "notes.json": ("notes", "json")}
IDENTITY = re.compile("[0-9a-f]{12}")


def published() -> Path | None:
    """Return the folder of the published rows: ``HSILIB_PUBLISHED``, or the book's; empty, or without a
    checkout, there is none."""
    named = os.environ.get("HSILIB_PUBLISHED")
    folder = project() / "book" / "results" if named is None else Path(named)
    if named is None and not folder.is_dir():
        folder = own_folder() / "published"  # what `results --fetch` brought
    return folder if named != "" and folder.is_dir() else None


def smoke_store() -> "Store":
    """Return the store of runs on the smoke budget, which are never kept among others."""
    return Store(workplace() / "_build" / "smoke" / "results")


def _warn(wrong):
    """What is not whole is named and left out, so that its run is trained again."""
    for where, why in wrong.items():
        says = "it counts no more, and its run is trained again when it is asked for"
        print(f"{where}: {why}; {says}", file=sys.stderr)


def _state(path):
    """What is another when a file is another one."""
    return (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None


def packed(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the rows of the CSV tables of a folder, by family."""
    return {path.stem: _packed(path, _state(path)) for path in sorted(folder.glob("*.csv"))}


@lru_cache
def _packed(path, state):
    """The rows of one CSV file, read once while it stays as it is."""
    with readable(f"{path}: not a table of runs"):
        table, wrong = rows.read(path.read_text("utf-8"))
    _warn({f"{path}, line {line}": why for line, why in wrong.items()})
    return table


def _paths(folder):
    """The row of each run that is a folder."""
    names = sorted(filter(IDENTITY.fullmatch, os.listdir(folder))) if folder.is_dir() else []
    return [folder / run / "run.json" for run in names]


def _unpacked(folder):
    """The rows of all runs that are folders, and what is measured of them."""
    paths = _paths(folder)
    texts = [path.read_bytes() if path.is_file() else b"" for path in paths]  # a pipe never ends
    table, said, wrong = rows.of_json_files(texts)
    _warn({paths[place]: why for place, why in wrong.items()})
    told = {run: rows.measured(part.get("measured")) for run, part in zip(table["run"], said)}
    return table, measures.of_runs(pd.DataFrame.from_dict(told, orient="index").rename_axis("run"))


def _whole(folder):
    """Say whether the folder of a run has a row that can be believed."""
    path = folder / "run.json"
    return path.is_file() and not rows.of_json_files([path.read_bytes()])[2]


@lru_cache(maxsize=4)  # pages ask for all rows a hundred times
def _rows(folders, states):
    """All rows of some folders as they were written, and with what is measured of them."""
    written, measured = [], []
    for folder in folders:
        table, beside = _unpacked(folder)
        written = [*packed(folder).values(), table, *written]  # those of the first folder come last
        measured += [beside, measures.held(folder)]
    empty = rows.checked(pd.DataFrame(columns=rows.COLUMNS, dtype=str))[0]
    table = pd.concat([table for table in written if len(table)] or [empty], ignore_index=True)
    table = table.drop_duplicates("run", ignore_index=True)
    return table, measures.beside(table, measured)


class Store:
    """Runs, the published ones, which are only read, and yours.

    Yours lie in ``HSILIB_RESULTS``, or in ``results`` of the checkout or the current folder.  A store of one
    named folder holds just that.

    >>> rows = Store().rows()
    >>> means = rows[rows["method"] == "cnn2d"].groupby("split")["oa"].mean()
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = Path(folder or os.environ.get("HSILIB_RESULTS") or workplace() / "results")
        shared = None if folder else published()
        self.folders = [self.folder, shared] if shared and shared != self.folder else [self.folder]

    def check(self) -> None:
        """Refuse a folder in which nothing can be kept, before anything is trained for it, and remove what
        killed processes left there long ago."""
        try:
            trial = temporary(self.folder / "check")
            trial.mkdir(parents=True)
            trial.rmdir()
        except OSError as error:
            why = error.strerror or error
            says = f"rows cannot be kept here ({why}); set HSILIB_RESULTS to another folder"
            raise HsiError(f"{self.folder}: {says}") from None
        clear(self.folder)
        clear(cache_folder() / "weights")

    # ------------------------------------------------------------------------------------------------ rows

    def rows(self) -> pd.DataFrame:
        """Return all rows of all families as one table; yours come after the published ones.

        Beside what a row says stand AA30 and the test pixels of small classes (``aa30``, ``small``), its
        multiply-adds and payload are those from raw bands on, and what else was measured comes last.
        """
        return self._rows()[1].copy()

    def written(self) -> pd.DataFrame:
        """Return all rows as they were written."""
        return self._rows()[0].copy()

    def _rows(self):
        if self.folder.exists() and not self.folder.is_dir():
            raise HsiError(f"{self.folder}: no folder, which a store is")
        files = [measures.file(folder) for folder in self.folders]
        for folder in self.folders:
            files += [*_paths(folder), *folder.glob("*.csv")]
        return _rows(tuple(self.folders), tuple((path, _state(path)) for path in files))

    def runs(self) -> list[str]:
        """Return the identities of your runs that are folders."""
        return [path.parent.name for path in _paths(self.folder)]

    def _row(self, run):
        """(folder, family, row) of a run that is packed, or nothing."""
        for folder in self.folders:
            for family, table in packed(folder).items():
                for row in table[table["run"] == run].to_dict("records"):
                    return folder, family, row

    def has(self, run: str) -> bool:
        """Say whether the store holds the run of this identity."""
        return any(_whole(folder / run) for folder in self.folders) or self._row(run) is not None

    # ------------------------------------------------------------------------------------------- one run

    def keep(
        self, row: dict[str, Any], family: str, measured: Mapping[str, Any] | None = None,
        labels: np.ndarray | None = None, history: Sequence[dict[str, float]] = (),
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep a run, unless it is there already: this may be another machine than that which drew its map.

        row: its columns; family: of its method; measured: what else is known of it, numbers by name; labels:
        its map, the predicted class of each pixel, 1-based; history: the loss terms per epoch; notes: what
        else its method tells.
        """
        if self.has(row["run"]):
            return
        files = {"run.json": rows.as_file(family, row, measured or {})}
        if labels is not None:
            files["map.png"] = cards.png(labels)
        if history:
            files["log.csv"] = pd.DataFrame(history).round(5).to_csv(index_label="epoch", lineterminator="\n")
        if notes:
            files["notes.json"] = f"{json.dumps(notes)}\n"
        self.take(row["run"], files)

    def take(self, run: str, files: Mapping[str, bytes | str]) -> None:
        """Keep a run whose files are at hand, by name, unless it is there already: they are written into a
        folder under another name, which is renamed once when all is in it."""
        folder = self.folder / run
        part = temporary(folder)
        try:
            part.mkdir(parents=True)
            for name, data in files.items():
                write(part / name, data)
            if folder.is_dir() and not _whole(folder):  # a damaged one makes room
                os.replace(folder, temporary(folder))
            try:
                os.rename(part, folder)
            except OSError:
                if not _whole(folder):  # or else somebody has finished the same run
                    raise
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from None
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def files(self, run: str) -> dict[str, bytes]:
        """Return the files of a run by name, as ``take`` keeps them, whether it is packed or not."""
        found = {part: self.path(run, part) for part in ("run.json", *PARTS)}
        files = {part: path.read_bytes() for part, path in found.items() if path.is_file()}
        if "run.json" not in files and (packed := self._row(run)):
            folder, family, row = packed
            beside = measures.held(folder).reindex([run]).iloc[0].dropna().to_dict()
            files["run.json"] = rows.as_file(family, row, beside)
        return files

    def remove(self, runs: set[str]) -> None:
        """Remove runs of yours that are folders."""
        for run in runs:
            gone = temporary(self.folder / run)
            os.replace(self.folder / run, gone)
            shutil.rmtree(gone)

    def find(self, *names: str) -> Path:
        """Return where a file lies: in your folder, else in the published one; if in none, where it is to."""
        places = [folder.joinpath(*names) for folder in self.folders]
        return next((place for place in places if place.exists()), places[0])

    def path(self, run: str, part: str) -> Path:
        """Return where a file of a run lies, or if it is nowhere, where it would."""
        packed, ending = PARTS.get(part, ("", ""))
        places = [(folder / run / part, folder / packed / f"{run}.{ending}") for folder in self.folders]
        return next((place for pair in places for place in pair if place.exists()), places[0][0])

    def map_path(self, run: str) -> Path:
        """Return where the class map of a run is kept."""
        return self.path(run, "map.png")

    def read_map(self, run: str) -> np.ndarray:
        """Return the predicted class of each pixel, 1-based."""
        return self._read(run, "map.png", cards.read_png)

    def read_log(self, run: str) -> pd.DataFrame:
        """Return the loss terms per epoch, a column for each; a term that joined later is missing before."""
        return self._read(run, "log.csv", lambda path: cards.numbers(path, "epoch"))

    def read_note(self, run: str) -> dict[str, Any]:
        """Return what else the method told of a run."""
        return self._read(run, "notes.json", lambda path: described.notes(path.read_text("utf-8")))

    def _read(self, run, part, read):
        """Read what belongs to a row; if it is not there or damaged, say how to mend that."""
        try:
            return cards.read_or_say(self.path(run, part), read)
        except HsiError as error:
            folder, family, _ = self._row(run) or (self.folder, "", {})
            place = f"the line of {run} in {folder / family}.csv" if family else folder / run
            says = f"get it from where the row came from, or delete {place}, and it is trained again"
            raise HsiError(f"{error}; {says}") from None

    def card(self, name: str) -> cards.Card:
        """Return (Scene without cube, false-colour image, spectra), from the store or else from the scene.

        The last two are None for a set of images.
        """
        return cards.read_card([folder / "scenes" / name for folder in self.folders], name)
