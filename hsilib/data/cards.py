"""What the book shows of a scene without its cube: a card of label maps, a false-colour image and spectra."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hsilib.data import described, imagesets, registry, scenes
from hsilib.errors import HsiError
from hsilib.files import write_atomically

# a scene without its cube, its false-colour image, and the mean and sd of the spectra of each class
Card = tuple[scenes.Scene, np.ndarray | None, pd.DataFrame | None]

# Index 0 is unlabelled.  Ordered so that neighbours in the list differ in lightness, and so also in grey.
CLASSES = [
    (24, 24, 24), (230, 159, 0), (0, 90, 160), (240, 228, 66), (0, 158, 115), (213, 94, 0), (86, 180, 233),
    (160, 60, 110), (190, 220, 120), (110, 60, 20), (204, 170, 220), (40, 110, 50), (250, 190, 170),
    (70, 50, 130), (150, 150, 150), (140, 200, 190), (255, 105, 180),
]
# paler ones, for scenes with more classes
CLASSES += [tuple(round(0.55 * c + 0.45 * 255) for c in colour) for colour in CLASSES[1:16]]


def write_card(folder: Path, scene: scenes.Scene) -> None:
    """Leave the card of a scene in a folder."""
    for name in ("labels", "train_map", "test_map"):
        if getattr(scene, name) is not None:
            write_atomically(folder / f"{name}.png", png(getattr(scene, name)))
    if not scene.of_images:
        picture, labelled = _looked_at(scene)
        write_atomically(folder / "rgb.png", encode(picture, "RGB"))
        labels, spectra = scene.labels[scene.labels > 0], {}
        for number, name in enumerate(scene.classes, 1):
            pixels = labelled[labels == number]
            if len(pixels):
                spectra[name], spectra[name + " sd"] = pixels.mean(0), pixels.std(0)
        write_atomically(folder / "spectra.csv", pd.DataFrame(spectra).round(4).to_csv(index_label="band"))
    fields = ("title", "classes", "train_fraction", "synthetic", "of_spectra", "of_images", "wavelengths")
    card = {field: getattr(scene, field) for field in (*fields, *["second"] * bool(scene.second))}
    card |= {"bands": scene.bands, "identity": registry.identity(scene.name)}
    write_atomically(folder / "card.json", json.dumps(card, indent=1))


def _looked_at(scene):
    """Return the false-colour image of a scene, and the spectra of its labelled pixels, row by row."""
    there = np.ones(scene.labels.shape, bool) if scene.there is None else scene.there
    picture, colours, labelled = np.zeros((*there.shape, 3), np.uint8), [], []
    strips = scene.image.strips() if scene.image else [(0, len(there))]
    for top, bottom in strips:
        if scene.of_spectra:
            values = scene.spectra
        else:
            values = (scene.image.rows(top, bottom)[0] if scene.image else scene.cube)[there[top:bottom]]
        colours.append(values[:, list(scene.rgb)])
        labelled.append(values[scene.labels[top:bottom][there[top:bottom]] > 0])
    picture[there] = false_colour(np.concatenate(colours), (0, 1, 2))
    return picture, np.concatenate(labelled)


def read_card(folders: Sequence[Path], name: str) -> Card:
    """Read the card of a scene from one of these folders.

    If there is none of the scene as it is now, it is written first, into the first folder.  A set of images
    has neither a false-colour image nor spectra.
    """
    identity = registry.identity(name)  # or it is of other files under the same name
    held = {folder: _told(folder) for folder in folders}
    folder = next((folder for folder, card in held.items() if card.pop("identity", None) == identity), None)
    if folder is None:
        write_card(folders[0], scenes.load_scene(name))
        return read_card(folders, name)
    card = held[folder]
    bands = card.pop("bands")
    paths = {part: folder / f"{part}.png" for part in ("labels", "train_map", "test_map")}
    maps = {part: read_png(path) for part, path in paths.items() if path.exists() or part == "labels"}
    card |= {field: tuple(card.get(field, ())) for field in ("classes", "wavelengths")}
    kind = imagesets.ImageSet if card.pop("of_images", False) else scenes.Scene
    scene = kind(name, cube=None, **card, **maps)
    picture = spectra = None
    if not scene.of_images:
        picture = read_png(folder / "rgb.png")
        spectra = read_or_say(folder / "spectra.csv", lambda path: numbers(path, "band"))
    _together(folder, scene, maps, picture, spectra, bands)
    return scene, picture, spectra


def _together(folder, scene, maps, picture, spectra, bands):
    """Refuse parts of a card that do not belong to one scene."""
    right = scene.of_images != (folder / "rgb.png").exists()
    right = right and scene.labels.ndim == 2 and all(fits(part, scene) for part in maps.values())
    if picture is not None:
        named = {name + mark for name in scene.classes for mark in ("", " sd")}
        right = right and picture.shape == (*scene.labels.shape, 3) and set(spectra) <= named
        right = right and len(spectra) == bands and len(scene.wavelengths) in (0, bands)
    if not right:
        raise HsiError(f"{folder}: its parts are not of one scene; delete it, and it is made again")


def fits(labels: np.ndarray, scene: scenes.Scene) -> bool:
    """Say whether a map of classes can be one of this scene."""
    return labels.shape == scene.labels.shape and labels.max() <= len(scene.classes)


def _told(folder):
    """What a card says, or nothing: a damaged one is made again."""
    try:
        return described.card((folder / "card.json").read_text())
    except (HsiError, OSError, ValueError):
        return {}


def numbers(path: Path, index: str) -> pd.DataFrame:
    """Read a table of numbers whose rows are named by a column of whole numbers, which begin at 0."""
    table = pd.read_csv(path, index_col=index)
    if not all(kind.kind in "if" for kind in table.dtypes) or list(table.index) != list(range(len(table))):
        raise ValueError("not a table of numbers")
    return table.rename(columns=lambda name: described.plain(name, 300))  # a class, and " sd" behind it


def thumbnails(
    folders: Sequence[Path], scene: str, numbers: Sequence[int], size: int = 64
) -> list[np.ndarray]:
    """Return small images of a set, (size, size, 3) bytes each.

    They are kept in the first folder once they were shown, so that the book needs no data.
    """
    mark = registry.identity(scene).partition("@")[2]  # of an own set's contents
    paths = []
    for number in numbers:
        places = [folder / f"image{number}{mark}.png" for folder in folders]
        path = next((place for place in places if place.exists()), places[0])
        paths.append(path)
        if not path.exists():
            picture = scenes.load_scene(scene).read(size)[number]
            write_atomically(path, encode(picture.transpose(1, 2, 0), "RGB"))
    return [read_png(path) for path in paths]


def false_colour(spectra: np.ndarray, bands: tuple[int, int, int]) -> np.ndarray:
    """Return three bands of spectra (N, B) as bytes (N, 3), stretched from the 2nd to 98th percentile."""
    image = spectra[:, list(bands)].astype(float)
    low, high = np.percentile(image, [2, 98], axis=0)
    return (255 * ((image - low) / np.maximum(high - low, 1e-12)).clip(0, 1)).astype(np.uint8)


def encode(array: np.ndarray, mode: str, palette: bytes | None = None) -> bytes:
    """Encode an array of bytes as a PNG of one of Pillow's modes."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(array, np.uint8), mode="L" if mode == "P" else mode)
    if palette is not None:
        image.putpalette(palette)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def png(labels: np.ndarray) -> bytes:
    """Encode a label map as an indexed PNG in the book's class colours; index 0 is unlabelled."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(CLASSES)] = CLASSES
    return encode(labels, "P", palette.tobytes())


def read_png(path: Path) -> np.ndarray:
    """Read the indices of a label map, or the colours of an image; a damaged file is an error of one line."""
    from PIL import Image

    return read_or_say(path, lambda path: np.array(Image.open(path)))


def read_or_say(path: Path, read: Callable[[Path], Any]) -> Any:
    """Return what ``read`` makes of a file of the store; a failure becomes one line that names the file."""
    try:
        return read(path)
    except Exception as error:  # a file may be damaged in any way
        what = f"{type(error).__name__}; this part of a run's record is missing or damaged"
        raise HsiError(f"{path}: {what}") from None
