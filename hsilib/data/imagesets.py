"""Sets of images: a folder, or a .zip file, with one folder of images per class, as AID and EuroSAT come.

A set is listed at once, and its images are read when they are needed.
"""

import hashlib
import io
import os
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from hsilib.data import described, synthetic
from hsilib.data.registry import PUBLISHED_IMAGES, SYNTHETIC_IMAGES, File, locate, own_images
from hsilib.data.scenes import Scene
from hsilib.errors import HsiError
from hsilib.files import inside, outside, readable

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"}
LARGEST = 50_000_000  # bytes of one image: more is a mistake or an attack


@dataclass(frozen=True, eq=False)
class ImageSet(Scene):
    """A scene of one column, whose pixels are images, which are read when they are asked for."""

    path: str = ""  # of the folder or the .zip file; empty: made up, or not at hand
    files: tuple[str, ...] = ()  # within it
    digest: str = ""  # of an own set's names and contents: part of a run's identity
    of_images: ClassVar[bool] = True
    bands: ClassVar[int] = 3

    @lru_cache(maxsize=2)  # noqa: B019 - two sets at most stay in memory
    def read(self, size: int) -> np.ndarray:
        """Read all images at ``size`` x ``size`` pixels, as (N, 3, size, size) bytes."""
        from PIL import Image

        pictures = _decoded(self) if self.path else map(Image.fromarray, synthetic.images()[0])
        out = np.empty((len(self.files), 3, size, size), np.uint8)
        for number, picture in enumerate(pictures):
            how = Image.Resampling.BICUBIC if size > picture.width else Image.Resampling.LANCZOS
            out[number] = np.asarray(picture.resize((size, size), how)).transpose(2, 0, 1)
        return out


def _decoded(images):
    """Yield the images one after the other; an own set must still be what it was when it was added."""
    seen = hashlib.sha256()
    with _opened(images.path) as (_, content):
        for name in images.files:
            picture, mark = _image(images.path, name, content)
            seen.update(mark)
            yield picture
    if images.digest and seen.hexdigest()[:12] != images.digest:
        raise HsiError(f"{images.path}: images have changed since they were added; add them again")


@contextmanager
def _opened(path):
    """Give functions that list the names in a folder or .zip file, and read what one of them names."""
    if (path := Path(path)).is_dir():
        yield partial(_walked, path), lambda name: outside(path / name, LARGEST)
        return
    with readable(f"{path}: cannot be read as a .zip file"):
        archive = zipfile.ZipFile(path)

    def content(name):
        if archive.getinfo(name).file_size > LARGEST:
            raise HsiError(f"{path}: {name} has more bytes than an image of a set should")
        return archive.read(name)

    with archive:
        yield archive.namelist, content


def _walked(path):
    """The files of a folder; links to folders are not followed: what they lead to is in the set anyway."""
    found = []
    for top, folders, files in os.walk(path):
        for name in (*folders, *files):  # a link to a whole disk, or to what is nobody's business
            if not inside(Path(top, name), path):
                raise HsiError(f"{Path(top, name)}: a link out of the set; put a copy in its place")
        found += [Path(top, file).relative_to(path).as_posix() for file in files]
    return found


def _image(path, name, content):
    """Return an image and what it adds to the digest of its set, or raise one line that names it."""
    from PIL import Image

    with readable(f"{path}: {name} cannot be read as an image"):
        data = content(name)
        picture = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "TIFF", "BMP"))
        picture.load()  # Pillow refuses one of very many pixels
    if picture.mode != "RGB":
        raise HsiError(f"{path}: {name} is not RGB but {picture.mode}")
    return picture, name.encode(errors="surrogateescape") + b"\0" + hashlib.sha256(data).digest()


def listed(path: Path | str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
    """List files, classes and labels of a folder or .zip file; the first folder that differs is the class."""
    path = Path(path)
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() == ".zip"):
        raise HsiError(f"{path}: neither a folder nor a .zip file")
    with _opened(path) as (names, _):
        files = [file for file in map(PurePosixPath, sorted(set(names()))) if file.suffix.lower() in SUFFIXES]
    files = [file for file in files if not any(part[0] in "._" for part in file.parts)]  # hidden ones
    parts, depth = [file.parts for file in files], 0
    while parts and all(len(p) > depth + 2 and p[depth] == parts[0][depth] for p in parts):
        depth += 1  # one folder around all classes
    if not parts or any(len(p) < depth + 2 for p in parts):
        raise HsiError(f"{path}: expected one folder of images ({', '.join(sorted(SUFFIXES))}) per class")
    classes = sorted({p[depth] for p in parts})
    if not 2 <= len(classes) <= 255:
        raise HsiError(f"{path}: {len(classes)} folders of images, expected 2 to 255, one per class")
    labels = tuple(classes.index(p[depth]) + 1 for p in parts)
    return tuple(map(str, files)), tuple(map(described.plain, classes)), labels


def described_set(path: Path | str, skip: bool) -> tuple[dict[str, Any], list[str]]:
    """Look at each image once; return what describes the set, and the files left out."""
    files, classes, labels = listed(path)
    kept, left, seen = [], [], hashlib.sha256()
    with _opened(path) as (_, content):
        for file, label in zip(files, labels):
            try:
                seen.update(_image(path, file, content)[1])
                kept.append((file, label))
            except HsiError as error:
                if not skip:
                    raise HsiError(f"{error}; mend it, or leave such images out with --skip") from None
                left.append(file)
    counts = np.bincount([label for _, label in kept], minlength=len(classes) + 1)[1:]
    if counts.min() < 2:
        raise HsiError(f"{path}: class {classes[counts.argmin()]} has {counts.min()} usable images, needs 2")
    entry = dict(path=str(Path(path).resolve()), classes=classes, digest=seen.hexdigest()[:12])
    return entry | dict(zip(("files", "labels"), zip(*kept))), left


def open_set(name: str) -> ImageSet:
    """Return the set of images of that name."""
    digest, path = "", ""
    if name == SYNTHETIC_IMAGES:
        title, (_, labels, classes) = "Synthetic land use", synthetic.images()
        files, labels = map(str, range(len(labels))), labels + 1
    elif name in PUBLISHED_IMAGES:
        title, file, check = PUBLISHED_IMAGES[name]
        path = str(locate(File(file, "", f"sha256:{check}"), name))
        files, classes, labels = listed(path)
    else:
        title, path, files, classes, labels, digest = own_images(name).values()
    with readable(f"{name}: its description is damaged; add the images again"):
        words = dict(train_fraction=0.5, synthetic=not path, path=path, files=tuple(files), digest=digest)
        return ImageSet(name, title, None, np.array(labels, np.uint8)[:, None], tuple(classes), **words)
