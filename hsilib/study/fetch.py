"""The published rows for an installed package, from a checkout or from the archive of a release."""

import re
import shutil
import tempfile
import zipfile
from pathlib import Path

from hsilib.errors import HsiError, reason
from hsilib.files import cache_folder, own_folder

PART = re.compile(r"(?:.*/)?book/results/((?:[\w-]+/){0,2}[\w.@-]+\.(?:csv|json|png))")
MOST = 1 << 30  # bytes that they may take


def fetch(source: str) -> tuple[Path, int]:
    """Bring them to where ``published`` looks; return that folder, and of how many files it is.

    source: the folder of a checkout, a .zip that holds ``book/results``, or the address of one.
    """
    target = own_folder() / "published"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        work = Path(place) / "results"
        if Path(source).is_dir():
            _copied(Path(source) / "book" / "results", work)
        else:
            _unpacked(_downloaded(source) if source.startswith("https://") else Path(source), work)
        count = sum(path.is_file() for path in work.rglob("*"))
        if not count:
            raise HsiError(f"{source}: it holds no published rows (book/results)")
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    return target, count


def _copied(folder, work):
    work.mkdir()
    for path in folder.rglob("*"):
        name = PART.fullmatch(f"book/results/{path.relative_to(folder).as_posix()}")
        if name and path.is_file() and not path.is_symlink():
            (work / name[1]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, work / name[1])


def _downloaded(address):
    import pooch

    try:
        return Path(pooch.retrieve(address, None, path=cache_folder() / "releases"))
    except Exception as error:  # of the network, in many forms
        raise HsiError(f"{address}: cannot be had ({reason(error)})") from None


def _unpacked(path, work):
    work.mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [(part, PART.fullmatch(part.filename)) for part in archive.infolist()]
            if sum(part.file_size for part, name in parts if name) > MOST:
                raise HsiError(f"{path}: its rows take more than {MOST:,} bytes")
            for part, name in parts:
                if name:
                    (work / name[1]).parent.mkdir(parents=True, exist_ok=True)
                    (work / name[1]).write_bytes(archive.read(part))
    except (OSError, zipfile.BadZipFile) as error:
        says = "name a checkout, or the .zip of a release or its address"
        raise HsiError(f"{path}: no archive that can be read ({reason(error)}); {says}") from None
