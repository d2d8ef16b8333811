"""Your own scenes and sets of images: once added, their name works wherever a scene is named."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from hsilib.data import imagesets, synthetic
from hsilib.data.formats import check_cube, label_map, read_array
from hsilib.data.locate import data_folders
from hsilib.data.scenes import REGISTRY, image_names, image_set, load_scene, names
from hsilib.errors import HsiError, known
from hsilib.files import fingerprint, write_atomically


def add_scene(
    name: str, cube: Path | str, labels: Path | str, cube_key: str = "", label_key: str = "",
    classes: Sequence[str] = (), title: str = "", rgb: tuple[int, int, int] | None = None,
) -> Path:
    """Register your own scene from two .mat or .npy files, and return the file that describes it.

    From then on ``name`` works wherever a scene is named.  A key names an array in a .mat file; it may be
    left out where the file holds only one.

    >>> add_scene("my_field", "field.npy", "field_gt.npy", classes=["wheat", "oats"])
    """
    _check_name(name, {*REGISTRY, *synthetic.SCENES, *image_names()})
    paths = [Path(p).resolve() for p in (cube, labels)]
    for path in paths:
        if not path.is_file():
            raise HsiError(f"{path}: no such file")
    values = check_cube(read_array(paths[0], cube_key), paths[0])
    if values.ndim != 3:
        raise HsiError(f"{paths[0]}: array has shape {values.shape}, expected (rows, columns, bands)")
    marks = label_map(paths[1], label_key, values.shape[:2])
    count = int(marks.max())
    classes = list(classes) or [f"class {i}" for i in range(1, count + 1)]
    if count == 0:
        raise HsiError(f"{paths[1]}: no labelled pixel")
    if len(classes) < count:
        raise HsiError(f"{paths[1]}: labels up to {count}, but {len(classes)} class names")
    bands = values.shape[2]
    entry = {
        "title": title or name, "shape": values.shape, "classes": classes,
        "cube": [str(paths[0]), cube_key, "sha256:" + fingerprint(paths[0])],
        "labels": [str(paths[1]), label_key, "sha256:" + fingerprint(paths[1])],
        "rgb": list(rgb or (bands * 3 // 5, bands * 3 // 10, bands // 10)),
    }
    path = data_folders()[0] / f"{name}.scene.json"
    write_atomically(path, json.dumps(entry, indent=1))
    load_scene.cache_clear()
    return path


def images_named(text: str) -> str:
    """Return the name of a set of images; a folder or .zip file is added as a set first."""
    if text in image_names():
        return text
    path = Path(text)
    if not path.exists():
        known("set of images, or a folder or .zip file that exists", text, image_names())
    name = re.sub(r"\W", "_", path.resolve().stem)
    name = name if name.isidentifier() else f"images_{name}"  # EuroSAT comes as a folder "2750"
    if name in image_names() and Path(image_set(name).path) != path.resolve():
        raise HsiError(
            f"{path}: a set named {name} is there already; add this one under another name with scenes --add"
        )
    add_images(name, path)
    return name


def _check_name(name, taken):
    """Refuse a taken name: what you add may replace what you added before of its kind, and nothing else."""
    if name in taken:
        raise HsiError(f"scene name {name!r} is taken; choose another")
    if not name.isidentifier():
        raise HsiError(f"scene name {name!r}: use letters, digits and _ only")


def add_images(name: str, path: Path | str, skip: bool = False) -> list[str]:
    """Register your own set of images, and return the files left out.

    An image that is damaged or not RGB is an error; with ``skip`` it is left out instead.

    >>> add_images("my_images", "folder_of_class_folders")
    []
    """
    given = {*imagesets.PUBLISHED, "synthetic_landuse"}
    _check_name(name, set(names()) - (set(image_names()) - given))
    left = imagesets.add(name, path, data_folders()[0], skip)
    load_scene.cache_clear()
    return left
