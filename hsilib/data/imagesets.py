"""Sets of images: a folder, or a .zip file, with one folder of images per class (AID, RSSCN7, UC Merced, EuroSAT; RSOD, whose
images lie deeper, is read by the same rule).

A set is listed at once; its images are read when they are needed.  One that is damaged or not RGB is named and refused, or
left out on request when the set is added.
"""

import hashlib
import io
import json
import os
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from hsilib.data import synthetic
from hsilib.errors import HsiError
from hsilib.files import write_atomically

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"}
LARGEST, MOST_PIXELS = 50_000_000, 50_000_000  # bytes and pixels of one image: more is a mistake or an attack
PUBLISHED = {  # name: (title, file, SHA-256); a reduced copy of 128 x 128 pixels
    "rsscn7": (
        "RSSCN7 (RGB)", "rsscn7_128.zip", "723425afcef6b0c82c9033a228778d2c1c0d54e2bda06c3b14173b050904a453"
    )
}


@dataclass(frozen=True)
class ImageSet:
    title: str
    path: str  # of the folder or the .zip file; empty: made up
    files: tuple[str, ...]  # within it
    classes: tuple[str, ...]
    labels: tuple[int, ...]  # from 1
    digest: str = ""  # of an own set's names and contents: part of a run's identity

    @lru_cache(maxsize=2)  # noqa: B019 - two sets at most stay in memory
    def read(self, size):
        """All images at ``size`` x ``size`` pixels, (N, 3, size, size) bytes."""
        from PIL import Image

        pictures = _decoded(self) if self.path else map(Image.fromarray, synthetic.images()[0])
        out = np.empty((len(self.files), 3, size, size), np.uint8)
        for number, picture in enumerate(pictures):
            how = Image.Resampling.BICUBIC if size > picture.width else Image.Resampling.LANCZOS
            out[number] = np.asarray(picture.resize((size, size), how)).transpose(2, 0, 1)
        return out


def _decoded(images):
    """The images one after the other; an own set must still be what it was when it was added."""
    seen = hashlib.sha256()
    with _opened(images.path) as content:
        for name in images.files:
            data = content(name)
            seen.update(_marked(name, data))
            yield _image(images.path, name, data)
    if images.digest and seen.hexdigest()[:12] != images.digest:
        raise HsiError(f"{images.path}: images have changed since they were added; add them again")


def _marked(name, data):
    return name.encode(errors="surrogateescape") + b"\0" + hashlib.sha256(data).digest()


@contextmanager
def _opened(path):
    """A function from the names in a folder or a .zip file to contents, every failure one line."""
    path = Path(path)
    try:
        packed = zipfile.ZipFile(path) if path.is_file() else None
    except (OSError, zipfile.BadZipFile) as error:
        raise HsiError(f"{path}: cannot be read as a .zip file ({error})") from None

    def content(name):
        try:
            size = packed.getinfo(name).file_size if packed else (path / name).stat().st_size
            if size <= LARGEST:
                return packed.read(name) if packed else (path / name).read_bytes()
        except Exception as error:
            raise HsiError(f"{path}: {name} cannot be read ({type(error).__name__})") from None
        raise HsiError(
            f"{path}: {name} has {size / 1e6:.0f} MB, more than an image of a set should ({LARGEST / 1e6:.0f})"
        )

    try:
        yield content
    finally:
        if packed:
            packed.close()


def _image(path, name, data):
    """The decoded image, or one line that names it."""
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "TIFF", "BMP"))
        if picture.width * picture.height <= MOST_PIXELS:
            picture.load()
    except Exception as error:
        raise HsiError(f"{path}: {name} cannot be read as an image ({type(error).__name__})") from None
    if picture.width * picture.height > MOST_PIXELS:
        raise HsiError(
            f"{path}: {name} has {picture.width} x {picture.height} pixels, more than an image of a set should"
        )
    if picture.mode != "RGB":
        raise HsiError(f"{path}: {name} is not RGB but {picture.mode}")
    return picture


def listed(path):
    """(files, classes, labels) of a folder or .zip file: below a common root, the first folder is the class."""
    path = Path(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        with _opened(path):
            found = zipfile.ZipFile(path).namelist()
    elif path.is_dir():
        walked = os.walk(path, followlinks=True)
        found = [
            (Path(folder) / file).relative_to(path).as_posix()
            for folder, _, files in walked
            for file in files
        ]
    else:
        raise HsiError(f"{path}: neither a folder nor a .zip file")
    parts = {name: PurePosixPath(name).parts for name in sorted(set(found))}
    parts = {
        n: p
        for n, p in parts.items()
        if PurePosixPath(n).suffix.lower() in SUFFIXES and not any(q[0] in "._" for q in p)
    }
    every, depth = list(parts.values()), 0
    while every and all(len(p) > depth + 2 and p[depth] == every[0][depth] for p in every):
        depth += 1  # one folder around all classes
    if not every or any(len(p) < depth + 2 for p in every):
        raise HsiError(f"{path}: expected one folder of images ({', '.join(sorted(SUFFIXES))}) per class")
    classes = sorted({p[depth] for p in every})
    if not 2 <= len(classes) <= 255:
        raise HsiError(f"{path}: {len(classes)} folders of images, expected 2 to 255, one per class")
    return tuple(parts), tuple(classes), tuple(classes.index(p[depth]) + 1 for p in every)


def add(name, path, folder, skip=False):
    """Look at every image once, and note the set as ``name`` in ``folder``; returns the files left out."""
    files, classes, labels = listed(path)
    kept, left, seen = [], [], hashlib.sha256()
    with _opened(path) as content:
        for file, label in zip(files, labels):
            try:
                data = content(file)
                _image(path, file, data)
            except HsiError as error:
                if not skip:
                    raise HsiError(f"{error}; mend it, or leave such images out with --skip") from None
                left.append(file)
                continue
            kept.append((file, label))
            seen.update(_marked(file, data))
    counts = np.bincount([label for _, label in kept], minlength=len(classes) + 1)[1:]
    if len(kept) == 0 or counts.min() < 2:
        raise HsiError(f"{path}: class {classes[counts.argmin()]} has {counts.min()} usable images, needs 2")
    about = dict(title=name, path=str(Path(path).resolve()), classes=classes, digest=seen.hexdigest()[:12])
    about |= dict(files=[f for f, _ in kept], labels=[label for _, label in kept])
    write_atomically(Path(folder) / f"{name}.images.json", json.dumps(about))
    return left


def names(folders):
    own = [
        p.name.removesuffix(".images.json") for f in folders if f.is_dir() for p in f.glob("*.images.json")
    ]
    return [*PUBLISHED, "synthetic_landuse", *sorted(set(own) - set(PUBLISHED))]


def find(name, folders, local):
    """The set of that name, None if there is none; ``local`` finds a published file on disk."""
    if name == "synthetic_landuse":
        _, labels, classes = synthetic.images()
        return ImageSet(
            "Synthetic land use", "", tuple(map(str, range(len(labels)))), classes,
            tuple(map(int, labels + 1))
        )
    if name in PUBLISHED:
        title, file, check = PUBLISHED[name]
        path = local(file, check)
        return ImageSet(title, str(path), *listed(path))
    for folder in folders:
        path = folder / f"{name}.images.json"
        if path.is_file():
            try:
                about = json.loads(path.read_text())
                return ImageSet(**{k: tuple(v) if isinstance(v, list) else v for k, v in about.items()})
            except (ValueError, TypeError, AttributeError):
                raise HsiError(f"{path}: damaged; add the images again") from None
    return None
