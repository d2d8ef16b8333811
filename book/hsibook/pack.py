"""The divisions of a scene as files that need no library: masks, counts, errata and leakage in one .zip."""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hsilib.data.cards import png
from hsilib.data.registry import entry
from hsilib.data.scenes import Scene
from hsilib.data.splits import FEW, SPLITS, TRANSFER, Split, split_of
from hsilib.files import project, write_atomically

READINGS = [name for name in SPLITS if name not in ("random", "blocks", "choice", *TRANSFER, *FEW)]  # no seed


def mask_of(scene: Scene, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return a map (H, W) with the 1-based classes of these pixels, and 0 elsewhere."""
    mask = np.zeros(scene.labels.shape, np.uint8)
    mask.flat[pixels] = classes + 1
    return mask


def errata(scene: Scene) -> pd.DataFrame:
    """List the training pixels that the ground truth leaves unlabelled, or gives another class."""
    odd = (scene.train_map > 0) & (scene.train_map != scene.labels)
    rows, columns = np.nonzero(odd)
    names = np.array(["none", *scene.classes])
    said = {"row": rows, "column": columns, "training map": names[scene.train_map[odd]]}
    return pd.DataFrame(said | {"ground truth": names[scene.labels[odd]]})


def counted(scene: Scene, split: Split) -> pd.DataFrame:
    """Count the pixels of each class on both sides of a split."""
    sides = {"train": split.train_y, "test": split.test_y}
    counts = {side: np.bincount(y, minlength=len(scene.classes)) for side, y in sides.items()}
    return pd.DataFrame({"scene": scene.name, "split": split.name, "class": scene.classes, **counts})


def write_pack(path: Path | str, scenes: Sequence[Scene]) -> pd.DataFrame:
    """Write the divisions of these scenes into one .zip, and return the counts of all of them.

    >>> counts = write_pack("splits.zip", [load_scene("synthetic_fields_small")])
    """
    files, about, counts = {}, {}, []
    for scene in scenes:
        files[f"{scene.name}/labels.png"] = png(scene.labels)
        said = {"title": scene.title, "shape": scene.labels.shape, "classes": scene.classes, "splits": {}}
        if not scene.synthetic:
            said["source"] = entry(scene.name).citation
        said["errata"] = errata(scene).to_dict("records")
        for name in READINGS:
            split = split_of(scene, name)
            files[f"{scene.name}/{name}-train.png"] = png(mask_of(scene, split.train, split.train_y))
            files[f"{scene.name}/{name}-test.png"] = png(mask_of(scene, split.test, split.test_y))
            leak = {"what": SPLITS[name], "leakage": round(split.leakage, 4)}
            said["splits"][name] = leak | {"train": len(split.train), "test": len(split.test)}
            counts.append(counted(scene, split))
        about[scene.name] = said
    counts = pd.concat(counts, ignore_index=True)
    files["README.txt"] = (project() / "book" / "splits.txt").read_bytes()
    files["splits.json"] = json.dumps(about, indent=1).encode()
    files["counts.csv"] = counts.to_csv(index=False, lineterminator="\n").encode()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as pack:
        for name in sorted(files):  # the same bytes every time
            pack.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name], zipfile.ZIP_DEFLATED)
    write_atomically(path, data.getvalue())
    return counts
