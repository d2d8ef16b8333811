"""The store: one tidy CSV per family in ``book/results``, and beside it the small pictures the book needs.

Appending takes a lock, writes a whole new file and renames it, so a reader, a second writer or a kill never sees half a
table.  Reading needs neither torch nor a cube.
"""

import io
import json
import os
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from hsilib import scenes
from hsilib.colours import CLASSES
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
        table = pd.read_csv(path, dtype={"run": str, "commit": str, "options": str, "parents": str}, keep_default_na=True)
    except Exception as error:
        raise HsiError(f"{path}: not a table of runs ({str(error).splitlines()[0]})") from None
    missing = set(COLUMNS) - set(table)
    if missing:
        raise HsiError(f"{path}: columns missing: {', '.join(sorted(missing))}")
    sound = table["run"].str.fullmatch("[0-9a-f]{12}") & np.isfinite(pd.to_numeric(table["oa"], errors="coerce"))
    if not sound.all():
        line = int(np.flatnonzero(~sound)[0]) + 2
        raise HsiError(f"{path}, line {line}: not a row of the store (cut off, or a merge left marks); delete the line")
    return table.fillna({"options": "", "parents": ""})


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
        tables = [_table(path, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(self.folder.glob("*.csv"))]
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

    # -------------------------------------------------------------------------------- pictures beside the rows

    def map_path(self, run):
        return self.folder / "maps" / f"{run}.png"

    def write_map(self, run, labels):
        """Predicted class of every pixel, 1-based, as an indexed PNG."""
        write_atomically(self.map_path(run), png(labels))

    def read_map(self, run):
        return read_png(self.map_path(run))

    def thumbnails(self, scene, numbers, size=64):
        """Images of a set, (size, size, 3) bytes each: kept where they were shown once, so that the book needs no data."""
        mark = scenes.identity(scene).partition("@")[2]  # of an own set's contents
        paths = [self.folder / "scenes" / scene / f"image{number}{mark}.png" for number in numbers]
        for path, number in zip(paths, numbers):
            if not path.exists():
                picture = scenes.load_scene(scene).pictures.read(size)[number]
                write_atomically(path, _encode(picture.transpose(1, 2, 0), "RGB"))
        return [read_png(path) for path in paths]

    def log(self, run, history):
        """Loss terms per epoch."""
        if history:
            text = pd.DataFrame(history).round(5).to_csv(index_label="epoch", lineterminator="\n")
            write_atomically(self.folder / "logs" / f"{run}.csv", text)

    def read_log(self, run):
        """Loss terms per epoch, a column for each; a term that joined later is missing before."""
        return _found(self.folder / "logs" / f"{run}.csv", lambda path: pd.read_csv(path, index_col="epoch"))

    def note(self, run, notes):
        """What else a method tells of a run, as JSON."""
        if notes:
            write_atomically(self.folder / "notes" / f"{run}.json", json.dumps(notes) + "\n")

    def read_note(self, run):
        return _found(self.folder / "notes" / f"{run}.json", lambda path: json.loads(path.read_text()))

    def write_card(self, scene):
        """What the book shows of a scene without its cube: label maps, false colour, mean spectra."""
        folder = self.folder / "scenes" / scene.name
        for name in ("labels", "train_map", "test_map"):
            if getattr(scene, name) is not None:
                write_atomically(folder / f"{name}.png", png(getattr(scene, name)))
        if scene.cube is not None:
            write_atomically(folder / "rgb.png", _encode(false_colour(scene.cube, scene.rgb), "RGB"))
            spectra = {}
            for number, name in enumerate(scene.classes, 1):
                pixels = scene.cube[scene.labels == number]
                if len(pixels):
                    spectra[name], spectra[name + " sd"] = pixels.mean(0), pixels.std(0)
            write_atomically(folder / "spectra.csv", pd.DataFrame(spectra).round(4).to_csv(index_label="band"))
        about = {k: getattr(scene, k) for k in ("title", "classes", "train_fraction", "synthetic", "of_images")}
        write_atomically(folder / "card.json", json.dumps(about | {"identity": scenes.identity(scene.name)}, indent=1))

    def card(self, name):
        """(Scene without cube, false-colour image, spectra): from the store, else from the scene itself; the last two are
        None for a set of images."""
        folder = self.folder / "scenes" / name
        try:
            about = json.loads((folder / "card.json").read_text())
        except (OSError, ValueError):
            about = {}
        if about.pop("identity", None) != scenes.identity(name):  # none yet, or of other files under the same name
            self.write_card(scenes.load_scene(name))
            return self.card(name)
        maps = {n: read_png(folder / f"{n}.png") for n in ("train_map", "test_map") if (folder / f"{n}.png").exists()}
        about["classes"] = tuple(about["classes"])
        scene = scenes.Scene(name, cube=None, labels=read_png(folder / "labels.png"), **about, **maps)
        if not (folder / "rgb.png").exists():
            return scene, None, None
        return scene, read_png(folder / "rgb.png"), pd.read_csv(folder / "spectra.csv", index_col="band")


def false_colour(cube, bands):
    """Three bands, each stretched between its 2nd and 98th percentile, as (H, W, 3) bytes."""
    image = cube[..., list(bands)].astype(float)
    low, high = np.percentile(image, [2, 98], axis=(0, 1))
    return (255 * ((image - low) / np.maximum(high - low, 1e-12)).clip(0, 1)).astype(np.uint8)


def _encode(array, mode, palette=None):
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(array, np.uint8), mode="L" if mode == "P" else mode)
    if palette is not None:
        image.putpalette(palette)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def png(labels):
    """A label map as an indexed PNG in the book's class colours; index 0 is unlabelled."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(CLASSES)] = CLASSES
    return _encode(labels, "P", palette.tobytes())


def read_png(path):
    from PIL import Image

    return _found(path, lambda path: np.array(Image.open(path)))


def _found(path, read):
    try:
        return read(path)
    except (OSError, ValueError) as error:
        raise HsiError(f"{path}: {type(error).__name__}; this part of a run's record is missing or damaged") from None
