"""Scenes: what is known of them, and how they are loaded and checked.

A scene is a cube (H, W, B), a label map (H, W) with 0 = unlabelled, class names, and the published train and
test maps if there are any.  Of a set of spectra only some pixels are at hand, so that there are no windows.
A set of images is a scene of one column whose pixels are images.
"""

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hsilib.data import described, imagesets, pieces, synthetic
from hsilib.data.formats import Image, label_map, of_array, read_array
from hsilib.data.locate import File, local, locate, remembered, sidecar
from hsilib.errors import HsiError, known
from hsilib.files import own_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EHU = "https://www.ehu.eus/ccwintco/uploads/"
GIT = "https://raw.githubusercontent.com/"
LARGE = 1 << 29  # bytes of a cube of float32 that is not held in memory


@dataclass(frozen=True, repr=False)
class Scene:
    """What all later steps see; a card has neither cube nor spectra, only the committed label maps.

    One from arrays trains as any other: ``plan`` keeps it among your own scenes, under its name.

    >>> cube, labels = np.random.rand(30, 40, 20).astype("float32"), np.ones((30, 40), "uint8")
    >>> Scene("field", "A field", cube, labels, classes=("wheat",))
    Scene('field', 30 x 40 pixels, 20 bands, 1 class)
    """

    name: str
    title: str
    cube: np.ndarray | None  # (H, W, B) float32; a set of spectra has none, and a large scene
    labels: np.ndarray  # (H, W) uint8, 0 = unlabelled
    classes: tuple[str, ...]
    train_map: np.ndarray | None = None  # published training map, class numbers of ``labels``
    test_map: np.ndarray | None = None
    train_fraction: float = 0.55  # of the random split
    rgb: tuple[int, int, int] = (0, 0, 0)
    synthetic: bool = False
    of_spectra: bool = False  # a set of spectra: only the pixels of ``there`` are at hand
    spectra: np.ndarray | None = None  # (N, B) float32, theirs, row by row
    there: np.ndarray | None = None  # (H, W) bool: which pixels have data; None: all
    second: int = 0  # of two images side by side: the first column of the second
    image: Image | None = None  # of a large scene: where it is read from, by rows
    wavelengths: tuple[float, ...] = ()  # of the bands, in nm, where they are known
    crs: str = ""  # where the scene lies on the ground: the reference system ...
    transform: tuple[float, ...] = ()  # ... and the six numbers from (column, row) to it
    of_images: bool = False  # a set of images: labels (N, 1), no cube
    pictures: imagesets.ImageSet | None = None  # where its images are read from; a card has none

    @property
    def bands(self) -> int:
        """How many bands it has; a card does not say."""
        if self.of_images:
            return 3
        held = next(part for part in (self.cube, self.spectra, self.image) if part is not None)
        return int(held.shape[-1])

    def __repr__(self) -> str:
        count, (h, w) = len(self.classes), self.labels.shape
        known = any(part is not None for part in (self.cube, self.spectra, self.image))
        size = f"{h} images" if self.of_images else f"{h} x {w} pixels"
        bands = f", {self.bands} bands" if known else ""
        return f"Scene({self.name!r}, {size}{bands}, {count} class{'es' * (count != 1)})"

    def plot(self, *maps: np.ndarray, titles: Sequence[str] = ()) -> "Figure":
        """Draw the scene in false colour, its labels, and beside them any class maps (H, W) of yours.

        >>> load_scene("synthetic_urban_small").plot().savefig("scene.png")
        """
        from hsilib.data import draw  # here, for it builds on cards, and these on scenes

        picture, named = draw.false(self), [*titles, *[f"map {i}" for i in range(len(titles) + 1, 99)]]
        panels = [] if picture is None else [("false colour", picture)]
        panels += [("ground truth", self.labels), *zip(named, maps)]
        return draw.side_by_side(panels, self.classes)


@dataclass(frozen=True)
class Entry:
    """What the registry, ``scenes.toml``, says of a scene before any of its files is read."""

    title: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    cube: tuple[File, ...]  # one file, or several that are put together
    labels: File
    train: File | None = None
    test: File | None = None
    form: str = "cube"  # how the files become a cube: see ``pieces``
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


def _registry():
    hosts = {"EHU/": EHU, "GIT/": GIT}
    entries = {}
    tables = tomllib.loads(Path(__file__).with_name("scenes.toml").read_text())
    for name, table in tables.items():
        tables[name] = tables.get(table.pop("like", None), {}) | table
        table = dict(tables[name])
        table["classes"] = [c.strip() for c in table["classes"].split(",")]
        for part in {"labels", "train", "test"} & set(table):
            table[part] = _file(table[part], hosts)
        files = table["cube"] if isinstance(table["cube"][0], list) else [table["cube"]]
        table["cube"] = [_file(file, hosts) for file in files]
        entries[name] = Entry(**_tuples(table))
    return entries


def _file(words, hosts):
    *rest, url = words
    return File(*rest, hosts.get(url[:4], "") + url[4:])


def _tuples(table):
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


REGISTRY: dict[str, Entry] = _registry()


# ---------------------------------------------------------------------------------------------- loading


def entry(name: str) -> Entry:
    """Return the registry entry of a scene, own scenes included."""
    path = own_folder() / f"{name}.scene.json"
    if str(name).isidentifier() and path.is_file():
        try:
            table = _tuples(described.scene(path.read_text()))
        except (HsiError, ValueError, OSError) as error:
            raise HsiError(f"{path}: damaged ({error}); add the scene again") from None
        content = [table["cube"][1:], table["labels"][1:], table["classes"]]
        content += [table[part][1:] for part in ("train", "test") if part in table]
        content += [[part, table[part]] for part in ("bad", "nodata") if part in table]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
        table |= {part: File(*table[part]) for part in ("labels", "train", "test") if part in table}
        table |= described.named(table)  # behind the digest, which is of what the file says
        return Entry(**table | {"cube": (File(*table["cube"]),), "digest": digest})
    return REGISTRY[_named(name)]


def _named(name):
    if str(name) not in names() and (Path(name).suffix or Path(name).name != str(name)):
        says = "a file is no name of a scene; add_scene(name, cube, labels) makes a scene of files"
        raise HsiError(f"{name}: {says}")
    return known("scene", name, names())


def image_set(name: str) -> imagesets.ImageSet | None:
    """Return the set of images of that name, or None."""
    return imagesets.find(
        name, own_folder(), lambda file, check: locate(File(file, "", f"sha256:{check}"), name)
    )


def image_names() -> list[str]:
    """Return the names of all sets of images, own sets included."""
    return imagesets.names(own_folder())


def names() -> list[str]:
    """Return the names of all scenes: published, synthetic and own ones, then the sets of images."""
    own = {path.name.removesuffix(".scene.json") for path in own_folder().glob("*.scene.json")}
    return [*REGISTRY, *synthetic.SCENES, *sorted(own - set(REGISTRY)), *image_names()]


def identity(name: str) -> str:
    """Return what stands for the scene in a run's identity: its name, and a digest of unpublished files."""
    if name in synthetic.SCENES:
        return f"{name}@{synthetic.VERSION}"
    if name in image_names():  # a published file is checked when it is read
        digest = "" if name in imagesets.PUBLISHED else image_set(name).digest
        return f"{name}@{digest}" if digest else name
    listing = entry(name)
    marks = [listing.digest] if listing.digest else []
    for file in listing.files:
        path = local(file)
        if file.own and path is not None:
            locate(file, name)  # the scene is what it was when it was added, or nothing is said of it
        elif path is not None and (sidecar(path) or not file.check):
            kind, _, want = file.check.partition(":")
            when = path.stat().st_mtime_ns
            if remembered(path, when, kind or "sha256") != want:
                marks.append(remembered(path, when)[:12])
    return "@".join([name, *marks])


class Place(NamedTuple):
    """What a run needs to know of its scene; a whole plan looks it up once, because that reads files."""

    name: str
    content: str  # see ``identity``
    lr: float


def place(name: str) -> Place:
    """Check the name of a scene, and return what a run needs to know of the scene."""
    _named(name)
    content = identity(name)
    return Place(name, content, 1e-3 if name in (*synthetic.SCENES, *image_names()) else entry(name).lr)


@lru_cache(maxsize=3)
def load_scene(name: str) -> Scene:
    """Load a scene and check it: its shapes, that its values are finite, and the range of its labels.

    >>> scene = load_scene("synthetic_urban_small")
    >>> scene.cube.shape, scene.labels.shape, len(scene.classes)
    ((64, 48, 103), (64, 48), 9)
    """
    if name in synthetic.SCENES:
        made = synthetic.make(name)
        return Scene(name, made.pop("title"), synthetic=True, **made)
    pictures = image_set(name) if name in image_names() else None
    if pictures:
        labels = np.array(pictures.labels, np.uint8)[:, None]
        return Scene(
            name, pictures.title, None, labels, pictures.classes, train_fraction=0.5,
            synthetic=not pictures.path, of_images=True, pictures=pictures,
        )
    listing = entry(name)
    if listing.of:
        return _side_by_side(name, listing)
    paths = [locate(file, name) for file in listing.cube]
    made, maps = pieces.read(listing, paths), _maps(listing, name)
    taken = ("classes", "train_fraction", "rgb", "wavelengths", "crs", "transform")
    about = {part: getattr(listing, part) for part in taken}
    if not isinstance(made, Image):
        about |= dict(of_spectra=True, spectra=made[0], there=made[1])
        return Scene(name, listing.title, None, **_where(maps, made[1]), **about)
    large = 4 * np.prod(made.shape, dtype=float) > LARGE
    if large:
        cube, there = None, np.concatenate([made.rows(*strip)[1] for strip in made.strips()])
    else:
        cube, there = made.rows(0, made.shape[0])
    if not there.any():
        raise HsiError(f"{paths[0]}: every pixel holds {listing.nodata:g}, which stands for no data")
    there = None if there.all() else there
    image = made if large else None
    return Scene(name, listing.title, cube, **_where(maps, there), **about, there=there, image=image)


def _side_by_side(name, listing):
    """Two scenes in one: between them a gap without data, labelled are the classes that both have."""
    left, right = map(load_scene, listing.of)
    h, w, _ = listing.shape
    second = w - right.labels.shape[1]
    cube, labels = np.zeros(listing.shape, np.float32), np.zeros((h, w), np.uint8)
    there = np.zeros((h, w), bool)
    for part, column in ((left, 0), (right, second)):
        rows, columns = part.labels.shape
        place = np.s_[:rows, column : column + columns]
        common = [listing.classes.index(c) + 1 if c in listing.classes else 0 for c in part.classes]
        labels[place] = np.array([0, *common], np.uint8)[part.labels]
        cube[place], there[place] = part.cube, True
    about = dict(rgb=listing.rgb, train_fraction=listing.train_fraction, there=there, second=second)
    return Scene(name, listing.title, cube, labels, listing.classes, **about)


def image_of(name: str) -> Image:
    """Return a scene as an image that is read by rows, from its file where it is all in one."""
    if name not in synthetic.SCENES and name not in image_names():
        listing = entry(name)
        if listing.form == "cube":
            return pieces.read(listing, [locate(file, name) for file in listing.cube])
    cube = load_scene(name).cube
    if cube is None:
        raise HsiError(f"{name} is no image of the ground: it has no windows")
    return of_array(cube, name)


def _where(maps, there):
    """Return label maps with none where there is no data."""
    if there is None:
        return maps
    return {part: None if labels is None else np.where(there, labels, 0) for part, labels in maps.items()}


def _maps(listing, name):
    """Read the label map, and the training and test maps if any are published."""
    h, w, _ = listing.shape
    path = locate(listing.labels, name)
    if listing.form == "columns":  # the class of a pixel is its largest abundance
        fractions = read_array(path, listing.labels.key)
        expected = (len(listing.classes), h * w)
        if fractions.shape != expected:
            raise HsiError(f"{path}: abundances have shape {fractions.shape}, expected {expected}")
        labels = (fractions.argmax(0).reshape(w, h).T + 1).astype(np.uint8)
    else:
        keys = listing.labels.key.split("+")
        labels = sum(label_map(path, key, listing.whole or (h, w)) for key in keys)
        if listing.whole:
            (row, column), *_ = listing.corners
            labels = labels[row : row + h, column : column + w]
        labels = _renumber(labels, listing.label_numbers, path)
    if labels.max() > len(listing.classes):
        raise HsiError(f"{path}: label {labels.max()} but only {len(listing.classes)} classes")
    train = test = None
    if listing.train:
        path = locate(listing.train, name)
        train = _renumber(label_map(path, listing.train.key, (h, w)), listing.train_numbers, path)
    if listing.test:
        test = label_map(locate(listing.test, name), listing.test.key, (h, w))
    return dict(labels=labels, train_map=train, test_map=test)


def _renumber(labels, numbers, path):
    if numbers and labels.max() >= len(numbers):
        raise HsiError(f"{path}: label {labels.max()}, expected 0 to {len(numbers) - 1}")
    return np.array(numbers, np.uint8)[labels] if numbers else labels
