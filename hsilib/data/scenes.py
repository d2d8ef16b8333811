"""Scenes: where they come from, how they are checked, and how to bring your own.

A scene is a cube (H, W, B), a label map (H, W) with 0 = unlabelled, class names, and the published train / test maps if
there are any.  A set of images is a scene of one column whose pixels are images.  Files are looked for in the folder
``HSILIB_DATA`` (by name, at any depth), then in the cache, then downloaded; every file with a known fingerprint is checked.
"""

import hashlib
import json
import os
import re
import sys
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hsilib import images, synthetic
from hsilib.errors import HsiError, known
from hsilib.files import cache_folder, fingerprint, write_atomically

EHU = "https://www.ehu.eus/ccwintco/uploads/"
GIT = "https://raw.githubusercontent.com/"


@dataclass(frozen=True)
class Scene:
    """What every later step sees.  ``cube`` is None when only the committed label maps are at hand."""

    name: str
    title: str
    cube: np.ndarray | None  # (H, W, B) float32
    labels: np.ndarray  # (H, W) uint8, 0 = unlabelled
    classes: tuple[str, ...]
    train_map: np.ndarray | None = None  # published training map, class numbers of ``labels``
    test_map: np.ndarray | None = None
    train_fraction: float = 0.55  # of the random split
    rgb: tuple[int, int, int] = (0, 0, 0)
    synthetic: bool = False
    of_images: bool = False  # a set of images: labels (N, 1), no cube
    pictures: images.ImageSet | None = None  # where its images are read from; a card has none


@dataclass(frozen=True)
class File:
    """One file of a scene: ``check`` is ``sha256:...``, ``git:...`` (git's blob id) or empty when none is known."""

    name: str
    key: str
    check: str = ""
    url: str = ""


@dataclass(frozen=True)
class Entry:
    title: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    cube: File
    labels: File
    train: File | None = None
    test: File | None = None
    label_numbers: tuple[int, ...] = ()  # number stored in the label map -> class number, where they differ
    train_numbers: tuple[int, ...] = ()  # the same for the training map
    train_fraction: float = 0.55
    lr: float = 1e-3
    rgb: tuple[int, int, int] = (29, 19, 9)
    citation: str = ""
    licence: str = "as stated by the distributor; cite the source"
    note: str = ""
    digest: str = field(default="", compare=False)  # of an own scene's files: part of a run's identity


def _registry():
    hosts = {"EHU/": EHU, "GIT/": GIT}
    entries = {}
    tables = tomllib.loads(Path(__file__).with_name("scenes.toml").read_text())
    for name, about in tables.items():
        about = tables.get(about.pop("like", None), {}) | about
        about["classes"] = [c.strip() for c in about["classes"].split(",")]
        for part in {"cube", "labels", "train", "test"} & set(about):
            *rest, url = about[part]
            about[part] = File(*rest, hosts.get(url[:4], "") + url[4:])
        entries[name] = Entry(**{k: tuple(v) if isinstance(v, list) else v for k, v in about.items()})
    return entries


REGISTRY = _registry()


# ---------------------------------------------------------------------------------------------- finding files


def data_folders():
    """Folders searched before any download: ``HSILIB_DATA``, then the cache."""
    named = os.environ.get("HSILIB_DATA")
    if named and not Path(named).is_dir():
        raise HsiError(f"HSILIB_DATA names {named}, which is not a folder")
    return ([Path(named)] if named else []) + [cache_folder() / "scenes"]


def local(file):
    """The file on disk, or None."""
    if Path(file.name).is_absolute():  # of an own scene
        return Path(file.name) if Path(file.name).is_file() else None
    for folder in data_folders():
        if folder.is_dir():
            hit = folder / file.name
            found = [hit] if hit.is_file() else sorted(folder.rglob(file.name))
            if found:
                return found[0]
    return None


def _sidecar(path):
    """A deliberate substitute carries its own SHA-256 in ``NAME.sha256`` beside it."""
    side = path.with_name(path.name + ".sha256")
    return side.read_text().split()[0].lower() if side.is_file() and side.read_text().split() else ""


def _checked(file, path):
    kind, _, want = file.check.partition(":")
    own = _sidecar(path)
    if own:
        kind, want = "sha256", own
    if want and fingerprint(path, kind) != want:
        raise HsiError(
            f"{path}: checksum does not match ({kind} of the published file is {want[:12]}...); get the file again, "
            f"or, if this one is meant, write its SHA-256 into {path.name}.sha256 beside it"
        )
    return path


def locate(file, scene):
    """Look-up order: ``HSILIB_DATA``, cache, download; else one line that says which file to put where."""
    path, reason = local(file), ""
    if path is None and file.url:
        import pooch

        part = cache_folder() / "scenes" / (file.name + ".part")
        try:
            pooch.retrieve(file.url, known_hash=None, fname=part.name, path=part.parent, progressbar=sys.stderr.isatty())
            path = _checked(file, part).rename(part.with_suffix(""))
        except OSError as error:  # requests' errors are OSErrors too
            reason = f" and could not be downloaded ({type(error).__name__})"
        finally:
            part.unlink(missing_ok=True)  # a wrong download must not stand in for the file next time
    if path is None:
        folder = os.environ.get("HSILIB_DATA") or str(cache_folder() / "scenes")
        where = f" (public copy: {file.url})" if file.url else ""
        raise HsiError(f"scene {scene}: {file.name} not found{reason}; put it into {folder} or set HSILIB_DATA{where}")
    return _checked(file, path)


def read_array(path, key):
    """One array of a .mat or .npy file, with every failure said in one line.  No pickle is ever loaded."""
    import scipy.io

    if path.suffix not in (".npy", ".mat") or not path.is_file():
        raise HsiError(f"{path}: " + ("no such file" if path.suffix in (".npy", ".mat") else "expected a .npy or .mat file"))
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        shapes = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
        if not key and len(shapes) == 1:
            key = next(iter(shapes))
        if key in shapes and np.prod(shapes[key], dtype=float) < 4e9:  # before anything is unpacked
            return scipy.io.loadmat(path, variable_names=[key])[key]
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HsiError(f"{path}: cannot be read, perhaps truncated ({reason})") from None
    found = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
    raise HsiError(f"{path}: no usable array {key!r} in it; it holds {found}")


# ---------------------------------------------------------------------------------------------- loading


def entry(name):
    """The registry entry of a scene, own scenes included."""
    for folder in data_folders():
        path = folder / f"{name}.scene.json"
        if path.is_file():
            try:
                about = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(path.read_text()).items()}
                content = json.dumps([about["cube"][1:], about["labels"][1:], about["classes"]])
                about |= {part: File(*about[part]) for part in ("cube", "labels")}
                return Entry(**about, digest=hashlib.sha256(content.encode()).hexdigest()[:12])
            except (ValueError, KeyError, TypeError, AttributeError):
                raise HsiError(f"{path}: damaged; add the scene again") from None
    return REGISTRY[known("scene", name, names())]


def image_set(name):
    """The set of images of that name, or None."""
    return images.find(name, data_folders(), lambda file, check: locate(File(file, "", f"sha256:{check}"), name))


def image_names():
    return images.names(data_folders())


def images_named(text):
    """The name of a set of images: a known one, or that of a folder or .zip file, which is added."""
    if text in image_names():
        return text
    path = Path(text)
    if not path.exists():
        known("set of images, or a folder or .zip file that exists", text, image_names())
    name = re.sub(r"\W", "_", path.resolve().stem)
    name = name if name.isidentifier() else f"images_{name}"  # EuroSAT comes as a folder "2750"
    if name in image_names() and Path(image_set(name).path) != path.resolve():
        raise HsiError(f"{path}: a set named {name} is there already; add this one under another name with scenes --add")
    add_images(name, path)
    return name


def _check_name(name, taken):
    """A scene or a set that you add may replace one of its kind that you added before, and nothing else."""
    if name in taken:
        raise HsiError(f"scene name {name!r} is taken; choose another")
    if not name.isidentifier():
        raise HsiError(f"scene name {name!r}: use letters, digits and _ only")


def add_images(name, path, skip=False):
    """Register your own set of images; returns the files left out."""
    given = {*images.PUBLISHED, "synthetic_landuse"}
    _check_name(name, set(names()) - (set(image_names()) - given))
    left = images.add(name, path, data_folders()[0], skip)
    load_scene.cache_clear()
    return left


def names():
    own = [p.name.removesuffix(".scene.json") for f in data_folders() if f.is_dir() for p in f.glob("*.scene.json")]
    return list(REGISTRY) + list(synthetic.SCENES) + sorted(set(own) - set(REGISTRY)) + image_names()


def identity(name):
    """What stands for the scene in a run's identity: its name, and a digest when its files are not the published ones."""
    if name in synthetic.SCENES:
        return f"{name}@{synthetic.VERSION}"
    if name in image_names():
        digest = image_set(name).digest if name not in images.PUBLISHED else ""  # a published file is checked when it is read
        return f"{name}@{digest}" if digest else name
    about = entry(name)
    marks = [about.digest] if about.digest else []
    for file in (about.cube, about.labels, about.train, about.test):
        path = local(file) if file else None
        if path is not None and (_sidecar(path) or not file.check) and not Path(file.name).is_absolute():
            kind, _, want = file.check.partition(":")
            stamp = path.stat()
            if _remembered(path, kind or "sha256", stamp.st_mtime_ns) != want:
                marks.append(_remembered(path, "sha256", stamp.st_mtime_ns)[:12])
    return "@".join([name, *marks])


@lru_cache
def _remembered(path, kind, changed):
    return fingerprint(path, kind)


class Place(NamedTuple):
    """What a run needs to know of its scene: found once for a whole plan, for the files are looked at."""

    name: str
    content: str  # see ``identity``
    lr: float


def place(name):
    known("scene", name, names())
    return Place(name, identity(name), 1e-3 if name in (*synthetic.SCENES, *image_names()) else entry(name).lr)


@lru_cache(maxsize=3)
def load_scene(name):
    """Load and check a scene: shapes, finite values, label range."""
    if name in synthetic.SCENES:
        made = synthetic.make(name)
        return Scene(name, made.pop("title"), synthetic=True, **made)
    pictures = image_set(name) if name in image_names() else None
    if pictures:
        made_up, labels = not pictures.path, np.array(pictures.labels, np.uint8)[:, None]
        about = dict(train_fraction=0.5, synthetic=made_up, of_images=True, pictures=pictures)
        return Scene(name, pictures.title, None, labels, pictures.classes, **about)
    about = entry(name)
    cube_path = locate(about.cube, name)
    cube = read_array(cube_path, about.cube.key)
    h, w, b = about.shape
    abundances = name in REGISTRY and about.labels.key == "A"
    if abundances and cube.shape == (b, h * w):
        cube = cube.reshape(b, w, h).transpose(2, 1, 0)  # bands x pixels, column-major
    if cube.shape != (h, w, b):
        raise HsiError(f"{cube_path}: array {about.cube.key!r} has shape {cube.shape}, expected {(h, w, b)}")
    labels_path = locate(about.labels, name)
    if abundances:
        fractions = read_array(labels_path, "A")
        if fractions.shape != (len(about.classes), h * w):
            raise HsiError(f"{labels_path}: abundances have shape {fractions.shape}, expected {(len(about.classes), h * w)}")
        labels = fractions.argmax(0).reshape(w, h).T + 1
    else:
        labels = sum(_label_map(labels_path, key, (h, w)) for key in about.labels.key.split("+"))
        labels = _renumber(labels, about.label_numbers, labels_path)
    if labels.max() > len(about.classes):
        raise HsiError(f"{labels_path}: label {labels.max()} but only {len(about.classes)} classes")
    train = test = None
    if about.train:
        train_path = locate(about.train, name)
        train = _renumber(_label_map(train_path, about.train.key, (h, w)), about.train_numbers, train_path)
    if about.test:
        test = _label_map(locate(about.test, name), about.test.key, (h, w))
    cube = check_cube(cube, cube_path)
    return Scene(name, about.title, cube, labels.astype(np.uint8), about.classes, train, test, about.train_fraction, about.rgb)


def _label_map(path, key, shape):
    labels = read_array(path, key)
    if labels.shape != shape:
        raise HsiError(f"{path}: label map has shape {labels.shape}, the scene is {shape}")
    if labels.dtype.kind not in "iufb" or labels.min() < 0 or labels.max() > 255 or (labels != np.round(labels)).any():
        raise HsiError(f"{path}: labels must be whole numbers 0 (none) to 255")
    return labels.astype(np.uint8)


def _renumber(labels, numbers, path):
    if numbers and labels.max() >= len(numbers):
        raise HsiError(f"{path}: label {labels.max()}, expected 0 to {len(numbers) - 1}")
    return np.array(numbers, np.uint8)[labels] if numbers else labels


def check_cube(cube, where):
    """Cleaning: numbers only, and finite ones; float32."""
    if cube.dtype.kind not in "iuf":
        raise HsiError(f"{where}: values of type {cube.dtype}, expected real numbers")
    cube = np.ascontiguousarray(cube, dtype=np.float32)
    bad = ~np.isfinite(cube)
    if bad.any():
        raise HsiError(f"{where}: {bad.sum()} values are NaN or infinite; mask or repair them first")
    return cube


def add(name, cube, labels, cube_key="", label_key="", classes=(), title="", rgb=None):
    """Register your own scene from two .mat or .npy files; from then on ``name`` works wherever a scene is named.

    >>> add("my_field", "field.npy", "field_gt.npy", classes=["wheat", "oats"])
    """
    _check_name(name, {*REGISTRY, *synthetic.SCENES, *image_names()})
    paths = [Path(p).resolve() for p in (cube, labels)]
    for path in paths:
        if not path.is_file():
            raise HsiError(f"{path}: no such file")
    values = check_cube(read_array(paths[0], cube_key), paths[0])
    if values.ndim != 3:
        raise HsiError(f"{paths[0]}: array has shape {values.shape}, expected (rows, columns, bands)")
    marks = _label_map(paths[1], label_key, values.shape[:2])
    count = int(marks.max())
    classes = list(classes) or [f"class {i}" for i in range(1, count + 1)]
    if count == 0:
        raise HsiError(f"{paths[1]}: no labelled pixel")
    if len(classes) < count:
        raise HsiError(f"{paths[1]}: labels up to {count}, but {len(classes)} class names")
    bands = values.shape[2]
    about = {
        "title": title or name,
        "shape": values.shape,
        "classes": classes,
        "cube": [str(paths[0]), cube_key, "sha256:" + fingerprint(paths[0])],
        "labels": [str(paths[1]), label_key, "sha256:" + fingerprint(paths[1])],
        "rgb": list(rgb or (bands * 3 // 5, bands * 3 // 10, bands // 10)),
    }
    path = data_folders()[0] / f"{name}.scene.json"
    write_atomically(path, json.dumps(about, indent=1))
    load_scene.cache_clear()
    return path
