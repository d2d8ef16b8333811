"""Your own scenes and sets of images: once added, their name works wherever a scene is named."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hsilib.data import described, imagesets, polygons, sanity, synthetic
from hsilib.data.formats import Image, image_file, kind_of, label_map, open_image
from hsilib.data.registry import PUBLISHED_IMAGES, REGISTRY, SYNTHETIC_IMAGES, image_names, names
from hsilib.data.scenes import Scene, load_scene
from hsilib.errors import HsiError, known
from hsilib.files import fingerprint, own_folder, write_array, write_atomically

NOT_YET = "sha256:" + 64 * "0"  # of a file that is written last
RGB = (640, 550, 470)  # nm of the false-colour image, where the wavelengths are known


def add_scene(
    name: str, cube: Path | str, labels: Path | str, cube_key: str = "", label_key: str = "",
    classes: Sequence[str] = (), title: str = "", rgb: tuple[int, int, int] | None = None,
    train: Path | str = "", test: Path | str = "", nodata: float | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Register your own scene, and return the file that describes it.

    ``cube``: .npy, .npz, .mat, ENVI or GeoTIFF.  ``labels``, ``train`` and ``test``: the same, with class
    numbers and 0 for none, or polygons; ``train`` gives the scene a split ``disjoint``, which tests on
    ``test``, or on all other labelled pixels.  A key names an array, or the attribute of polygons that holds
    the class; it may be left out where there is only one.  ``nodata`` is what pixels without data hold, if
    the file does not say.  From then on ``name`` works wherever a scene is named.

    >>> add_scene("my_field", "field.npy", "field_gt.npy", classes=["wheat", "oats"])
    """
    _check_name(name, {*REGISTRY, *synthetic.SCENES, *image_names()})
    if not Path(cube).is_file():
        raise HsiError(f"{cube}: no such file")
    path = image_file(Path(cube).resolve())
    image = open_image(path, cube_key)
    image = image if nodata is None else replace(image, nodata=nodata)
    entry = {"title": described.plain(title or name), "cube": _file(path, cube_key)}
    given = {"labels": labels, "train": train, "test": test}
    maps = {part: _map(Path(file).resolve(), label_key, image) for part, file in given.items() if file}
    step, there, some = max(1, image.shape[0] * image.shape[1] // sanity.SAMPLE), [], []
    for strip in image.strips():
        values, has = image.rows(*strip)
        there, some = [*there, has], [*some, values[has][::step].copy()]
    there, some = np.concatenate(there), np.concatenate(some)
    if not there.any():
        raise HsiError(f"{path}: every pixel holds {image.nodata:g}, which stands for no data")
    notes = sanity.look(some, image.nodata, str(path))
    marks = np.where(there, maps["labels"][0], 0)
    if marks.max() == 0:
        raise HsiError(f"{labels}: no labelled pixel")
    count = max(int(numbers.max()) for numbers, _ in maps.values())
    named = [described.plain(one) for one in next((names for _, names in maps.values() if names), ())]
    classes = [described.plain(one) for one in classes] or named
    classes = classes or [f"class {i}" for i in range(1, count + 1)]
    if len(classes) < count:
        raise HsiError(f"{labels}: labels up to {count}, but {len(classes)} class names")
    for says in notes + sanity.class_names(classes, marks, str(labels)):
        say(f"note: {says}")
    burnt = {part: numbers for part, (numbers, names) in maps.items() if names}
    for part in maps:
        later = [f"{name}.{part}.npy", "", NOT_YET]
        entry[part] = later if part in burnt else _file(given[part], label_key)
    entry |= {"shape": image.shape, "classes": classes, "wavelengths": list(image.wavelengths)}
    entry |= {"rgb": list(rgb or _colours(image)), "bad": list(image.bad), "nodata": image.nodata}
    entry |= {"crs": image.crs, "transform": list(image.transform)}
    if named and named != classes:
        renamed = ", ".join(map(" → ".join, zip(named, classes)))
        say(f"note: names are given to the polygons' classes in the order of the alphabet: {renamed}")
    counts = np.bincount(marks.ravel(), minlength=len(classes) + 1)[1:]
    say("labelled pixels: " + ", ".join(f"{one} {number}" for one, number in zip(classes, counts)))
    path = own_folder() / f"{name}.scene.json"
    said = {key: value for key, value in entry.items() if value not in ([], "", None)}
    described.scene(json.dumps(said))  # what could not be read again is not written, nor what belongs to it
    if path.exists():
        say(f"note: {name} was there before and is replaced")
    for part, numbers in burnt.items():
        said[part] = _kept(name, part, numbers)
    write_atomically(path, json.dumps(said, indent=1))
    load_scene.cache_clear()
    return path


def _map(path: Path, key: str, image: Image) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a label map, and from polygons, which are burnt into one, the names of its classes."""
    if kind_of(path) == "polygons":
        return polygons.burn(path, key, image)
    return label_map(path, key, image.shape), ()


def _file(path, key):
    return [str(Path(path).resolve()), key, "sha256:" + fingerprint(path)]


def _kept(name, part, labels):
    """Keep a map that was burnt in beside the description of its scene."""
    path = own_folder() / f"{name}.{part}.npy"
    write_array(path, labels)
    return _file(path, "")


def _colours(image):
    """Return the bands of the false-colour image: red, green and blue where the wavelengths are known."""
    if not image.wavelengths:
        bands = image.shape[2]
        return bands * 3 // 5, bands * 3 // 10, bands // 10
    return [int(np.abs(np.array(image.wavelengths) - want).argmin()) for want in RGB]


def named(scene: Scene | str) -> str:
    """Return the name of a scene; one from arrays is first kept among your own, as .npy under its name."""
    if isinstance(scene, str):
        return scene
    if scene.name in names() and not (own_folder() / f"{scene.name}.cube.npy").is_file():
        if load_scene(scene.name) is scene:
            return scene.name
        raise HsiError(f"scene name {scene.name!r} is taken; give the scene from arrays another name")
    if scene.cube is None:
        raise HsiError(f"scene {scene.name}: only one with a cube in memory can be kept under a name")
    _check_name(scene.name, ())
    h, w, _ = scene.cube.shape
    given, files = {"cube": scene.cube, "labels": scene.labels}, {}
    given |= {"train": scene.train_map, "test": scene.test_map}
    for part, array in given.items():
        if array is not None:
            if np.shape(array)[:2] != (h, w):
                says = f"{part} has the shape {np.shape(array)}, the cube {scene.cube.shape}"
                raise HsiError(f"scene {scene.name}: {says}")
            files[part] = own_folder() / f"{scene.name}.{part}.npy"
            write_array(files[part], np.asarray(array))
    add_scene(
        scene.name, **files, classes=scene.classes, title=scene.title, rgb=scene.rgb, say=lambda text: None
    )
    return scene.name


def remove(name: str) -> None:
    """Forget a scene or a set of images of your own; the files it was made from stay.

    >>> remove("my_field")
    """
    mine = [own_folder() / f"{name}.{kind}.json" for kind in ("scene", "images")]
    if not name.isidentifier() or not any(path.is_file() for path in mine):  # a name, and no path
        known("scene of your own", name, [other for other in names() if is_own(other)])
    for path in [*mine, *own_folder().glob(f"{name}.*.npy")]:
        path.unlink(missing_ok=True)
    load_scene.cache_clear()


def is_own(name: str) -> bool:
    """Say whether a scene or a set of images is your own."""
    return any((own_folder() / f"{name}.{kind}.json").is_file() for kind in ("scene", "images"))


def images_named(text: str) -> str:
    """Return the name of a set of images; a folder or .zip file is added as a set first."""
    if text in image_names():
        return text
    path = Path(text)
    if not path.exists():
        known("set of images, or a folder or .zip file that exists", text, image_names())
    name = re.sub(r"\W", "_", path.resolve().stem)
    name = name if name.isidentifier() else f"images_{name}"  # EuroSAT comes as a folder "2750"
    if name in image_names() and Path(imagesets.open_set(name).path) != path.resolve():
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
    given = {*PUBLISHED_IMAGES, SYNTHETIC_IMAGES}
    _check_name(name, set(names()) - (set(image_names()) - given))
    left = imagesets.add(name, path, own_folder(), skip)
    load_scene.cache_clear()
    return left
