"""The store: one tidy CSV per family in ``book/results``, and beside it the small pictures the book needs.

Appending takes a lock, writes a whole new file and renames it, so a reader, a second writer or a kill never
sees half a table.  Reading needs neither torch nor a cube.
"""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from hsilib.data import cards, described
from hsilib.errors import HsiError, reason
from hsilib.files import own_folder, project, workplace, write_atomically
from hsilib.study import measures, rows

PATIENCE = 120  # seconds for which a store may be held by somebody else


@lru_cache
def _table(path, changed, size):
    """One CSV file of rows, read once while it stays as it is.  A line that is not whole is named and left
    out, so that its run is trained again."""
    try:
        table, wrong = rows.read(path.read_text())
    except (ValueError, OSError) as error:
        raise HsiError(f"{path}: not a table of runs ({reason(error)})") from None
    for number, why in wrong.items():
        says = "it counts no more, and its run is trained again when it is asked for"
        print(f"{path}, line {number}: {why}; {says}", file=sys.stderr)
    return table


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


class Store:
    """Rows and pictures: the published ones, which are only read, and yours.

    Yours lie in ``HSILIB_RESULTS``, or in ``results`` of the checkout or the current folder.  A store of one
    named folder holds just that.

    >>> rows = Store().rows()
    >>> means = rows[rows["method"] == "cnn2d"].groupby("split")["oa"].mean()
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = Path(folder or os.environ.get("HSILIB_RESULTS") or workplace() / "results")
        shared = None if folder else published()
        self.folders = [self.folder, shared] if shared and shared != self.folder else [self.folder]

    @contextmanager
    def _locked(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock", timeout=PATIENCE)
        try:
            lock.acquire()
        except Timeout:
            says = f"another process has held it for {PATIENCE} s; end that, and start again"
            raise HsiError(f"{self.folder / '.lock'}: {says}") from None
        try:
            yield
        finally:
            lock.release()

    def check(self) -> None:
        """Refuse a folder in which nothing can be kept, before anything is trained for it."""
        try:
            with self._locked():
                write_atomically(self.folder / ".check", "")
                (self.folder / ".check").unlink()
        except OSError as error:
            reason = error.strerror or error
            says = f"rows cannot be kept here ({reason}); set HSILIB_RESULTS to another folder"
            raise HsiError(f"{self.folder}: {says}") from None

    def rows(self) -> pd.DataFrame:
        """Return all rows of all families as one table; yours come after the published ones.

        Beside what a row says stand AA30 and the test pixels of small classes (``aa30``, ``small``), and its
        multiply-adds and payload are those from raw bands on.
        """
        return measures.beside(self.written(), self.folders)

    def written(self) -> pd.DataFrame:
        """Return all rows as they were written."""
        tables = [table for folder in reversed(self.folders) for table in self._tables(folder)]
        if not tables:
            return pd.DataFrame(columns=rows.COLUMNS)
        return pd.concat(tables, ignore_index=True).drop_duplicates("run", ignore_index=True)

    def _tables(self, folder):
        if folder.exists() and not folder.is_dir():
            raise HsiError(f"{folder}: no folder, which a store is")
        states = [(path, path.stat()) for path in sorted(folder.glob("*.csv")) if path.is_file()]
        return [_table(path, state.st_mtime_ns, state.st_size) for path, state in states]

    def has(self, run: str) -> bool:
        """Say whether the store holds the run of this identity."""
        return any((table["run"] == run).any() for folder in self.folders for table in self._tables(folder))

    def append(self, family: str, row: dict[str, Any], beside: dict[str, Any] | None = None) -> None:
        """Add one row to ``<family>.csv`` unless the run is there already; lines that are not whole go.

        ``beside``: its measures (``measures.COLUMNS``), written first.
        """
        path = self.folder / f"{family}.csv"
        with self._locked():
            if not self.has(row["run"]):
                if beside:
                    measures.add(self.folder, {row["run"]: beside})
                text = rows.renewed(path.read_text()) if path.exists() else f"{rows.HEADER}\n"
                write_atomically(path, f"{text}{rows.line_of(row)}\n")

    def remove(self, runs: set[str]) -> None:
        """Take the rows of these runs out of your tables."""
        with self._locked():
            for path in self.folder.glob("*.csv"):
                lines = path.read_text().splitlines(keepends=True)
                kept = [line for line in lines if line.partition(",")[0] not in runs]
                if kept != lines:
                    write_atomically(path, "".join(kept))

    def find(self, *names: str) -> Path:
        """Return where a file lies: in your folder, else in the published one; if in none, where it is to."""
        places = [folder.joinpath(*names) for folder in self.folders]
        return next((place for place in places if place.exists()), places[0])

    # -------------------------------------------------------------- what lies beside the rows, by identity

    def map_path(self, run: str) -> Path:
        """Return where the class map of a run is kept."""
        return self.find("maps", f"{run}.png")

    def write_map(self, run: str, labels: np.ndarray) -> None:
        """Write the predicted class of each pixel, 1-based, as an indexed PNG."""
        write_atomically(self.folder / "maps" / f"{run}.png", cards.png(labels))

    def read_map(self, run: str) -> np.ndarray:
        """Return the predicted class of each pixel, 1-based."""
        return self._read(run, self.map_path(run), cards.read_png)

    def log(self, run: str, history: list[dict[str, float]]) -> None:
        """Write the loss terms per epoch."""
        if history:
            text = pd.DataFrame(history).round(5).to_csv(index_label="epoch", lineterminator="\n")
            write_atomically(self.folder / "logs" / f"{run}.csv", text)

    def read_log(self, run: str) -> pd.DataFrame:
        """Return the loss terms per epoch, a column for each; a term that joined later is missing before."""
        path = self.find("logs", f"{run}.csv")
        return self._read(run, path, lambda path: cards.numbers(path, "epoch"))

    def note(self, run: str, notes: dict[str, Any]) -> None:
        """Write what else a method tells of a run, as JSON."""
        if notes:
            write_atomically(self.folder / "notes" / f"{run}.json", json.dumps(notes) + "\n")

    def read_note(self, run: str) -> dict[str, Any]:
        """Return what else the method told of a run."""
        path = self.find("notes", f"{run}.json")
        return self._read(run, path, lambda path: described.notes(path.read_text()))

    def _read(self, run, path, read):
        """Read what belongs to a row; if it is not there or damaged, say how to mend that."""
        try:
            return cards.read_or_say(path, read)
        except HsiError as error:
            held = [file for folder in self.folders for file in folder.glob("*.csv")]
            row = next((file for file in held if f"\n{run}," in file.read_text()), None)
            again = f"delete the line of {run} in {row}, and it is trained again" if row else "train it again"
            raise HsiError(f"{error}; get it from where the row came from, or {again}") from None

    def card(self, name: str) -> cards.Card:
        """Return (Scene without cube, false-colour image, spectra), from the store or else from the scene.

        The last two are None for a set of images.
        """
        return cards.read_card([folder / "scenes" / name for folder in self.folders], name)

    def thumbnails(self, scene: str, numbers: Sequence[int], size: int = 64) -> list[np.ndarray]:
        """Return images of a set, (size, size, 3) bytes each."""
        return cards.thumbnails(
            [folder / "scenes" / scene for folder in self.folders], scene, numbers, size
        )
