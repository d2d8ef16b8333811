"""The store: one tidy CSV per family in ``book/results``, and beside it the small pictures the book needs.

Appending takes a lock, writes a whole new file and renames it, so a reader, a second writer or a kill never sees half a
table.  Reading needs neither torch nor a cube.
"""

import json
import os
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from hsilib.data import cards
from hsilib.errors import HsiError
from hsilib.files import project, write_atomically

COLUMNS = (
    "run scene split method ratio seed options oa top5 aa kappa f1 train test leakage params macs bytes "
    "epochs lr batch schedule precision version device threads seconds commit versions parents"
).split()


@lru_cache
def _table(path, changed, size):
    """One CSV file of rows, read once while it stays as it is."""
    try:
        table = pd.read_csv(
            path, dtype={"run": str, "commit": str, "options": str, "parents": str}, keep_default_na=True
        )
    except Exception as error:
        raise HsiError(f"{path}: not a table of runs ({str(error).splitlines()[0]})") from None
    missing = set(COLUMNS) - set(table)
    if missing:
        raise HsiError(f"{path}: columns missing: {', '.join(sorted(missing))}")
    sound = table["run"].str.fullmatch("[0-9a-f]{12}") & np.isfinite(
        pd.to_numeric(table["oa"], errors="coerce")
    )
    if not sound.all():
        line = int(np.flatnonzero(~sound)[0]) + 2
        raise HsiError(
            f"{path}, line {line}: not a row of the store (cut off, or a merge left marks); delete the line"
        )
    return table.fillna({"options": "", "parents": ""})


def smoke_store():
    """Where runs on the smoke budget are kept: never among the published ones."""
    return Store(project() / "_build" / "smoke" / "results")


class Store:
    """Rows and pictures under one folder."""

    def __init__(self, folder=None):
        self.folder = Path(folder or os.environ.get("HSILIB_RESULTS") or project() / "book" / "results")

    @contextmanager
    def _locked(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            yield

    def rows(self):
        """All rows of all families, one DataFrame."""
        tables = [
            _table(path, path.stat().st_mtime_ns, path.stat().st_size)
            for path in sorted(self.folder.glob("*.csv"))
        ]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)

    def has(self, run):
        return any(f"\n{run}," in path.read_text() for path in self.folder.glob("*.csv"))

    def append(self, family, row):
        """Add one row to ``<family>.csv`` unless the run is there already."""
        path = self.folder / f"{family}.csv"
        line = pd.DataFrame([row], columns=COLUMNS)
        with self._locked():
            text = path.read_text() if path.exists() else ",".join(COLUMNS) + "\n"
            if not self.has(row["run"]):
                text += "" if text.endswith("\n") else "\n"
                write_atomically(path, text + line.to_csv(index=False, header=False, lineterminator="\n"))

    # -------------------------------------------------------------------------------- what lies beside the rows

    def map_path(self, run):
        return self.folder / "maps" / f"{run}.png"

    def write_map(self, run, labels):
        """Predicted class of every pixel, 1-based, as an indexed PNG."""
        write_atomically(self.map_path(run), cards.png(labels))

    def read_map(self, run):
        return cards.read_png(self.map_path(run))

    def log(self, run, history):
        """Loss terms per epoch."""
        if history:
            text = pd.DataFrame(history).round(5).to_csv(index_label="epoch", lineterminator="\n")
            write_atomically(self.folder / "logs" / f"{run}.csv", text)

    def read_log(self, run):
        """Loss terms per epoch, a column for each; a term that joined later is missing before."""
        return cards.read_or_say(
            self.folder / "logs" / f"{run}.csv", lambda path: pd.read_csv(path, index_col="epoch")
        )

    def note(self, run, notes):
        """What else a method tells of a run, as JSON."""
        if notes:
            write_atomically(self.folder / "notes" / f"{run}.json", json.dumps(notes) + "\n")

    def read_note(self, run):
        return cards.read_or_say(
            self.folder / "notes" / f"{run}.json", lambda path: json.loads(path.read_text())
        )

    def card(self, name):
        """(Scene without cube, false-colour image, spectra): from the store, else from the scene itself; the last two are
        None for a set of images."""
        return cards.read_card(self.folder / "scenes" / name, name)

    def thumbnails(self, scene, numbers, size=64):
        """Images of a set, (size, size, 3) bytes each."""
        return cards.thumbnails(self.folder / "scenes" / scene, scene, numbers, size)
