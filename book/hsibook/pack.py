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
from hsilib.data.splits import FEW, SPLITS, TRANSFER, split_of
from hsilib.files import project, write_atomically

READINGS = [name for name in SPLITS if name not in ("random", "blocks", "choice", *TRANSFER, *FEW)]  # no seed


def errata(scene: Scene) -> pd.DataFrame:
    """List the training pixels that the ground truth leaves unlabelled, or gives another class."""
    odd = (scene.train_map > 0) & (scene.train_map != scene.labels)
    rows, columns = np.nonzero(odd)
    names = np.array(["none", *scene.classes])
    said = {"row": rows, "column": columns, "training map": names[scene.train_map[odd]]}
    return pd.DataFrame(said | {"ground truth": names[scene.labels[odd]]})


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
            said["splits"][name] = {"what": SPLITS[name], "leakage": round(split.leakage, 4)}
            counts.append({"scene": scene.name, "split": name, "class": scene.classes})
            for side in ("train", "test"):
                pixels, classes = getattr(split, side), getattr(split, f"{side}_y")
                mask = np.zeros(scene.labels.shape, np.uint8)  # classes from 1, and 0 elsewhere
                mask.flat[pixels] = classes + 1
                files[f"{scene.name}/{name}-{side}.png"] = png(mask)
                said["splits"][name][side] = len(pixels)
                counts[-1][side] = np.bincount(classes, minlength=len(scene.classes))
        about[scene.name] = said
    counts = pd.concat(map(pd.DataFrame, counts), ignore_index=True)
    files["README.txt"] = (project() / "book" / "splits.txt").read_bytes()
    files["splits.json"] = json.dumps(about, indent=1).encode()
    files["counts.csv"] = counts.to_csv(index=False, lineterminator="\n").encode()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as pack:
        for name in sorted(files):  # the same bytes every time
            pack.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name], zipfile.ZIP_DEFLATED)
    write_atomically(path, data.getvalue())
    return counts
