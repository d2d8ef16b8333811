"""Scenes, and how they are opened and checked.

A scene is a cube (H, W, B), a label map (H, W) with 0 = unlabelled, class names, and the published train and
test maps if there are any.  Of a set of spectra only some pixels are at hand, so that there are no windows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hsilib.data import damage, synthetic
from hsilib.data.formats import Image, check_cube, label_map, of_array, open_image, read_array
from hsilib.data.registry import REGISTRY, Entry, entry, image_names, located
from hsilib.errors import HsiError, shown
from hsilib.files import readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGE = 1 << 29  # bytes of a cube of float32 that is not held in memory


@dataclass(frozen=True, eq=False, repr=False)
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

    of_images: ClassVar[bool] = False  # see ``imagesets.ImageSet``

    def __post_init__(self) -> None:
        for part in ("labels", "train_map", "test_map") if self.cube is not None else ():
            array = getattr(self, part)
            if array is not None and array.shape != self.cube.shape[:2]:
                says = f"{part} has the shape {array.shape}, the cube {self.cube.shape}"
                raise HsiError(f"scene {self.name}: {says}")
        if self.labels.size and self.labels.max() > len(self.classes):
            says = f"label {self.labels.max()} but only {len(self.classes)} class names"
            raise HsiError(f"scene {self.name}: {says}")

    @property
    def bands(self) -> int:
        """How many bands it has; a card has none."""
        held = [part.shape[-1] for part in (self.cube, self.spectra, self.image) if part is not None]
        return int(held[0]) if held else 0

    def __repr__(self) -> str:
        count, (h, w) = len(self.classes), self.labels.shape
        size = f"{h} images" if self.of_images else f"{h} x {w} pixels"
        bands = f", {self.bands} bands" if self.bands and not self.of_images else ""
        return f"Scene({self.name!r}, {size}{bands}, {count} class{'es' * (count != 1)})"

    def plot(self, *maps: np.ndarray, titles: Sequence[str] = ()) -> "Figure":
        """Draw the scene in false colour, its labels, and beside them any class maps (H, W) of yours.

        >>> load_scene("synthetic_urban_small").plot().savefig("scene.png")
        """
        from hsilib.data import cards  # here, for these build on scenes

        named = [*titles, *[f"map {i}" for i in range(len(titles) + 1, 99)]]
        panels = [("ground truth", self.labels), *zip(named, maps)]
        if self.cube is not None:
            colours = cards.false_colour(self.cube.reshape(-1, self.bands), self.rgb)
            panels.insert(0, ("false colour", colours.reshape(*self.labels.shape, 3)))
        return cards.side_by_side(panels, self.classes)


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
    if name not in REGISTRY and name in image_names():
        from hsilib.data.imagesets import open_set  # here, for sets build on scenes

        return open_set(name)
    with readable(f"scene {name}: cannot be loaded"):
        listing = entry(name)
        return _side_by_side(name, listing) if listing.of else _loaded(name, listing)


def _loaded(name, listing):
    """Read the cube and the maps of a scene; what is without data has no label."""
    paths = located(listing.files, name)
    made, held = read(listing, [paths[file] for file in listing.cube]), {"cube": None}
    if not isinstance(made, Image):
        held |= dict(of_spectra=True, spectra=made[0])
        there = made[1]
    elif 4 * np.prod(made.shape, dtype=float) > LARGE:
        held["image"], there = made, np.concatenate([made.rows(*strip)[1] for strip in made.strips()])
    else:
        held["cube"], there = made.rows(0, made.shape[0])
    shape, whole = listing.shape[:2], listing.whole or listing.shape
    numbers = {"labels": listing.label_numbers, "train": listing.train_numbers}
    for part, file in (("labels", listing.labels), ("train", listing.train), ("test", listing.test)):
        if file is None:
            continue
        if listing.form == "columns":  # the class of a pixel is its largest abundance
            labels = read_array(paths[file], file.key).argmax(0).reshape(shape[::-1]).T + 1
        else:
            labels = sum(label_map(paths[file], key, whole) for key in file.key.split("+"))
        if listing.whole:
            (row, column), *_ = listing.corners
            labels = labels[row : row + shape[0], column : column + shape[1]]
        labels = np.array(numbers[part], np.uint8)[labels] if numbers.get(part) else labels.astype(np.uint8)
        held[part if part == "labels" else f"{part}_map"] = labels * there
    held["there"] = None if there.all() and isinstance(made, Image) else there
    taken = ("title", "classes", "train_fraction", "rgb", "wavelengths", "crs", "transform")
    return Scene(name, **held, **{part: getattr(listing, part) for part in taken})


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
    listing = None if name in (*synthetic.SCENES, *image_names()) else entry(name)
    if listing and listing.form == "cube":  # its labels need not be there
        return read(listing, list(located(listing.cube, name).values()))
    cube = load_scene(name).cube
    if cube is None:
        raise HsiError(f"{name} is no image of the ground: it has no windows")
    return of_array(cube, name)


# ------------------------------------------------------- how the files of a published scene become its cube


def read(listing: Entry, paths: Sequence[Path]) -> Image | tuple[np.ndarray, np.ndarray]:
    """Return the image; or of a set of spectra (N, B) them and a map that is True where they belong."""
    made = FORMS[listing.form](listing, paths)
    made = made if isinstance(made, Image | tuple) else of_array(made, paths[0])
    if isinstance(made, Image) and made.shape != listing.shape:
        raise HsiError(f"{paths[0]}: the cube has shape {made.shape}, expected {shown(listing.shape)}")
    return made


def _cube(listing, paths):
    """One array: rows, columns, bands; bands that are called bad are left out."""
    return replace(open_image(paths[0], listing.cube[0].key), bad=listing.bad, nodata=listing.nodata)


def _columns(listing, paths):
    """One array, a column for each pixel, column by column of the scene."""
    h, w, bands = listing.shape
    return read_array(paths[0], listing.cube[0].key).reshape(bands, w, h).transpose(2, 1, 0)


def _pictures(listing, paths, turns=0):
    """Colour pictures, each of three bands, stacked in the order of the wavelengths, after quarter turns."""
    cube = np.rot90(np.concatenate([read_array(path, "") for path in paths], 2), turns)
    return cube[..., np.argsort(listing.bands)]


def _spectra(listing, paths):
    """A list of spectra with the places of their pixels, and crops of the cube."""
    h, w, bands = listing.shape
    rows, columns = np.array([row["xy"] for row in json.loads(paths[1].read_text("utf-8"))["rows"]]).T
    cube, there = np.zeros(listing.shape, np.float32), np.zeros((h, w), bool)
    cube[rows, columns], there[rows, columns] = np.fromfile(paths[0], "<f4").reshape(len(rows), bands), True
    for file, path, (row, column) in zip(listing.cube[2:], paths[2:], listing.corners):
        crop = read_array(path, file.key)
        place = np.s_[row : row + crop.shape[0], column : column + crop.shape[1]]
        cube[place], there[place] = crop, True
    return check_cube(cube[there], paths[0]), there


def _undamaged(listing, paths):
    """The 8-bit copy on the scale of the crop."""
    copy, crop = (read_array(path, file.key) for path, file in zip(paths, listing.cube))
    return damage.rebuild(copy, crop, listing.corners[0])


FORMS = {
    "cube": _cube, "columns": _columns, "pictures": _pictures, "turned": partial(_pictures, turns=1),
    "spectra": _spectra, "undamaged": _undamaged,
    "damaged": lambda listing, paths: damage.text_mode(_undamaged(listing, paths)),  # every byte 13 is 10
}
