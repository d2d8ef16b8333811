"""Sets of images: a folder, or a .zip file, with one folder of images per class (AID, RSSCN7, UC Merced, EuroSAT; RSOD, whose
images lie deeper, is read by the same rule).

A set is listed at once; its images are read when they are needed.  One that is damaged or not RGB is named and refused, or
left out on request when the set is added.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from hsilib import synthetic
from hsilib.errors import HsiError
from hsilib.files import write_atomically

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"}
PUBLISHED = {  # name: (title, file, SHA-256); a reduced copy of 128 x 128 pixels
    "rsscn7": ("RSSCN7 (RGB)", "rsscn7_128.zip", "723425afcef6b0c82c9033a228778d2c1c0d54e2bda06c3b14173b050904a453"),
}


@dataclass(frozen=True)
class ImageSet:
    title: str
    path: str  # of the folder or the .zip file; empty: made up
    files: tuple[str, ...]  # within it
    classes: tuple[str, ...]
    labels: tuple[int, ...]  # from 1
    digest: str = ""  # of an own set's names and contents: part of a run's identity

    def read(self, size):
        """All images at ``size`` x ``size`` pixels, (N, 3, size, size) bytes."""
        return _read(self, size)


@lru_cache(maxsize=2)
def _read(images, size):
    made = synthetic.images()[0] if not images.path else None
    out = np.empty((len(images.files), 3, size, size), np.uint8)
    with _opened(images.path) as content:
        for number, name in enumerate(images.files):
            picture = _decoded(images.path, name, content(name)) if made is None else _from_bytes(made[number])
            out[number] = np.asarray(picture.resize((size, size), 3 if size > picture.width else 1)).transpose(2, 0, 1)
    return out


def _from_bytes(array):
    from PIL import Image

    return Image.fromarray(array)


class _opened:
    """Contents of a folder's or a .zip file's entries, by name."""

    def __init__(self, path):
        self.path = Path(path)

    def __enter__(self):
        if self.path.suffix != ".zip":
            return lambda name: (self.path / name).read_bytes()
        try:
            self.zip = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise HsiError(f"{self.path}: cannot be read as a .zip file ({error})") from None
        return self.zip.read

    def __exit__(self, *_):
        if hasattr(self, "zip"):
            self.zip.close()


def _decoded(path, name, data):
    """The image, or one line that names it."""
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except Exception as error:
        raise HsiError(f"{path}: {name} cannot be read as an image ({type(error).__name__})") from None
    if picture.mode != "RGB":
        raise HsiError(f"{path}: {name} is not RGB but {picture.mode}")
    return picture


def listed(path):
    """(files, classes, labels) of a folder or .zip file: below a common root, the first folder is the class."""
    path = Path(path)
    if path.suffix == ".zip" and path.is_file():
        with _opened(path) as content:
            found = content.__self__.namelist()
    elif path.is_dir():
        found = [str(PurePosixPath(p.relative_to(path))) for p in path.rglob("*") if p.is_file()]
    else:
        raise HsiError(f"{path}: neither a folder nor a .zip file")
    found = sorted(name for name in found if PurePosixPath(name).suffix.lower() in SUFFIXES and "__MACOSX" not in name)
    parts = [PurePosixPath(name).parts for name in found]
    depth = 0
    while parts and all(len(p) > depth + 2 and p[depth] == parts[0][depth] for p in parts):
        depth += 1  # one folder around all classes
    if not parts or any(len(p) < depth + 2 for p in parts):
        raise HsiError(f"{path}: expected one folder of images ({', '.join(sorted(SUFFIXES))}) per class")
    classes = sorted({p[depth] for p in parts})
    if len(classes) < 2:
        raise HsiError(f"{path}: images of one class only ({classes[0]})")
    return tuple(found), tuple(classes), tuple(classes.index(p[depth]) + 1 for p in parts)


def add(name, path, folder, skip=False):
    """Look at every image once, and note the set as ``name`` in ``folder``; returns the files left out."""
    files, classes, labels = listed(path)
    kept, left, content_hash = [], [], hashlib.sha256()
    with _opened(path) as content:
        for file, label in zip(files, labels):
            data = content(file)
            try:
                _decoded(path, file, data)
            except HsiError as error:
                if not skip:
                    raise HsiError(f"{error}; mend it, or leave such images out with --skip") from None
                left.append(file)
                continue
            kept.append((file, label))
            content_hash.update(file.encode() + b"\0" + data)
    counts = np.bincount([label for _, label in kept], minlength=len(classes) + 1)[1:]
    if len(kept) == 0 or counts.min() < 2:
        raise HsiError(f"{path}: class {classes[counts.argmin()]} has {counts.min()} usable images, needs 2")
    about = dict(title=name, path=str(Path(path).resolve()), classes=classes, digest=content_hash.hexdigest()[:12])
    about |= dict(files=[f for f, _ in kept], labels=[label for _, label in kept])
    write_atomically(Path(folder) / f"{name}.images.json", json.dumps(about))
    return left


def names(folders):
    own = [p.name.removesuffix(".images.json") for f in folders if f.is_dir() for p in f.glob("*.images.json")]
    return [*PUBLISHED, "synthetic_landuse", *sorted(set(own) - set(PUBLISHED))]


def find(name, folders, local):
    """The set of that name, None if there is none; ``local`` finds a published file on disk."""
    if name == "synthetic_landuse":
        _, labels, classes = synthetic.images()
        return ImageSet("Synthetic land use", "", tuple(map(str, range(len(labels)))), classes, tuple(map(int, labels + 1)))
    for folder in folders:
        path = folder / f"{name}.images.json"
        if path.is_file():
            try:
                about = json.loads(path.read_text())
                return ImageSet(**{k: tuple(v) if isinstance(v, list) else v for k, v in about.items()})
            except (ValueError, TypeError):
                raise HsiError(f"{path}: damaged; add the images again") from None
    if name in PUBLISHED:
        title, file, check = PUBLISHED[name]
        path = local(file, check)
        return ImageSet(title, str(path), *listed(path))
    return None
