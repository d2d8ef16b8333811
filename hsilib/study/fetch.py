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
        count, work = 0, Path(place) / "results"
        for name, data in _in_folder(Path(source)) if Path(source).is_dir() else _in_archive(source):
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_bytes(data)
            count += 1
        if not count:
            raise HsiError(f"{source}: it holds no published rows (book/results)")
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    return target, count


def _in_folder(folder):
    for path in (folder / "book" / "results").rglob("*"):
        name = PART.fullmatch(path.relative_to(folder).as_posix())
        if name and path.is_file() and not path.is_symlink():
            yield name[1], path.read_bytes()


def _in_archive(source):
    path = source
    try:
        if source.startswith("https://"):
            import pooch

            path = pooch.retrieve(source, None, path=cache_folder() / "releases")
        with zipfile.ZipFile(path) as archive:
            parts = [(part, PART.fullmatch(part.filename)) for part in archive.infolist()]
            if sum(part.file_size for part, name in parts if name) > MOST:
                raise HsiError(f"{path}: its rows take more than {MOST:,} bytes")
            yield from ((name[1], archive.read(part)) for part, name in parts if name)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        says = "name a checkout, or the .zip of a release or its address"
        raise HsiError(f"{source}: no archive that can be read ({reason(error)}); {says}") from None
