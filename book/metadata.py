"""What other tools read of this project, in the formats they know.

    make metadata                   version, date and address in CITATION.cff, codemeta.json and .zenodo.json
    python book/metadata.py FOLDER  what a release carries, all generated: scenes and splits as Croissant, the
                                    runs as an RO-Crate, each model as a STAC item, a card and a file for QGIS
"""

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import numpy as np

from hsibook.pack import READINGS, write_pack
from hsilib.data import registry
from hsilib.data.splits import SPLITS
from hsilib.deploy.predict import FOLDER, entries
from hsilib.files import fingerprint, write_atomically
from hsilib.study.store import Store, published

ROOT = Path(__file__).resolve().parents[1]
PAPER = "https://doi.org/10.48550/arXiv.2603.04720"
MIT = "https://spdx.org/licenses/MIT"


def facts() -> dict:
    """Version, date, description and address: each from its one place."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    version, date = re.search(r"(?m)^## (\S+), (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8")).groups()
    return project | {"version": version, "date": date, "url": os.environ.get("HSILIB_REPOSITORY", "")}


def project_files(f: dict) -> dict:
    """The three files at the root: as they stand, with all that follows from the facts said anew."""
    said = {"version": f["version"], "date-released": f["date"], "repository-code": f["url"]}
    citation = re.sub(rf"(?m)^({'|'.join(said)}): .*\n", "", (ROOT / "CITATION.cff").read_text("utf-8"))
    citation += "".join(f"{key}: {value}\n" for key, value in said.items() if value)
    both = {key: f[key] for key in ("description", "version", "keywords")}
    files = {".zenodo.json": {"title": f"hsilib {f['version']}", "publication_date": f["date"]}}
    files["codemeta.json"] = {"dateModified": f["date"], "runtimePlatform": f"Python {f['requires-python']}",
                              "softwareRequirements": f["dependencies"], "codeRepository": f["url"]}
    files = {name: json.loads((ROOT / name).read_text("utf-8")) | both | said for name, said in files.items()}
    files = {name: {key: value for key, value in said.items() if value} for name, said in files.items()}
    return files | {"CITATION.cff": citation}


def thing(kind: str, place: str, **said) -> dict:
    """A node of JSON-LD, named as the end of its place unless it is said otherwise."""
    return {"@type": kind, "@id": place, "name": place.removeprefix("#").rpartition("/")[2]} | said


def croissant(f: dict, table: str, columns: dict[str, str], rows: list, **said) -> dict:
    """A data set, with a table of columns (of these kinds) that stands in the file itself."""
    ids = {f"{table}/{column}": f"sc:{kind}" for column, kind in columns.items()}
    fields = [thing("cr:Field", place, dataType=kind) for place, kind in ids.items()]
    records = thing("cr:RecordSet", table, field=fields, data=[dict(zip(ids, row)) for row in rows])
    said |= {"url": f["url"] or PAPER, "version": f["version"], "datePublished": f["date"]}
    return template("croissant") | {"recordSet": [records]} | said  # its context is the standard's, and geocr


# AVIRIS in 1992: bands of each spectrometer, and the centres of its first, middle and last in nm, between
# which a parabola lies within 0.05 nm of the calibration; of the 220 bands, those that are kept
AVIRIS = (31, 400.02, 547.6, 696.5), (63, 686.91, 985.27, 1282.55)
AVIRIS += (63, 1273.0, 1581.3, 1888.28), (63, 1883.24, 2192.37, 2498.96)
KEPT = np.r_[0:103, 108:149, 163:219]


def wavelengths(name: str) -> list[float]:
    """The centre of each band of a published scene in nm, where its calibration is known."""
    parts = [np.polyval(np.polyfit([0, many // 2, many - 1], nm, 2), range(many)) for many, *nm in AVIRIS]
    return np.concatenate(parts)[KEPT].round(1).tolist() if name.startswith("indian_pines") else []


def croissant_scene(f: dict, name: str) -> dict:
    """A scene: its files at their distributor, its classes, its bands."""
    entry, files = registry.REGISTRY[name], []
    for i, file in enumerate(entry.files):
        said = {"contentUrl": file.url, "encodingFormat": "application/octet-stream", "name": file.name}
        files.append(thing("cr:FileObject", f"file{i}", sha256=file.check.removeprefix("sha256:"), **said))
    bands = [{"@type": "geocr:BandMetadata", "geocr:bandNumber": i + 1} for i in range(entry.shape[2])]
    for band, wave in zip(bands, wavelengths(name)):
        band["geocr:centerWavelength"] = {"@type": "sc:QuantitativeValue", "value": wave, "unitText": "nm"}
    title = f"{entry.title}: {' x '.join(map(str, entry.shape))}"
    classes = {"number": "Integer", "name": "Text"}, list(enumerate(entry.classes, 1))
    said = {"citeAs": entry.citation, "license": entry.licence, "geocr:spectralBandMetadata": bands}
    said["geocr:bandConfiguration"] = {"@type": "geocr:BandConfiguration", "geocr:totalBands": len(bands)}
    return croissant(f, "classes", *classes, name=name, description=title, distribution=files, **said)


def croissant_pack(f: dict, path: Path, names: list[str]) -> dict:
    """The divisions of scenes into training and test pixels, which ``pack`` wrote."""
    said = {"contentUrl": path.name, "encodingFormat": "application/zip", "sha256": fingerprint(path)}
    masks = {"containedIn": {"@id": "pack"}, "encodingFormat": "image/png", "includes": "*/*.png"}
    files = [thing("cr:FileObject", "pack", **said), thing("cr:FileSet", "masks", **masks)]
    splits = {"name": "Text", "what": "Text"}, [(name, SPLITS[name]) for name in READINGS]
    said = {"description": f"Training and test pixels of {', '.join(names)}", "license": MIT}
    said |= {"name": "splits", "citeAs": "IEEE GRSS DASE; UPV/EHU", "distribution": files}
    return croissant(f, "splits", *splits, **said)


def template(name: str) -> dict:
    """What is the same in every file of a kind."""
    return json.loads((ROOT / "book" / f"{name}.json").read_text("utf-8"))


def stac(f: dict, name: str, card: dict) -> dict:
    """A model as a STAC item with the extension for machine learning."""
    scene, item = card["scene"], template("stac")
    said, asset = item["properties"], item["assets"]["model"]
    (given,), (made,) = said["mlm:input"], said["mlm:output"]
    given["bands"] = [f"band {i}" for i in range(1, registry.entry(scene).shape[2] + 1)]
    given["input"]["shape"] = [-1, -1, len(given["bands"])]
    made["classification:classes"] = [
        {"value": i, "name": re.sub(r"[^\w-]", "_", label), "description": label}
        for i, label in enumerate(card["recall"], 1)
    ]
    said |= {"datetime": f"{f['date']}T00:00:00Z", "title": card["why"], "mlm:name": name}
    said |= {"mlm:architecture": name.removeprefix(f"{scene}-"), "mlm:pretrained_source": scene}
    said["mlm:memory_size"] = card["payload"]
    said["mlm:hyperparameters"] = {key: card[key] for key in ("split", "seed", "run")}
    asset |= {"href": f"./{name}.onnx", "title": name, "file:size": card["file"]}
    asset["bands"] = [{"name": name} for name in given["bands"]]
    asset["file:checksum"] = f"1220{card['sha256']}"
    return {"id": name} | item


KINDS = {"oa": "Overall accuracy", "aa30": "Mean recall of classes of at least 30 test pixels"}
KINDS["aa"] = "Average accuracy"


def model_card(name: str, card: dict) -> str:
    """A model as the card that hubs show: what machines read in front, what people read behind it."""
    metrics = [{"type": kind, "name": what, "value": card[kind]} for kind, what in KINDS.items()]
    data = {"name": card["scene"], "type": card["scene"], "split": card["split"]}
    index = {"task": {"type": "image-segmentation"}, "dataset": data, "metrics": metrics}
    spread = {kind: "{:.1f} ± {:.1f}".format(*card["over seeds"][kind]) for kind in KINDS}
    lines = [f"| {KINDS[kind]} | {card[kind]:.1f} | {spread[kind]} |\n" for kind in KINDS]
    lines += [f"| Recall of {what} | {'–' if x is None else x} | |\n" for what, x in card["recall"].items()]
    said = card | {"name": name, "why": card["why"][0].upper() + card["why"][1:], "lines": "".join(lines)}
    said["index"] = json.dumps([{"name": name, "results": [index]}])  # JSON is YAML
    said["small"] = card["small"].replace(" ", ", ") or "at least 30"
    return (ROOT / "book" / "card.template").read_text("utf-8").format(**said)


def for_qgis(data: bytes) -> bytes:
    """A model as QGIS's Deepness asks for: from a tile of 64 x 64, divided by 255 there, to its scores."""
    import onnx

    model = onnx.load_from_string(data)
    said = {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    around = (ROOT / "book" / "qgis.txt").read_text("utf-8")  # makes ``cube``; the model, ``scores``
    graph = onnx.parser.parse_graph(around.format(bands=said["bands"], classes=len(said["classes"])))
    graph.node.extend([*model.graph.node, graph.node.pop()])
    graph.initializer.extend(model.graph.initializer)
    model.graph.CopyFrom(graph)
    onnx.helper.set_model_props(model, {
        "model_type": json.dumps("Segmentor"), "class_names": json.dumps(dict(enumerate(said["classes"]))),
        "tile_size": "64", "tiles_overlap": "30", "hsilib": json.dumps(said),
    })
    onnx.checker.check_model(model)
    return model.SerializeToString()


def crate(f: dict, store: Store) -> dict:
    """The published runs as a Workflow Run RO-Crate: an action for each method of a split."""
    rows, said = store.rows(), template("crate")
    held = {path.name: path.read_text("utf-8") for path in sorted(store.folder.glob("*.csv"))}
    file, actions = {"encodingFormat": "text/csv", "description": "one row a run, sealed"}, []
    for (scene, split, method), part in rows.groupby(["scene", "split", "method"]):
        about = {"name": f"{method} on {scene}, {split}: {len(part)} runs", "endTime": f["date"]}
        about |= {"object": [{"@id": f"#{scene}"}], "instrument": {"@id": "#hsilib"}}
        about["result"] = [{"@id": name} for name in held if f",{method}," in held[name]]
        actions.append(thing("CreateAction", f"#{scene}-{split}-{method}", **about))
    said["@graph"][-1] |= {  # the data set
        "description": f"{len(rows)} runs: scene, split, method, seed, recipe, accuracies and costs of each",
        "name": f"Runs of hsilib {f['version']}", "datePublished": f["date"],
        "hasPart": [{"@id": name} for name in held],
        "mentions": [{"@id": action["@id"]} for action in actions],
    }
    said["@graph"] += [
        *actions, *(thing("File", name, **file) for name in held),
        thing("SoftwareApplication", "#hsilib", version=f["version"], url=f["url"] or PAPER),
        *(thing("Dataset", f"#{name}") for name in sorted(rows["scene"].unique())),
    ]
    return said


def release_files(f: dict, folder: Path) -> dict:
    """All that a release carries; the pack of splits is written first, for its checksum is among it."""
    store, files = Store(published()), {}
    for name, entry in registry.REGISTRY.items():
        if all(file.check.startswith("sha256:") and file.url for file in entry.files):
            files[f"scenes/{name}.croissant.json"] = croissant_scene(f, name)
    there = sorted(path.name for path in (store.folder / "scenes").iterdir())
    cards = [card for card in (store.card(name)[0] for name in there) if card.train_map is not None]
    write_pack(folder / "splits.zip", cards)
    pack = croissant_pack(f, folder / "splits.zip", [card.name for card in cards])
    files |= {"splits.croissant.json": pack, "ro-crate-metadata.json": crate(f, store)}
    for name in entries():
        card = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
        data = (FOLDER / f"{name}.onnx").read_bytes()
        files |= {f"qgis/{name}.onnx": for_qgis(data), f"models/{name}.onnx": data}
        files |= {f"models/{name}.md": model_card(name, card)}
        files |= {f"models/{name}.stac.json": stac(f, name, card)}
    return files


if __name__ == "__main__":
    place = Path(sys.argv[1]) if sys.argv[1:] else ROOT
    for name, said in (release_files(facts(), place) if sys.argv[1:] else project_files(facts())).items():
        said = json.dumps(said, indent=1, ensure_ascii=False) + "\n" if isinstance(said, dict) else said
        write_atomically(place / name, said)
