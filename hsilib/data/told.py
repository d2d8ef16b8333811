"""What the command line tells of scenes and their files, as lines of text."""

from pathlib import Path

import numpy as np

from hsilib.data import damage, imagesets, registry, scenes, synthetic
from hsilib.data.formats import MOST, open_image
from hsilib.errors import HsiError, known
from hsilib.files import write_array


def of_all() -> list[str]:
    """List all scenes, and whether their files are here."""
    lines = [f"{'name':24} {'rows x cols x bands':20} {'classes':>7}  {'files':10} title"]
    for name in registry.names():
        if name in registry.image_names():
            continue
        if name in synthetic.SCENES:
            title, h, w, b, k, *_ = synthetic.SCENES[name]
            state = "embedded"
        else:
            try:
                entry = registry.entry(name)
            except HsiError as error:  # one that is damaged does not hide the others
                lines.append(f"{name:24} {error}")
                continue
            title, (h, w, b), k = entry.title, entry.shape, len(entry.classes)
            state = "found" if at_hand(name) else "not here"
        lines.append(f"{name:24} {f'{h} x {w} x {b}':20} {k:7}  {state:10} {title}")
    for name in registry.image_names():
        if at_hand(name):
            images = imagesets.open_set(name)
            count, k = f"{len(images.files)} images", len(images.classes)
            lines.append(f"{name:24} {count:20} {k:7}  {'found':10} {images.title}")
        else:
            lines.append(f"{name:24} {'images':20} {'':7}  {'not here':10}")
    return lines


def at_hand(name: str) -> bool:
    """Say whether a scene can be loaded without a download."""
    if name in registry.image_names():
        try:
            return bool(imagesets.open_set(name).files)
        except HsiError:
            return False
    return name in synthetic.SCENES or all(map(registry.local, registry.entry(name).files))


def of_scene(name: str) -> list[str]:
    """Tell what is known of a scene."""
    known("scene", name, registry.names())
    if name in synthetic.SCENES or name in registry.image_names():
        scene = scenes.load_scene(name)
        return [f"title: {scene.title}", f"classes: {', '.join(scene.classes)}"]
    entry = registry.entry(name)
    size = " x ".join(map(str, entry.shape))
    told = {"title": entry.title, "rows x columns x bands": size, "classes": ", ".join(entry.classes)}
    if entry.wavelengths:
        told["wavelengths"] = f"{entry.wavelengths[0]:g} to {entry.wavelengths[-1]:g} nm"
    told["bands left out"] = ", ".join(str(band + 1) for band in entry.bad)
    told["no data"] = "" if entry.nodata is None else f"{entry.nodata:g}"
    told["reference system"] = entry.crs.split('"')[1] if '"' in entry.crs else entry.crs
    told["upper left corner"] = " ".join(f"{entry.transform[i]:.2f}" for i in (2, 5) if entry.transform)
    told |= {"note": entry.note, "source": entry.citation}
    for file in entry.files:
        path = registry.local(file)
        told[f"file {Path(file.name).name}"] = str(path or f"not here ({file.url or 'no public copy'})")
    return [f"{what}: {text}" for what, text in told.items() if text]


def lost_bytes(path: str, key: str = "", mended: str | None = None) -> list[str]:
    """Tell whether a cube has lost bytes to a transfer in text mode.

    A copy in which what is certain is put right goes to ``mended``, if that is named.
    """
    image = open_image(Path(path), key)
    if np.prod(image.size, dtype=float) > MOST:
        raise HsiError(f"{path}: {' x '.join(map(str, image.size))} values are more than can be held at once")
    cube = image.read(0, image.shape[0])
    try:
        finding = damage.look(cube)
    except HsiError as error:
        raise HsiError(f"{path}: {error}") from None
    count, expected = finding.bytes[damage.CR], round(finding.expected)
    found = f"byte 13 occurs {count} times, its neighbours {expected} times on average"
    if not finding.damaged:
        return [f"{path}: no sign of missing bytes ({found})"]
    better, right, still = damage.repair(cube)
    lines = [
        f"{path}: damaged as a transfer in text mode does it, which makes 13 a 10 ({found})",
        f"{right} values are 768 too low with certainty, {still} cannot be told, nor low bytes (3 units)",
    ]
    if not mended:
        return [*lines, "--repair FILE.npy writes a copy in which what is certain is put right"]
    write_array(mended, better)
    return [*lines, f"{mended}: the same with {right} values put right"]
