"""How a scene is shown: its card, which stands for it without its cube, and its maps side by side.

A card is the label maps, a false-colour image and spectra.  Drawing loads matplotlib.
"""

import io
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hsilib.data import described, imagesets, registry, scenes
from hsilib.data.formats import needs, of_array
from hsilib.errors import HsiError
from hsilib.files import readable, write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# a scene without its cube, its false-colour image, and the mean and sd of the spectra of each class
Card = tuple[scenes.Scene, np.ndarray | None, pd.DataFrame | None]

MAPS = ("labels", "train_map", "test_map")

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
    parts = {f"{name}.png": png(getattr(scene, name)) for name in MAPS if getattr(scene, name) is not None}
    if not scene.of_images:
        picture, spectra = _looked_at(scene)
        parts |= {"rgb.png": encode(picture, "RGB"), "spectra.csv": spectra.to_csv(index_label="band")}
    fields = ("title", "classes", "train_fraction", "synthetic", "of_spectra", "of_images", "wavelengths")
    card = {field: getattr(scene, field) for field in (*fields, *["second"] * bool(scene.second))}
    card |= {"bands": scene.bands, "identity": registry.identity(scene.name)}
    for name, data in (parts | {"card.json": json.dumps(card, indent=1)}).items():
        write_atomically(folder / name, data)


def _looked_at(scene):
    """Return the false-colour image of a scene, and the mean and sd of the spectra of each class."""
    there = np.ones(scene.labels.shape, bool) if scene.there is None else scene.there
    image = None if scene.of_spectra else scene.image or of_array(scene.cube, scene.name)
    picture, colours, labelled, spectra = np.zeros((*there.shape, 3), np.uint8), [], [], {}
    for top, bottom in image.strips() if image else [(0, len(there))]:
        values = image.rows(top, bottom)[0][there[top:bottom]] if image else scene.spectra
        colours.append(values[:, list(scene.rgb)])
        labelled.append(values[scene.labels[top:bottom][there[top:bottom]] > 0])
    picture[there] = false_colour(np.concatenate(colours), (0, 1, 2))
    labels, labelled = scene.labels[scene.labels > 0], np.concatenate(labelled)
    for number, name in enumerate(scene.classes, 1):
        pixels = labelled[labels == number]
        if len(pixels):
            spectra[name], spectra[name + " sd"] = pixels.mean(0), pixels.std(0)
    return picture, pd.DataFrame(spectra).round(4)


def read_card(folders: Sequence[Path], name: str) -> Card:
    """Read the card of a scene from one of these folders.

    If there is none of the scene as it is now, it is written first, into the first folder.  A set of images
    has neither a false-colour image nor spectra.
    """
    identity = registry.identity(name)  # or it is of other files under the same name
    for folder in folders:
        with suppress(HsiError, OSError, ValueError, LookupError, TypeError):  # a damaged one is made again
            card = described.named(json.loads((folder / "card.json").read_text("utf-8")))
            if card.pop("identity") == identity:
                break
    else:
        write_card(folders[0], scenes.load_scene(name))
        return read_card(folders, name)
    with readable(f"{folder}: its parts are not of one scene; delete it, and it is made again"):
        card |= {field: tuple(card.get(field, ())) for field in ("classes", "wavelengths")}
        there = [part for part in MAPS if part == "labels" or (folder / f"{part}.png").exists()]
        maps, bands = {part: read_png(folder / f"{part}.png") for part in there}, card.pop("bands")
        kind = imagesets.ImageSet if card.pop("of_images", False) else scenes.Scene
        scene = kind(name, cube=None, **card, **maps)
        right = all(fits(part, scene) for part in maps.values())
        if scene.of_images:
            picture = spectra = None
        else:
            picture = read_png(folder / "rgb.png")
            spectra = read_or_say(folder / "spectra.csv", lambda path: numbers(path, "band"))
            right = right and picture.shape == (*scene.labels.shape, 3) and len(spectra) == bands
        if not right:
            raise ValueError("they differ in size")
    return scene, picture, spectra


def fits(labels: np.ndarray, scene: scenes.Scene) -> bool:
    """Say whether a map of classes can be one of this scene."""
    return labels.shape == scene.labels.shape and labels.max() <= len(scene.classes)


def numbers(path: Path, index: str) -> pd.DataFrame:
    """Read a table of numbers whose rows are named by a column of whole numbers, which begin at 0."""
    table = pd.read_csv(path, index_col=index)
    if not all(kind.kind in "if" for kind in table.dtypes) or list(table.index) != list(range(len(table))):
        raise ValueError("not a table of numbers")
    return table.rename(columns=lambda name: described.plain(name, 300))  # a class, and " sd" behind it


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
    with readable(f"{path}: this part of a run's record is missing or damaged"):
        return read(path)


# ---------------------------------------------------------------------------------- maps side by side


def show_map(ax: "Axes", labels: np.ndarray, title: str = "") -> None:
    """Draw a map of classes (H, W), or an image (H, W, 3)."""
    palette = needs("matplotlib.colors", "a picture").ListedColormap(np.array(CLASSES) / 255)
    ax.set(xticks=[], yticks=[], frame_on=False)
    ax.set_title(title, fontsize=10)
    ax.imshow(labels, cmap=palette, vmin=0, vmax=len(CLASSES) - 1, interpolation="nearest")


def side_by_side(
    panels: Sequence[tuple[str, np.ndarray]], classes: Sequence[str], columns: int = 3
) -> "Figure":
    """Return a figure of maps of classes (H, W), or images (H, W, 3), ``[(title, map), ...]``."""
    plt = needs("matplotlib.pyplot", "a picture")
    h, w = panels[0][1].shape[:2]
    columns = min(columns, len(panels))
    rows, height = -(-len(panels) // columns), 5.8 / columns * h / w
    figure, axes = plt.subplots(
        rows, columns, figsize=(5.8, rows * height + 1.6), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (title, labels) in zip(axes.flat, panels):
        show_map(ax, labels, title)
    patch, named = needs("matplotlib.patches", "a picture").Patch, zip(CLASSES, ["unlabelled", *classes])
    marks = [patch(fc=np.array(colour) / 255, ec="#777", label=name) for colour, name in named]
    figure.legend(handles=marks, loc="outside lower center", ncols=3, fontsize=9)
    return figure
