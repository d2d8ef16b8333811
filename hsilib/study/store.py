"""The store: what was trained, and what pages show of scenes.

A run of yours is a folder, ``<identity>/run.json`` with its map, its log and what its method notes.  It is
written under another name and renamed once, so that nobody ever sees half a run and nobody waits for another.
Published runs are packed: a CSV table for each family, with ``maps``, ``logs`` and ``notes`` beside, as were
yours in earlier editions.  Reading gives both, and needs neither torch nor a cube.
"""

import json
import operator
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsilib.data import cards, described
from hsilib.errors import HsiError, reason
from hsilib.files import cache_folder, clear, own_folder, project, temporary, workplace, write
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


def _warn(where, wrong):
    """What is not whole is named and left out, so that its run is trained again."""
    for place, why in wrong.items():
        says = "it counts no more, and its run is trained again when it is asked for"
        print(f"{where(place)}: {why}; {says}", file=sys.stderr)


@lru_cache
def _packed(path, changed):
    """The rows of one CSV file, read once while it stays as it is."""
    try:
        table, wrong = rows.read(path.read_text())
    except (ValueError, OSError) as error:
        raise HsiError(f"{path}: not a table of runs ({reason(error)})") from None
    _warn(lambda line: f"{path}, line {line}", wrong)
    return table


@lru_cache(maxsize=8)
def _unpacked(paths, changed):
    """The rows of all runs that are folders, and what is measured of them, read once while they stay."""
    table, said, wrong = rows.of_json_files(map(_text_of, paths))
    _warn(lambda place: paths[place], wrong)
    told = {run: rows.measured(part.get("measured")) for run, part in zip(table["run"], said)}
    return table, measures.of_runs(pd.DataFrame.from_dict(told, orient="index").rename_axis("run"))


def _text_of(path):
    return path.read_bytes() if path.is_file() else b""  # a pipe never ends


def _state(path):
    """What is another when a file is another one."""
    return (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None


def _whole(folder):
    """Say whether the folder of a run has a row that can be believed."""
    path = folder / "run.json"
    return path.is_file() and not rows.of_json_files([path.read_bytes()])[2]


def _joined(tables):
    tables = [table for table in tables if len(table)]
    if not tables:
        return rows.checked(pd.DataFrame(columns=rows.COLUMNS, dtype=str))[0]
    return pd.concat(tables, ignore_index=True).drop_duplicates("run", ignore_index=True)


class _Same(tuple):
    """Tables, which are the same as others if each is the same object."""

    def __hash__(self):
        return hash(tuple(map(id, self)))

    def __eq__(self, other):
        return len(self) == len(other) and all(map(operator.is_, self, other))


@lru_cache(maxsize=2)  # pages ask for all rows a hundred times
def _beside(tables, measured):
    return measures.beside(_joined(tables), measured)


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
        own = [self._unpacked(folder)[1] for folder in self.folders]
        tables = [table for folder in reversed(self.folders) for table in self._tables(folder)]
        return _beside(_Same(tables), _Same([*own, *map(measures.held, self.folders)])).copy()

    def written(self) -> pd.DataFrame:
        """Return all rows as they were written."""
        return _joined([table for folder in reversed(self.folders) for table in self._tables(folder)])

    def _tables(self, folder):
        return [*self.packed(folder).values(), self._unpacked(folder)[0]]

    def packed(self, folder: Path) -> dict[str, pd.DataFrame]:
        """Return the rows of the CSV tables of a folder, by family."""
        if folder.exists() and not folder.is_dir():
            raise HsiError(f"{folder}: no folder, which a store is")
        return {path.stem: _packed(path, _state(path)) for path in sorted(folder.glob("*.csv"))}

    def runs(self, folder: Path | None = None) -> list[str]:
        """Return the identities of your runs that are folders."""
        folder = folder or self.folder
        return sorted(filter(IDENTITY.fullmatch, os.listdir(folder))) if folder.is_dir() else []

    def _unpacked(self, folder):
        paths = tuple(folder / run / "run.json" for run in self.runs(folder))
        return _unpacked(paths, tuple(map(_state, paths)))

    def _row(self, run):
        """(table, family, row) of a run that is packed, or nothing."""
        for folder in self.folders:
            for family, table in self.packed(folder).items():
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
        """Keep a run, unless it is there already.

        row: its columns; family: of its method; measured: what else is known of it, numbers by name; labels:
        its map, the predicted class of each pixel, 1-based; history: the loss terms per epoch; notes: what
        else its method tells.
        """
        with self._new(row["run"]) as part:
            write(part / "run.json", rows.as_file(family, row, measured or {}))
            if labels is not None:
                write(part / "map.png", cards.png(labels))
            if history:
                table = pd.DataFrame(history).round(5)
                write(part / "log.csv", table.to_csv(index_label="epoch", lineterminator="\n"))
            if notes:
                write(part / "notes.json", f"{json.dumps(notes)}\n")

    def take(self, run: str, files: Mapping[str, bytes]) -> None:
        """Keep a run whose files are at hand, by name, unless it is there already."""
        with self._new(run) as part:
            for name, data in files.items():
                write(part / name, data)

    @contextmanager
    def _new(self, run):
        """Give a folder under another name, which is renamed once when all is in it."""
        folder = self.folder / run
        part = temporary(folder)
        try:
            part.mkdir(parents=True)
            yield part
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
        found = {part: self._path(run, part) for part in ("run.json", *PARTS)}
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

    def _path(self, run, part):
        """Return where a file of a run lies, or if it is nowhere, where it would."""
        packed, ending = PARTS.get(part, ("", ""))
        places = [(folder / run / part, folder / packed / f"{run}.{ending}") for folder in self.folders]
        return next((place for pair in places for place in pair if place.exists()), places[0][0])

    def map_path(self, run: str) -> Path:
        """Return where the class map of a run is kept."""
        return self._path(run, "map.png")

    def read_map(self, run: str) -> np.ndarray:
        """Return the predicted class of each pixel, 1-based."""
        return self._read(run, "map.png", cards.read_png)

    def read_log(self, run: str) -> pd.DataFrame:
        """Return the loss terms per epoch, a column for each; a term that joined later is missing before."""
        return self._read(run, "log.csv", lambda path: cards.numbers(path, "epoch"))

    def read_note(self, run: str) -> dict[str, Any]:
        """Return what else the method told of a run."""
        return self._read(run, "notes.json", lambda path: described.notes(path.read_text()))

    def _read(self, run, part, read):
        """Read what belongs to a row; if it is not there or damaged, say how to mend that."""
        try:
            return cards.read_or_say(self._path(run, part), read)
        except HsiError as error:
            folder, family, _ = self._row(run) or (self.folder, "", {})
            place = f"the line of {run} in {folder / family}.csv" if family else folder / run
            says = f"get it from where the row came from, or delete {place}, and it is trained again"
            raise HsiError(f"{error}; {says}") from None

    # ---------------------------------------------------------------------------- what pages show of scenes

    def card(self, name: str) -> cards.Card:
        """Return (Scene without cube, false-colour image, spectra), from the store or else from the scene.

        The last two are None for a set of images.
        """
        return cards.read_card([folder / "scenes" / name for folder in self.folders], name)

    def thumbnails(self, scene: str, numbers: Sequence[int], size: int = 64) -> list[np.ndarray]:
        """Return images of a set, (size, size, 3) bytes each."""
        places = [folder / "scenes" / scene for folder in self.folders]
        return cards.thumbnails(places, scene, numbers, size)
