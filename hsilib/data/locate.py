"""Where the files of a scene are found: ``HSILIB_DATA`` (by name, at any depth), then the cache, then a download.

Every file with a known fingerprint is checked.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from hsilib.errors import HsiError
from hsilib.files import cache_folder, fingerprint


@dataclass(frozen=True)
class File:
    """One file of a scene: ``check`` is ``sha256:...``, ``git:...`` (git's blob id) or empty when none is known."""

    name: str
    key: str
    check: str = ""
    url: str = ""


def data_folders():
    """Folders searched before any download: ``HSILIB_DATA``, then the cache."""
    named = os.environ.get("HSILIB_DATA")
    if named and not Path(named).is_dir():
        raise HsiError(f"HSILIB_DATA names {named}, which is not a folder")
    return ([Path(named)] if named else []) + [cache_folder() / "scenes"]


def local(file):
    """The file on disk, or None."""
    if Path(file.name).is_absolute():  # of an own scene
        return Path(file.name) if Path(file.name).is_file() else None
    for folder in data_folders():
        if folder.is_dir():
            hit = folder / file.name
            found = [hit] if hit.is_file() else sorted(folder.rglob(file.name))
            if found:
                return found[0]
    return None


def sidecar(path):
    """A deliberate substitute carries its own SHA-256 in ``NAME.sha256`` beside it."""
    side = path.with_name(path.name + ".sha256")
    return side.read_text().split()[0].lower() if side.is_file() and side.read_text().split() else ""


def _checked(file, path):
    kind, _, want = file.check.partition(":")
    own = sidecar(path)
    if own:
        kind, want = "sha256", own
    if want and fingerprint(path, kind) != want:
        raise HsiError(
            f"{path}: checksum does not match ({kind} of the published file is {want[:12]}...); get the file again, "
            f"or, if this one is meant, write its SHA-256 into {path.name}.sha256 beside it"
        )
    return path


def locate(file, scene):
    """Look-up order: ``HSILIB_DATA``, cache, download; else one line that says which file to put where."""
    path, reason = local(file), ""
    if path is None and file.url:
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
    if path is None:
        folder = os.environ.get("HSILIB_DATA") or str(cache_folder() / "scenes")
        where = f" (public copy: {file.url})" if file.url else ""
        raise HsiError(
            f"scene {scene}: {file.name} not found{reason}; put it into {folder} or set HSILIB_DATA{where}"
        )
    return _checked(file, path)
