"""What the command line tells of scenes and their files, as lines of text."""

from pathlib import Path

from hsilib.data import damage, imagesets, registry, scenes, synthetic
from hsilib.data.formats import open_image
from hsilib.errors import HsiError
from hsilib.files import readable, write_array


def of_all() -> list[str]:
    """List all scenes, and whether their files are here."""
    lines = [f"{'name':24} {'rows x cols x bands':20} {'classes':>7}  {'files':10} title"]
    for name in registry.names():
        state, title, size, k = "found" if at_hand(name) else "not here", "", "images", ""
        try:
            if name not in registry.image_names():
                entry, state = registry.entry(name), "embedded" if name in synthetic.SCENES else state
                title, size, k = entry.title, " x ".join(map(str, entry.shape)), len(entry.classes)
            elif state == "found":
                images = imagesets.open_set(name)
                title, size, k = images.title, f"{len(images.files)} images", len(images.classes)
            lines.append(f"{name:24} {size:20} {k:7}  {state:10} {title}".rstrip())
        except Exception as error:  # one that is damaged does not hide the others
            lines.append(f"{name:24} {error}")
    return lines


def at_hand(name: str) -> bool:
    """Say whether a scene can be loaded without a download."""
    try:
        if name in registry.image_names():
            return bool(imagesets.open_set(name).files)
        files = registry.entry(name).files
        return len(registry.at_hand(files)) == len(files)
    except HsiError:
        return False


def of_scene(name: str) -> list[str]:
    """Tell what is known of a scene."""
    if name in registry.image_names():
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
    here = registry.at_hand(entry.files)
    for file in entry.files:
        where = here.get(file, f"not here ({file.url or 'no public copy'})")
        told[f"file {Path(file.name).name}"] = str(where)
    return [f"{what}: {text}" for what, text in told.items() if text]


def lost_bytes(path: str, key: str = "", mended: str | None = None) -> list[str]:
    """Tell whether a cube has lost bytes to a transfer in text mode.

    A copy in which what is certain is put right goes to ``mended``, if that is named.
    """
    image = open_image(Path(path), key)
    with readable(f"{path}: cannot be read at once"):
        cube = image.read(0, image.shape[0])
        finding = damage.look(cube, path)
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
