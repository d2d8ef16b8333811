"""Your own scenes and sets of images: once added, their name works wherever a scene is named.

What cannot be meant is refused before anything trains on it, and what may be wrong is told.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hsilib.data import described, ground, imagesets, synthetic
from hsilib.data.formats import kind_of, label_map, open_image
from hsilib.data.registry import PUBLISHED_IMAGES, REGISTRY, SYNTHETIC_IMAGES, image_names, names, own_names
from hsilib.data.scenes import Scene, load_scene
from hsilib.errors import HsiError, known
from hsilib.files import fingerprint, own_folder, write_array, write_atomically

SAMPLE = 20_000  # pixels of a scene that are looked at
RGB = (640, 550, 470)  # nm


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
    path = ground.image_file(Path(cube).resolve())
    image = open_image(path, cube_key)
    image = image if nodata is None else replace(image, nodata=nodata)
    if np.isinf(image.nodata or 0):
        raise HsiError(f"{path}: nodata must be a number, not {image.nodata}")
    if rgb and max(rgb) >= image.shape[2]:
        raise HsiError(f"{path}: rgb must be three of its {image.shape[2]} bands")
    entry, maps, named = {"title": described.plain(title or name), "cube": _file(path, cube_key)}, {}, []
    for part, file in {"labels": labels, "train": train, "test": test}.items():
        if file and kind_of(file := Path(file).resolve()) == "polygons":
            maps[part], found = ground.burn(file, label_key, image)
            named = named or [described.plain(one) for one in found]
        elif file:
            maps[part], entry[part] = label_map(file, label_key, image.shape), _file(file, label_key)
    marks, notes = _looked_at(image, maps["labels"])
    most = max(int(numbers.max()) for numbers in maps.values())
    classes = [described.plain(one) for one in classes] or named
    classes = classes or [f"class {i}" for i in range(1, most + 1)]
    repeated = [one for one, times in Counter(classes).items() if times > 1]
    for wrong, says in (
        (marks.max() == 0, "no labelled pixel"),
        (len(classes) < most, f"labels up to {most}, but {len(classes)} class names"),
        ("" in classes, f"class {[*classes, ''].index('') + 1} has no name"),
        (repeated, f"two classes are called {''.join(repeated[:1])!r}"),
    ):
        if wrong:
            raise HsiError(f"{labels}: {says}")
    counts = dict(zip(classes, np.bincount(marks.ravel(), minlength=len(classes) + 1)[1:].tolist()))
    for number, says in ((1, "no split can divide a class of one pixel"), (0, "no pixel of")):
        if few := ", ".join(one for one, count in counts.items() if count == number):
            notes += [f"{says}: {few}"]
    if named and named != classes:
        renamed = ", ".join(map(" → ".join, zip(named, classes)))
        notes += [f"names are given to the polygons' classes in the order of the alphabet: {renamed}"]
    colours = [image.shape[2] * part // 10 for part in (6, 3, 1)]  # of the false-colour image
    if image.wavelengths:
        colours = [int(np.abs(np.array(image.wavelengths) - want).argmin()) for want in RGB]
    entry |= {"shape": image.shape, "classes": classes, "wavelengths": list(image.wavelengths)}
    entry |= {"rgb": list(rgb or colours), "bad": list(image.bad), "nodata": image.nodata}
    entry |= {"crs": image.crs, "transform": list(image.transform)}
    entry = {key: value for key, value in entry.items() if value not in ([], "", None)}
    path = own_folder() / f"{name}.scene.json"
    if path.exists():
        notes += [f"{name} was there before and is replaced"]
    for line in notes:
        say(f"note: {line}")
    say("labelled pixels: " + ", ".join(f"{one} {count}" for one, count in counts.items()))
    for part in [part for part in maps if part not in entry]:  # burnt of polygons
        write_array(own_folder() / f"{name}.{part}.npy", maps[part])
        entry[part] = _file(own_folder() / f"{name}.{part}.npy", "")
    write_atomically(path, json.dumps(entry, indent=1))
    load_scene.cache_clear()
    return path


def _file(path, key):
    return [str(Path(path).resolve()), key, "sha256:" + fingerprint(path)]


def _looked_at(image, labels):
    """Return the labels of the pixels with data, and what may be wrong with the spectra of some of them."""
    step, there, some = max(1, labels.size // SAMPLE), [], []
    for strip in image.strips():
        values, has = image.rows(*strip)
        there, some = [*there, has], [*some, values[has][::step].copy()]
    there, values = np.concatenate(there), np.concatenate(some)
    if not there.any():
        raise HsiError(f"{image.where}: every pixel holds {image.nodata:g}, which stands for no data")
    if (values == values.flat[0]).all():
        raise HsiError(f"{image.where}: all values are {values.flat[0]:g}; there is nothing to learn from")
    notes = [f"the spectra would be far smoother if the file were read {how}; is its type right?"
             for how in [_misread(values)] if how]
    flat = values[(values == values[:, :1]).all(1), 0] if values.shape[1] > 1 else values[:0, 0]
    value, count = Counter(flat.tolist()).most_common(1)[0] if len(flat) else (0, 0)
    if image.nodata is None and count > 0.01 * len(values):
        notes = [f"{100 * count / len(values):.0f} % of the pixels hold {value:g} in every band; "]
        notes[0] += f"if that stands for no data, say so with --nodata {value:g}"
        if value <= -99 or value >= 32767:
            raise HsiError(f"{image.where}: {notes[0]}")
    return np.where(there, labels, 0), notes


def _misread(values):
    """Say how 16-bit integers are to be read if they are far smoother along the bands then."""
    whole = values.shape[1] >= 8 and (values == np.round(values)).all()
    if not whole or values.min() < -32768 or values.max() > 65535:
        return ""
    bits = values.astype(np.int64).astype(np.uint16)

    def step(values, each=1):  # from band to band
        return np.abs(np.diff(values.astype(float), axis=1)).mean() / max(each, 1e-9)

    swapped = [bits.byteswap().view(kind) for kind in ("u2", "i2")]
    if min(step(other, other.std()) for other in swapped) < 0.3 * step(values, values.std()):
        return "with its bytes in the other order"
    signed = values.max() > 32767 and step(bits.view("i2")) < 0.3 * step(values)
    return "as signed numbers" if signed else ""


def _check_name(name, taken):
    """Refuse a taken name: what you add may replace what you added before of its kind, and nothing else."""
    if name in taken:
        raise HsiError(f"scene name {name!r} is taken; choose another")
    if not name.isidentifier():
        raise HsiError(f"scene name {name!r}: use letters, digits and _ only")


def named(scene: Scene | str) -> str:
    """Return the name of a scene; one from arrays is first kept among your own, as .npy under its name."""
    if isinstance(scene, str):
        return scene
    name = scene.name
    if name in names() and not (own_folder() / f"{name}.cube.npy").is_file():
        if load_scene(name) is scene:
            return name
        raise HsiError(f"scene name {name!r} is taken; give the scene from arrays another name")
    if scene.cube is None:
        raise HsiError(f"scene {name}: only one with a cube in memory can be kept under a name")
    _check_name(name, ())
    parts = {"cube": scene.cube, "labels": scene.labels, "train": scene.train_map, "test": scene.test_map}
    files = {}
    for part, array in ((part, array) for part, array in parts.items() if array is not None):
        files[part] = own_folder() / f"{name}.{part}.npy"
        write_array(files[part], np.asarray(array))
    words = dict(classes=scene.classes, title=scene.title, rgb=scene.rgb)
    add_scene(name, **files, **words, say=lambda text: None)
    return name


def remove(name: str) -> None:
    """Forget a scene or a set of images of your own; the files it was made from stay.

    >>> remove("my_field")
    """
    known("scene of your own", name, own_names())  # a name, and no path
    for end in ("scene.json", "images.json", "*.npy"):
        for path in own_folder().glob(f"{name}.{end}"):
            path.unlink()
    load_scene.cache_clear()


def is_own(name: str) -> bool:
    """Say whether a scene or a set of images is your own."""
    return name in own_names()


def add_images(name: str, path: Path | str, skip: bool = False) -> list[str]:
    """Register your own set of images, each of which is looked at once, and return the files left out.

    An image that is damaged or not RGB is an error; with ``skip`` it is left out instead.

    >>> add_images("my_images", "folder_of_class_folders")
    []
    """
    mine = set(image_names()) - {*PUBLISHED_IMAGES, SYNTHETIC_IMAGES}
    _check_name(name, set(names()) - mine)
    entry, left = imagesets.described_set(path, skip)
    write_atomically(own_folder() / f"{name}.images.json", json.dumps({"title": name} | entry))
    load_scene.cache_clear()
    return left


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
        says = "is there already; add this one under another name with scenes --add"
        raise HsiError(f"{path}: a set named {name} {says}")
    add_images(name, path)
    return name
