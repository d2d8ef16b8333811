"""Where the files of a scene come from: ``HSILIB_DATA`` (by name, at any depth), the cache, or a download.

A file whose fingerprint is known is checked.
"""

import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hsilib.errors import HsiError
from hsilib.files import cache_folder, fingerprint


@dataclass(frozen=True)
class File:
    """One file of a scene, and the array in it."""

    name: str
    key: str  # of the array
    check: str = ""  # ``sha256:...`` or ``git:...`` (git's blob id), if one is known
    url: str = ""

    @property
    def own(self) -> bool:
        """Whether it belongs to a scene of your own, which is noted with the whole path of its files."""
        return Path(self.name).is_absolute()


def data_folders() -> list[Path]:
    """Return the folders that are searched before any download: ``HSILIB_DATA``, then the cache."""
    named = os.environ.get("HSILIB_DATA")
    if named and not Path(named).is_dir():
        raise HsiError(f"HSILIB_DATA names {named}, which is not a folder")
    return ([Path(named)] if named else []) + [cache_folder() / "scenes"]


def local(file: File) -> Path | None:
    """Return where the file is on disk, or None."""
    if file.own:
        return Path(file.name) if Path(file.name).is_file() else None
    for folder in data_folders():
        if folder.is_dir():
            top = folder / file.name
            hits = [top] if top.is_file() else sorted(folder.rglob(file.name))
            if hits:
                return hits[0]
    return None


def sidecar(path: Path) -> str:
    """Return the SHA-256 that a deliberate substitute has beside it in ``NAME.sha256``, or an empty text."""
    side = path.with_name(path.name + ".sha256")
    return side.read_text().split()[0].lower() if side.is_file() and side.read_text().split() else ""


def changed(file: File, path: Path) -> bool:
    """Tell whether a file of an own scene is another one than when the scene was added."""
    return file.own and file.check != f"sha256:{remembered(path, path.stat().st_mtime_ns)}"


@lru_cache
def remembered(path: Path, when: int, kind: str = "sha256") -> str:
    """Return the fingerprint of a file as it is since ``when``; it is computed once."""
    return fingerprint(path, kind)


def _checked(file, path):
    kind, _, want = file.check.partition(":")
    if file.own:
        if changed(file, path):
            says = "it is another file than when the scene was added; add it again with scenes --add"
            raise HsiError(f"{path}: {says}")
        return path
    own = sidecar(path)
    if own:
        kind, want = "sha256", own
    if want and fingerprint(path, kind) != want:
        raise HsiError(
            f"{path}: checksum does not match ({kind} of the published file is {want[:12]}...); get the file "
            f"again, or, if this one is meant, write its SHA-256 into {path.name}.sha256 beside it"
        )
    return path


def locate(file: File, scene: str) -> Path:
    """Look in ``HSILIB_DATA``, then the cache, then download; else say in one line where to put the file."""
    path, reason = local(file), ""
    if path is None and file.url and not file.check:
        reason = " and is not downloaded, for nobody told what it must contain"
    elif path is None and file.url:
        import pooch

        part = cache_folder() / "scenes" / (file.name + ".part")
        try:
            pooch.retrieve(
                file.url, known_hash=None, fname=part.name, path=part.parent, progressbar=sys.stderr.isatty()
            )
            path = _checked(file, part).rename(part.with_suffix(""))
        except OSError as error:  # requests' errors are OSErrors too
            reason = f" and could not be downloaded ({type(error).__name__})"
        finally:
            part.unlink(missing_ok=True)  # a wrong download must not stand in for the file next time
    if path is None and file.own:
        says = "is not there; put it back, or add the scene again with scenes --add"
        raise HsiError(f"scene {scene}: {file.name} {says}")
    if path is None:
        folder = os.environ.get("HSILIB_DATA") or str(cache_folder() / "scenes")
        where = f" (public copy: {file.url})" if file.url else ""
        raise HsiError(
            f"scene {scene}: {file.name} not found{reason}; put it into {folder} or set HSILIB_DATA{where}"
        )
    return _checked(file, path)
