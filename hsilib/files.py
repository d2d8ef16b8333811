"""Where the project and its cache lie, and how files are written and recognised."""

import hashlib
import io
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hsilib.errors import HsiError, reason

if TYPE_CHECKING:
    import numpy as np

DAY = 86_400  # seconds after which nobody still writes a temporary file
TRAVELS = Path(__file__).parents[1] / "hsibook" / "project"  # what the book's wheel holds of a checkout


def project() -> Path:
    """Return the checkout, or the part of it in the book's wheel; ``HSILIB_PROJECT`` names another."""
    here = TRAVELS if TRAVELS.is_dir() else Path(__file__).parents[1]
    return Path(os.environ.get("HSILIB_PROJECT") or here).resolve()


def built() -> Path:
    """Return where pages are made: the checkout, or the current folder where there is none."""
    return Path.cwd() if project() == TRAVELS.resolve() else project()


def workplace() -> Path:
    """Return the folder in which new files go: the checkout if one stands in it, else the current folder."""
    here = Path.cwd()
    return project() if (project() / "book").is_dir() and here.is_relative_to(project()) else here


def cache_folder() -> Path:
    """Return the folder of downloads and trained weights: ``HSILIB_CACHE``, or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("HSILIB_CACHE") or platformdirs.user_cache_dir("hsilib"))


def own_folder() -> Path:
    """Return the folder that notes your own scenes and images: ``HSILIB_OWN``, or the user's data folder."""
    import platformdirs

    return Path(os.environ.get("HSILIB_OWN") or platformdirs.user_data_dir("hsilib"))


def temporary(path: Path) -> Path:
    """Return a new name beside a file or folder, under which it is written before it is renamed."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def clear(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes left in a folder more than a day ago."""
    for path in folder.glob(".*.part*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > DAY:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_atomically(path: Path | str, data: bytes | str) -> None:
    """Write bytes or text through a temporary file, so that nobody ever sees half a file."""
    path = Path(path)
    part = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part, data)
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with suppress(OSError):
            part.unlink()


def write(path: Path, data: bytes | str) -> None:
    """Write bytes or text, and return when the disk has them."""
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
        file.flush()
        os.fsync(file.fileno())


def write_array(path: Path | str, array: "np.ndarray") -> None:
    """Write an array as .npy, in the same way."""
    import numpy as np

    data = io.BytesIO()
    np.save(data, array)
    write_atomically(path, data.getvalue())


@contextmanager
def readable(says: str) -> Iterator[None]:
    """Turn whatever a reader raises on a file from outside into one line: what ``says``, and why."""
    try:
        yield
    except HsiError:
        raise
    except Exception as error:  # a file may be damaged in any way
        raise HsiError(f"{says} ({reason(error)})") from None


def outside(path: Path | str, most: int) -> bytes:
    """Return the bytes of a file that comes from outside: a file, and of so many bytes at most."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if not path.is_file():  # a pipe never ends, and neither does a device
            raise HsiError(f"{path}: no file")
        if size > most:
            raise HsiError(f"{path}: {size:,} bytes, more than the {most:,} that such a file may have")
        return path.read_bytes()
    except OSError as error:
        raise HsiError(f"{path}: {error.strerror or error}") from None


def inside(path: Path | str, folder: Path | str) -> bool:
    """Say whether a path, its links followed, lies in a folder."""
    return Path(path).resolve().is_relative_to(Path(folder).resolve())


def fingerprint(path: Path | str, kind: str = "sha256") -> str:
    """Return the SHA-256 of a file, or with the kind ``git`` the id that git gives its contents."""
    size = Path(path).stat().st_size
    with open(path, "rb") as file:
        start = hashlib.sha1(b"blob %d\0" % size) if kind == "git" else hashlib.sha256()
        return hashlib.file_digest(file, lambda: start).hexdigest()
