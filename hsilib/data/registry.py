"""What scenes there are, and where their files come from: ``HSILIB_DATA`` (by name, at any depth), the cache,
or a download.  A file whose fingerprint is known is checked.
"""

import hashlib
import json
import os
import sys
import tomllib
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hsilib.data import described, synthetic
from hsilib.errors import HsiError, known, reason
from hsilib.files import cache_folder, fingerprint, own_folder


@dataclass(frozen=True)
class File:
    """One file of a scene, and the array in it."""

    name: str
    key: str  # of the array
    check: str = ""  # ``sha256:...`` or ``git:...`` (git's blob id), if one is known
    url: str = ""

    @property
    def own(self) -> bool:
        """Whether it belongs to a scene of your own, whose files are noted with their whole path."""
        return Path(self.name).is_absolute()


@dataclass(frozen=True)
class Entry:
    """What the registry, ``scenes.toml``, says of a scene before any of its files is read."""

    title: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    cube: tuple[File, ...]  # one file, or several that are put together
    labels: File | None = None  # none of an embedded scene, which has no files
    train: File | None = None
    test: File | None = None
    form: str = "cube"  # how the files become a cube: see ``scenes.FORMS``
    bands: tuple[int, ...] = ()  # of pictures: which bands of the distributor's cube they show, from 1
    corners: tuple[tuple[int, int], ...] = ()  # of crops: their first row and column, from 0
    whole: tuple[int, ...] = ()  # rows and columns of the label map, of which the scene is a crop
    of: tuple[str, ...] = ()  # of a pair: the two scenes that stand side by side
    wavelengths: tuple[float, ...] = ()  # these five of own scenes: see ``Scene`` and ``formats.Image``
    bad: tuple[int, ...] = ()
    nodata: float | None = None
    crs: str = ""
    transform: tuple[float, ...] = ()
    label_numbers: tuple[int, ...] = ()  # number stored in the label map -> class number, where they differ
    train_numbers: tuple[int, ...] = ()  # the same for the training map
    train_fraction: float = 0.55
    lr: float = 1e-3
    rgb: tuple[int, int, int] = (29, 19, 9)
    citation: str = ""
    licence: str = "as stated by the distributor; cite the source"
    note: str = ""
    digest: str = field(default="", compare=False)  # of an own scene's files: part of a run's identity

    @property
    def files(self) -> tuple[File, ...]:
        """All files of the scene."""
        if self.of:
            return tuple(dict.fromkeys(file for name in self.of for file in REGISTRY[name].files))
        return (*self.cube, *filter(None, (self.labels, self.train, self.test)))


def _entry(table):
    """Make an entry of a table: files of their words, and tuples of lists."""
    files = table["cube"] if isinstance(table["cube"][0], list) else [table["cube"]]
    table = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    named = {part: File(*map(str, table[part])) for part in ("labels", "train", "test") if part in table}
    return Entry(**table | named | {"cube": tuple(File(*map(str, file)) for file in files)})


def _registry():
    tables = {}
    for name, table in tomllib.loads(Path(__file__).with_name("scenes.toml").read_text("utf-8")).items():
        tables[name] = tables.get(table.pop("like", None), {}) | table
    split = {name: [c.strip() for c in table["classes"].split(",")] for name, table in tables.items()}
    return {name: _entry(table | {"classes": split[name]}) for name, table in tables.items()}


REGISTRY: dict[str, Entry] = _registry()
SYNTHETIC_IMAGES = "synthetic_landuse"
RSSCN7 = "723425afcef6b0c82c9033a228778d2c1c0d54e2bda06c3b14173b050904a453"
# name: (title, file, SHA-256); a reduced copy of 128 x 128 pixels
PUBLISHED_IMAGES = {"rsscn7": ("RSSCN7 (RGB)", "rsscn7_128.zip", RSSCN7)}


def entry(name: str) -> Entry:
    """Return the registry entry of a scene, embedded and own scenes included."""
    if name in REGISTRY:
        return REGISTRY[name]
    if name in synthetic.SCENES:
        title, *shape, classes = synthetic.SCENES[name][:5]
        return Entry(title, tuple(shape), synthetic.named(name, classes), ())
    known("scene", name, names())
    with _description(name, "scene") as table:
        content = [table["cube"][1:], table["labels"][1:], table["classes"]]
        content += [table[part][1:] for part in ("train", "test") if part in table]
        content += [[part, table[part]] for part in ("bad", "nodata") if part in table]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]  # of what the file says
        return _entry(described.named(table) | {"digest": digest})


def own_images(name: str) -> dict[str, Any]:
    """Return the description of a set of images of your own."""
    with _description(name, "images") as table:
        table = described.named(table)
        return {part: table[part] for part in ("title", "path", "files", "classes", "labels", "digest")}


@contextmanager
def _description(name, kind):
    """Give what a file of your own says; whatever is wrong with it is one line."""
    path = own_folder() / f"{name}.{kind}.json"
    try:
        yield described.of_json(path.read_text("utf-8"))
    except Exception as error:
        raise HsiError(f"{path}: damaged ({reason(error)}); add the {kind} again") from None


def own_names(*kinds: str) -> list[str]:
    """Return the names of your own scenes and sets of images, or those of one kind."""
    files = [path for kind in kinds or ("scene", "images") for path in own_folder().glob(f"*.{kind}.json")]
    return sorted(path.name.removesuffix("".join(path.suffixes[-2:])) for path in files)


def image_names() -> list[str]:
    """Return the names of all sets of images: published, synthetic and own ones."""
    return list(dict.fromkeys([*PUBLISHED_IMAGES, SYNTHETIC_IMAGES, *own_names("images")]))


def names() -> list[str]:
    """Return the names of all scenes: published, synthetic and own ones, then the sets of images."""
    return list(dict.fromkeys([*REGISTRY, *synthetic.SCENES, *own_names("scene"), *image_names()]))


def identity(name: str) -> str:
    """Return what stands for the scene in a run's identity: its name, and a digest of unpublished files."""
    if name in synthetic.SCENES:
        return f"{name}@{synthetic.VERSION}"
    if name in (*PUBLISHED_IMAGES, SYNTHETIC_IMAGES):  # a published file is checked when it is read
        return name
    if name not in REGISTRY and name in image_names():
        return f"{name}@{own_images(name)['digest']}"
    listing = entry(name)
    marks, here = [name, listing.digest], at_hand(listing.files)
    for file in filter(here.get, listing.files):
        path = here[file]
        if file.own:
            _checked(file, path)  # the scene is what it was when it was added, or nothing is said of it
        elif sidecar(path) or not file.check:
            kind, _, want = file.check.partition(":")
            if remembered(path, path.stat().st_mtime_ns, kind or "sha256") != want:
                marks.append(remembered(path, path.stat().st_mtime_ns)[:12])
    return "@".join(filter(None, marks))


class Place(NamedTuple):
    """What a run needs to know of its scene; a whole plan looks it up once, because that reads files."""

    name: str
    content: str  # see ``identity``
    lr: float


def place(name: str) -> Place:
    """Check the name of a scene, and return what a run needs to know of the scene."""
    return Place(name, identity(name), REGISTRY.get(name, Entry).lr)  # any other has the rate of most


def data_folders() -> list[Path]:
    """Return the folders that are searched before any download: ``HSILIB_DATA``, then the cache."""
    named = os.environ.get("HSILIB_DATA")
    if named and not Path(named).is_dir():
        raise HsiError(f"HSILIB_DATA names {named}, which is not a folder")
    return ([Path(named)] if named else []) + [cache_folder() / "scenes"]


def at_hand(files: Sequence[File]) -> dict[File, Path]:
    """Return where those of these files are that are on disk; each folder is searched once, at any depth."""
    here = {file: Path(file.name) for file in files if file.own and Path(file.name).is_file()}
    wanted = [file for file in files if not file.own]
    for folder in data_folders() if wanted else []:
        for top in sorted(top for top, *_ in os.walk(folder)):
            here = {f: Path(top, f.name) for f in wanted if os.path.isfile(f"{top}/{f.name}")} | here
    return here


def located(files: Sequence[File], scene: str) -> dict[File, Path]:
    """Return where the files of a scene are, each the one it must be; what is not on disk is downloaded."""
    here = at_hand(files)
    return {file: _checked(file, here.get(file) or _download(file, scene)) for file in files}


def locate(file: File, scene: str) -> Path:
    """Return where one file is; see ``located``."""
    return located([file], scene)[file]


def sidecar(path: Path) -> str:
    """Return the SHA-256 that a deliberate substitute has beside it in ``NAME.sha256``, or an empty text."""
    side = path.with_name(path.name + ".sha256")
    return "".join(side.read_text("utf-8").split()[:1]).lower() if side.is_file() else ""


@lru_cache
def remembered(path: Path, when: int, kind: str = "sha256") -> str:
    """Return the fingerprint of a file as it is since ``when``; it is computed once."""
    return fingerprint(path, kind)


def _checked(file, path):
    """Return the path of a file that is the one it must be."""
    kind, _, want = file.check.partition(":")
    if not file.own and (substitute := sidecar(path)):
        kind, want = "sha256", substitute
    if want and remembered(path, path.stat().st_mtime_ns, kind) != want:
        says = "it is another file than when the scene was added; add it again with scenes --add"
        if not file.own:
            says = f"checksum does not match ({kind} of the published file is {want[:12]}...); get the file "
            says += f"again, or, if this one is meant, write its SHA-256 into {path.name}.sha256 beside it"
        raise HsiError(f"{path}: {says}")
    return path


def _download(file, scene):
    """Fetch a file into the cache; else say in one line where to put it."""
    if file.own:
        says = "is not there; put it back, or add the scene again with scenes --add"
        raise HsiError(f"scene {scene}: {file.name} {says}")
    folder, why, where = cache_folder() / "scenes", "", f" (public copy: {file.url})" * bool(file.url)
    if file.url and not file.check:
        why = " and is not downloaded, for nobody told what it must contain"
    elif file.url:
        import pooch

        part = folder / (file.name + ".part")
        words = dict(known_hash=None, fname=part.name, path=part.parent, progressbar=sys.stderr.isatty())
        try:
            pooch.retrieve(file.url, **words)
            return _checked(file, part).rename(part.with_suffix(""))
        except OSError as error:  # requests' errors are OSErrors too
            why = f" and could not be downloaded ({type(error).__name__})"
        finally:
            part.unlink(missing_ok=True)  # a wrong download must not stand in for the file next time
    put = f"put it into {os.environ.get('HSILIB_DATA') or folder} or set HSILIB_DATA"
    raise HsiError(f"scene {scene}: {file.name} not found{why}; {put}{where}")
