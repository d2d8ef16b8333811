"""What shows that public copies of Indian Pines lost their bytes 13, kept so that the page needs no cube."""

import json

import numpy as np

from hsilib.data import damage
from hsilib.data.cards import encode, false_colour, read_or_say, read_png
from hsilib.data.formats import read_array
from hsilib.data.registry import File, at_hand, locate
from hsilib.data.scenes import entry, load_scene
from hsilib.errors import HsiError
from hsilib.files import write_atomically
from hsilib.study.store import Store

RED = (213, 60, 40)
BAND = 75  # the band that is drawn, from 1: one of those that lost most
CROPS = {  # cubes of whole numbers as their distributors give them, and a second copy of the crop
    "Indian Pines, a crop": ("Indian_part.mat", "X"),
    "Indian Pines, another crop": ("Indian_subset.mat", "Indian_subset"),
    "University of Pavia, a crop": ("UPavia_Subset.mat", "paviaU"),
    "Salinas-A": ("SalinasA_corrected.mat", "salinasA_corrected"),
}
COMPONENTS = File(
    "IndianPines_pca.csv", "", "sha256:e9cf1f5d18a2cf12e3f919140091f8712e565ae88e20a74d199b16b9c7d6af93",
    "https://raw.githubusercontent.com/Phantasma39/HyperSpectral-Classification/6d9ea32/results/csv/"
    "IndianPines_pca.csv",
)


def evidence(store: Store) -> tuple[dict, np.ndarray]:
    """Return what was found, and the drawn band (H, W, 3) with the pixels that lost a byte in red.

    It is computed where the files are at hand, and else read from the store.
    """
    folder = store.find("damage")
    if not (folder / "evidence.json").is_file():
        _write(folder)
    found = read_or_say(folder / "evidence.json", lambda path: json.loads(path.read_text("utf-8")))
    return found, read_png(folder / "band.png")


def _write(folder):
    crops = {name: File(*words) for name, words in CROPS.items()}
    if len(at_hand([*crops.values(), COMPONENTS])) <= len(crops):
        raise HsiError("the store has no evidence of the damage, and not all files it needs are at hand")
    cubes = {name: read_array(locate(file, name), file.key) for name, file in crops.items()}
    found = {"bytes": {name: damage.look(cube).bytes[:32].tolist() for name, cube in cubes.items()}}
    sound, hurt = load_scene("indian_pines_undamaged"), load_scene("indian_pines_rebuilt")
    high = sound.cube.astype(int) >> 8 == damage.CR
    classes = [high[sound.labels == number] for number in range(1, len(sound.classes) + 1)]
    found |= {"share": float(high.mean()), "by band": high.mean((0, 1)).round(5).tolist()}
    found["by class"] = {name: float(part.mean()) for name, part in zip(sound.classes, classes)}
    found["explained"] = _explained(sound)
    crop = cubes["Indian Pines, a crop"].astype(int)
    mended, right, still = damage.repair(crop)
    (row, column), (rows, columns) = entry(hurt.name).corners[0], crop.shape[:2]
    there = sound.cube[row : row + rows, column : column + columns]
    worse = (np.abs(there - mended) > np.abs(there - crop)) & (mended != crop)
    found["repaired"] = {"right": right, "open": still, "contradicted": int(worse.sum())}
    picture = false_colour(sound.cube.reshape(-1, sound.cube.shape[2]), (BAND - 1,) * 3)
    picture[high[..., BAND - 1].ravel()] = RED
    write_atomically(folder / "band.png", encode(picture.reshape(*sound.labels.shape, 3), "RGB"))
    write_atomically(folder / "evidence.json", json.dumps(found, indent=1))


def _explained(scene):
    """Held-out R² of each published component, fitted on 5,000 labelled pixels of the rebuilt scene."""
    components = np.genfromtxt(locate(COMPONENTS, "the components"), delimiter=",", skip_header=1)[:, :-1]
    whole = scene.cube[scene.labels > 0].astype(int)  # row by row, as the components are
    order = np.random.default_rng(0).permutation(len(whole))
    fit, held = order[:5000], order[5000:]
    variants = {"undamaged": whole, "13 became 10": damage.text_mode(whole),
                "control: 12 became 9": np.where(whole >> 8 == 12, whole - 768, whole),
                "control: 14 became 11": np.where(whole >> 8 == 14, whole - 768, whole)}
    out = {}
    for name, values in variants.items():
        x = np.c_[values, np.ones(len(values))].astype(float)
        weight = np.linalg.lstsq(x[fit], components[fit], rcond=None)[0]
        error, spread = (components[held] - x[held] @ weight) ** 2, components[held].var(0) * len(held)
        out[name] = (1 - error.sum(0) / spread).round(4).tolist()
    return out
