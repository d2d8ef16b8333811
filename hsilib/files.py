"""Where things are kept, and how they are written."""

import hashlib
import os
from pathlib import Path


def project():
    """The checkout: where ``book`` and ``notebooks`` are.  ``HSILIB_PROJECT`` names it for an installed package."""
    return Path(os.environ.get("HSILIB_PROJECT") or Path(__file__).resolve().parents[1])


def cache_folder():
    """Downloads and trained weights: ``HSILIB_CACHE`` or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("HSILIB_CACHE") or platformdirs.user_cache_dir("hsilib"))


def write_atomically(path, data):
    """Write bytes or text through a temporary file, so that nobody ever sees half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data if isinstance(data, bytes) else data.encode())
    os.replace(temporary, path)


def fingerprint(path, kind="sha256"):
    """SHA-256 of a file, or git's blob id."""
    data = Path(path).read_bytes()
    if kind == "git":
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return hashlib.sha256(data).hexdigest()
