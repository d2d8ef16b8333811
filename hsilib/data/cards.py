"""What the book shows of a scene without its cube: a card of label maps, a false-colour image and mean spectra."""

import io
import json

import numpy as np
import pandas as pd

from hsilib.data import scenes
from hsilib.errors import HsiError
from hsilib.files import write_atomically

# Index 0 is unlabelled.  Ordered so that neighbours in the list differ in lightness, and so also in grey.
CLASSES = [
    (24, 24, 24), (230, 159, 0), (0, 90, 160), (240, 228, 66), (0, 158, 115), (213, 94, 0), (86, 180, 233), (160, 60, 110),
    (190, 220, 120), (110, 60, 20), (204, 170, 220), (40, 110, 50), (250, 190, 170), (70, 50, 130), (150, 150, 150),
    (140, 200, 190), (255, 105, 180),
]  # fmt: skip

CLASSES += [
    tuple(round(0.55 * c + 0.45 * 255) for c in colour) for colour in CLASSES[1:16]
]  # paler, for more classes


def write_card(folder, scene):
    """Leave the card of a scene in a folder."""
    for name in ("labels", "train_map", "test_map"):
        if getattr(scene, name) is not None:
            write_atomically(folder / f"{name}.png", png(getattr(scene, name)))
    if scene.cube is not None:
        write_atomically(folder / "rgb.png", _encode(false_colour(scene.cube, scene.rgb), "RGB"))
        spectra = {}
        for number, name in enumerate(scene.classes, 1):
            pixels = scene.cube[scene.labels == number]
            if len(pixels):
                spectra[name], spectra[name + " sd"] = pixels.mean(0), pixels.std(0)
        write_atomically(folder / "spectra.csv", pd.DataFrame(spectra).round(4).to_csv(index_label="band"))
    about = {k: getattr(scene, k) for k in ("title", "classes", "train_fraction", "synthetic", "of_images")}
    write_atomically(
        folder / "card.json", json.dumps(about | {"identity": scenes.identity(scene.name)}, indent=1)
    )


def read_card(folder, name):
    """(Scene without cube, false-colour image, spectra) from a folder, where they are left if they are not there; the last
    two are None for a set of images."""
    try:
        about = json.loads((folder / "card.json").read_text())
    except (OSError, ValueError):
        about = {}
    if about.pop("identity", None) != scenes.identity(
        name
    ):  # none yet, or of other files under the same name
        write_card(folder, scenes.load_scene(name))
        return read_card(folder, name)
    maps = {
        n: read_png(folder / f"{n}.png") for n in ("train_map", "test_map") if (folder / f"{n}.png").exists()
    }
    about["classes"] = tuple(about["classes"])
    scene = scenes.Scene(name, cube=None, labels=read_png(folder / "labels.png"), **about, **maps)
    if not (folder / "rgb.png").exists():
        return scene, None, None
    return scene, read_png(folder / "rgb.png"), pd.read_csv(folder / "spectra.csv", index_col="band")


def thumbnails(folder, scene, numbers, size=64):
    """Images of a set, (size, size, 3) bytes each: kept where they were shown once, so that the book needs no data."""
    mark = scenes.identity(scene).partition("@")[2]  # of an own set's contents
    paths = [folder / f"image{number}{mark}.png" for number in numbers]
    for path, number in zip(paths, numbers):
        if not path.exists():
            picture = scenes.load_scene(scene).pictures.read(size)[number]
            write_atomically(path, _encode(picture.transpose(1, 2, 0), "RGB"))
    return [read_png(path) for path in paths]


def false_colour(cube, bands):
    """Three bands, each stretched between its 2nd and 98th percentile, as (H, W, 3) bytes."""
    image = cube[..., list(bands)].astype(float)
    low, high = np.percentile(image, [2, 98], axis=(0, 1))
    return (255 * ((image - low) / np.maximum(high - low, 1e-12)).clip(0, 1)).astype(np.uint8)


def _encode(array, mode, palette=None):
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(array, np.uint8), mode="L" if mode == "P" else mode)
    if palette is not None:
        image.putpalette(palette)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def png(labels):
    """A label map as an indexed PNG in the book's class colours; index 0 is unlabelled."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(CLASSES)] = CLASSES
    return _encode(labels, "P", palette.tobytes())


def read_png(path):
    from PIL import Image

    return read_or_say(path, lambda path: np.array(Image.open(path)))


def read_or_say(path, read):
    """What ``read`` makes of a file of the store, or one line."""
    try:
        return read(path)
    except (OSError, ValueError) as error:
        raise HsiError(
            f"{path}: {type(error).__name__}; this part of a run's record is missing or damaged"
        ) from None
