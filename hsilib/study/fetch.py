"""The published rows for an installed package, from a checkout or from the archive of a release."""

import re
import shutil
import tempfile
import zipfile
from pathlib import Path

from hsilib.errors import HsiError
from hsilib.files import cache_folder, own_folder, readable

PART = re.compile(r"(?:.*/)?book/results/((?:[\w-]+/){0,2}[\w.@-]+\.(?:csv|json|png))")
MOST = 1 << 30  # bytes that they may take


def fetch(source: str) -> tuple[Path, int]:
    """Bring them to where ``published`` looks; return that folder, and of how many files it is.

    source: the folder of a checkout, a .zip that holds ``book/results``, or the address of one.
    """
    says = "no archive that can be read; name a checkout, or the .zip of a release or its address"
    with readable(f"{source}: {says}"):
        files = dict(_in_folder(Path(source)) if Path(source).is_dir() else _in_archive(source))
    if not files:
        raise HsiError(f"{source}: it holds no published rows (book/results)")
    target = own_folder() / "published"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        work = Path(place) / "results"
        for name, data in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_bytes(data)
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    return target, len(files)


def _in_folder(folder):
    for path in (folder / "book" / "results").rglob("*"):
        name = PART.fullmatch(path.relative_to(folder).as_posix())
        if name and path.is_file() and not path.is_symlink():
            yield name[1], path.read_bytes()


def _in_archive(source):
    if source.startswith("https://"):
        import pooch

        source = pooch.retrieve(source, None, path=cache_folder() / "releases")
    with zipfile.ZipFile(source) as archive:
        parts = [(part, name) for part in archive.infolist() if (name := PART.fullmatch(part.filename))]
        if sum(part.file_size for part, _ in parts) > MOST:
            raise HsiError(f"{source}: its rows take more than {MOST:,} bytes")
        yield from ((name[1], archive.read(part)) for part, name in parts)
