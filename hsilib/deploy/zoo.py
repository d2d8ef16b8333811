"""Models to download: a file, its C, and a card that says what it is, what it costs and how it was checked.

``book/models/zoo.toml`` says which runs they are; this module writes what is missing of their files.
"""

import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from hsilib.data.scenes import load_scene
from hsilib.data.splits import split_of
from hsilib.deploy import contract
from hsilib.deploy.c99 import stream
from hsilib.deploy.export import export
from hsilib.deploy.predict import FOLDER, entries, predict
from hsilib.deploy.stages import NoStages
from hsilib.files import write_atomically
from hsilib.identity import Run
from hsilib.models.evaluate import confusion, per_class
from hsilib.study.runs import make_run
from hsilib.study.store import Store

SCENE, SPLIT = "indian_pines_8bit", "disjoint"  # unless an entry says otherwise
SMALL = 25_000  # bytes of payload up to which C is offered too
ACCURACIES = "oa", "aa30", "aa"
SAME = ["scene", "split", "method", "ratio", "options", "epochs", "schedule"]  # of all seeds of a run


def run_of(entry: dict[str, Any]) -> Run:
    """Return the run of an entry."""
    words = {"scene": SCENE, "split": SPLIT} | {key: value for key, value in entry.items() if key != "why"}
    return make_run(**words)


def card(name: str, entry: dict[str, Any], store: Store) -> dict[str, Any]:
    """Return what is known of a model: accuracies of its run and of all seeds, classes, costs, checks."""
    run, rows = run_of(entry), store.rows()
    mine = rows[rows["run"] == run.id].iloc[0]
    alike = rows[(rows[SAME] == mine[SAME]).all(axis=1)]
    scene = load_scene(run.scene)
    split, data = split_of(scene, run.split, run.seed), (FOLDER / f"{name}.onnx").read_bytes()
    drawn = predict(FOLDER / f"{name}.onnx", scene.cube)[0]
    recall = per_class(confusion(split.test_y, drawn.ravel()[split.test].astype(int) - 1, len(scene.classes)))
    spread = {metric: alike[metric].agg(["mean", "std"]).round(4).tolist() for metric in ACCURACIES}
    return {
        "why": entry["why"], "run": run.id, "scene": run.scene, "split": run.split, "seed": run.seed,
        **{metric: float(mine[metric]) for metric in ACCURACIES}, "small": mine["small"],
        "seeds": len(alike), "over seeds": spread,
        "recall": dict(zip(scene.classes, [None if np.isnan(v) else round(float(v), 1) for v in recall])),
        "payload": int(mine["payload"]), "file": len(data), "macs": int(mine["macs"]),
        "sha256": hashlib.sha256(data).hexdigest(),
        "pixels that differ from the stored map": int((drawn != store.read_map(run.id)).sum()),
        "asks": contract.of_scene(scene),
    }


def build() -> None:
    """Write the files that are missing, and all cards."""
    store = Store()
    for name, entry in entries().items():
        run, path, code = run_of(entry), FOLDER / f"{name}.onnx", FOLDER / f"{name}-c.zip"
        if not path.exists():
            export(run, path)
        said, told = card(name, entry, store), FOLDER / f"{name}.json"
        if said["payload"] < SMALL:
            there = code.exists() and told.exists()
            try:
                said["c"] = json.loads(told.read_text("utf-8"))["c"] if there else _zip(run, path, code)
            except NoStages as error:
                said["no C"] = f"it computes in floats: {error}"
        write_atomically(told, json.dumps(said, indent=1) + "\n")
        print(f"{name}: {said['oa']} % OA, {said['aa']} % AA, {said['payload']} bytes")


def _zip(run, model, path):
    """Put the C of a file, its header and its test into an archive; return what it takes."""
    with tempfile.TemporaryDirectory() as folder:
        report = stream(model.read_bytes(), Path(folder) / "network.c", load_scene(run.scene), str(run))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for part in map(Path, report["files"]):
                file = zipfile.ZipInfo(part.name, (2000, 1, 1, 0, 0, 0))
                packed.writestr(file, part.read_text("utf-8"), zipfile.ZIP_DEFLATED)
    write_atomically(path, out.getvalue())
    return {key: report[key] for key in ("constants", "flash", "stack", "by", "state", "macs")}


if __name__ == "__main__":
    build()
