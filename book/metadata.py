"""What other tools read of this project, in the formats they know; nothing in it is written by hand.

    make metadata                    CITATION.cff, codemeta.json, .zenodo.json: from pyproject and changelog
    python book/metadata.py FOLDER   what a release carries: scenes and splits as Croissant, each model as a
                                     STAC item, a model card and a file for QGIS, the runs as an RO-Crate
"""

import json
import os
import re
import sys
import tomllib
from pathlib import Path

from hsibook.pack import READINGS, write_pack
from hsilib.data import registry
from hsilib.data.splits import SPLITS
from hsilib.deploy.predict import FOLDER, entries
from hsilib.files import fingerprint, write_atomically
from hsilib.study.store import Store, published

ROOT = Path(__file__).resolve().parents[1]
PAPER = "https://doi.org/10.48550/arXiv.2603.04720"
MIT = "https://spdx.org/licenses/MIT"
AUTHORS = "the hsilib authors"


def facts() -> dict:
    """Version, date, description and address: each from its one place."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    version, date = re.search(r"(?m)^## (\S+), (\d{4}-\d\d-\d\d)$", changes).groups()
    if version != project["version"]:
        raise SystemExit(f"CHANGELOG.md begins with {version}, pyproject.toml says {project['version']}")
    return project | {"date": date, "url": os.environ.get("HSILIB_REPOSITORY", "")}


def citation(f: dict) -> str:
    lines = re.sub(r"(?m)^repository-code: .*\n", "", (ROOT / "CITATION.cff").read_text())
    for key, value in (("version", f["version"]), ("date-released", f["date"])):
        lines = re.sub(rf"(?m)^{key}: .*$", f"{key}: {value}", lines)
    return lines + (f"repository-code: {f['url']}\n" if f["url"] else "")


def codemeta(f: dict) -> dict:
    said = {
        "@context": "https://w3id.org/codemeta/3.0", "@type": "SoftwareSourceCode", "name": f["name"],
        "description": f["description"], "version": f["version"], "dateModified": f["date"], "license": MIT,
        "programmingLanguage": "Python", "runtimePlatform": f"Python {f['requires-python']}",
        "keywords": f["keywords"], "author": [{"@type": "Organization", "name": AUTHORS}],
        "softwareRequirements": f["dependencies"], "referencePublication": PAPER,
    }
    return said | ({"codeRepository": f["url"]} if f["url"] else {})


def zenodo(f: dict) -> dict:
    related = {"identifier": PAPER, "relation": "isSupplementTo", "resource_type": "publication-article"}
    return {
        "title": f"hsilib {f['version']}", "description": f["description"], "upload_type": "software",
        "license": "mit", "version": f["version"], "publication_date": f["date"], "keywords": f["keywords"],
        "creators": [{"name": AUTHORS}], "related_identifiers": [related],
    }


# ------------------------------------------------------------------------------- scenes and splits: Croissant

WORDS = """citeAs column extract field fileProperty fileObject fileSet format includes isLiveDataset jsonPath
key md5 parentField path recordSet references regex repeated replace samplingRate separator source subField
transform"""
CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "geocr": "http://mlcommons.org/croissant/geocr/", "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
} | {word: f"cr:{word}" for word in WORDS.split()}


def croissant(f: dict, name: str, title: str, cite: str, licence: str, files: list, table: tuple) -> dict:
    """A data set of these files, with a table (name, {column: kind}, rows) that stands in the file itself."""
    about, columns, rows = table
    held = {"@type": "cr:RecordSet", "@id": about, "name": about}
    held["field"] = [
        {"@type": "cr:Field", "@id": f"{about}/{column}", "name": column, "dataType": f"sc:{kind}"}
        for column, kind in columns.items()
    ]
    held["data"] = [{f"{about}/{column}": value for column, value in zip(columns, row)} for row in rows]
    return {
        "@context": CONTEXT, "@type": "sc:Dataset", "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name, "description": title, "citeAs": cite, "license": licence, "url": f["url"] or PAPER,
        "version": f["version"], "datePublished": f["date"], "distribution": files, "recordSet": [held],
    }


def _file(place, name, url, kind, sha256):
    return {
        "@type": "cr:FileObject", "@id": place, "name": name, "contentUrl": url,
        "encodingFormat": f"application/{kind}", "sha256": sha256,
    }


def croissant_scene(f: dict, name: str) -> dict | None:
    """A scene: its files at their distributor, its classes, its bands; None where a file has no SHA-256."""
    entry, bands = registry.REGISTRY[name], []
    if not all(file.check.startswith("sha256:") and file.url for file in entry.files):
        return None
    files = [
        _file(f"file{place}", file.name, file.url, "octet-stream", file.check.removeprefix("sha256:"))
        for place, file in enumerate(entry.files)
    ]
    for band, wave in enumerate(entry.wavelengths or [None] * entry.shape[2], 1):
        centre = {"@type": "sc:QuantitativeValue", "value": wave, "unitText": "nm"}
        bands.append({"@type": "geocr:BandMetadata", "geocr:bandNumber": band})
        bands[-1] |= {"geocr:centerWavelength": centre} if wave else {}
    classes = "classes", {"number": "Integer", "name": "Text"}, enumerate(entry.classes, 1)
    title = f"{entry.title}: {' x '.join(map(str, entry.shape))}"
    count = {"@type": "geocr:BandConfiguration", "geocr:totalBands": entry.shape[2]}
    return croissant(f, name, title, entry.citation, entry.licence, files, classes) | {
        "geocr:bandConfiguration": count, "geocr:spectralBandMetadata": bands,
    }


def croissant_pack(f: dict, path: Path, names: list[str]) -> dict:
    """The divisions of scenes into training and test pixels, which ``pack`` wrote."""
    masks = {
        "@type": "cr:FileSet", "@id": "masks", "name": "masks", "containedIn": {"@id": "pack"},
        "encodingFormat": "image/png", "includes": "*/*.png",
    }
    files = [_file("pack", path.name, path.name, "zip", fingerprint(path)), masks]
    splits = "splits", {"name": "Text", "what": "Text"}, [(name, SPLITS[name]) for name in READINGS]
    title = f"Training and test pixels of {', '.join(names)}"
    return croissant(f, "splits", title, "IEEE GRSS DASE; UPV/EHU", MIT, files, splits)


# -------------------------------------------------------------------------------- models: STAC, a card, QGIS

EXTENSIONS = "mlm/v1.4.0", "classification/v2.0.0", "file/v2.1.0"


def stac(f: dict, name: str, card: dict) -> dict:
    """A model as a STAC item with the extension for machine learning."""
    bands, task = registry.entry(card["scene"]).shape[2], ["semantic-segmentation"]
    given = {"shape": [-1, -1, bands], "dim_order": ["height", "width", "bands"], "data_type": "float32"}
    out = {"shape": [-1, -1], "dim_order": ["height", "width"], "data_type": "uint8"}
    cube = {"name": "cube", "bands": [f"band {i}" for i in range(1, bands + 1)], "input": given}
    classes = [{"value": i, "name": label} for i, label in enumerate(card["recall"], 1)]
    properties = {
        "datetime": f"{f['date']}T00:00:00Z", "title": card["why"], "license": "MIT",
        "mlm:name": name, "mlm:architecture": name.removeprefix(f"{card['scene']}-"),
        "mlm:tasks": task, "mlm:framework": "ONNX", "mlm:accelerator": None,
        "mlm:memory_size": card["payload"], "mlm:pretrained": True, "mlm:pretrained_source": card["scene"],
        "mlm:input": [cube | {"norm_by_channel": False, "resize_type": None}],
        "mlm:output": [{"name": "map", "tasks": task, "classification:classes": classes, "result": out}],
        "mlm:hyperparameters": {key: card[key] for key in ("split", "seed", "run")},
    }
    asset = {
        "href": f"./{name}.onnx", "type": "application/octet-stream; framework=onnx", "title": name,
        "roles": ["mlm:model", "data"], "mlm:artifact_type": "onnx", "file:size": card["file"],
        "file:checksum": f"1220{card['sha256']}",
    }
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": name, "geometry": None, "properties": properties,
        "stac_extensions": [f"https://stac-extensions.github.io/{name}/schema.json" for name in EXTENSIONS],
        "links": [], "assets": {"model": asset},
    }


def model_card(name: str, card: dict) -> str:
    """A model as the card that hubs show: what machines read in front, what people read behind it."""
    label = {"oa": "Overall accuracy", "aa30": "Mean recall of classes of at least 30 test pixels"}
    label["aa"] = "Average accuracy"
    results = {
        "task": {"type": "image-segmentation"},
        "dataset": {"name": card["scene"], "type": card["scene"], "split": card["split"]},
        "metrics": [{"type": kind, "name": what, "value": card[kind]} for kind, what in label.items()],
    }
    front = {
        "license": "mit", "library_name": "onnx", "tags": ["hyperspectral", "land-cover", card["scene"]],
        "pipeline_tag": "image-segmentation", "model-index": [{"name": name, "results": [results]}],
    }  # JSON is YAML
    spread = {kind: "{:.1f} ± {:.1f}".format(*card["over seeds"][kind]) for kind in label}
    spread = "".join(f"| {what} | {card[kind]:.1f} | {spread[kind]} |\n" for kind, what in label.items())
    recall = {kind: "–" if value is None else value for kind, value in card["recall"].items()}
    recall = "".join(f"| {kind} | {value} |\n" for kind, value in recall.items())
    return f"""---
{json.dumps(front, indent=1)}
---

# {name}

{card['why'].capitalize()}. It takes raw spectra of {card['scene']}, \
from {card['asks']['low']:g} to {card['asks']['high']:g}, and stores {card['payload']:,} bytes.

| percent of the test pixels of `{card['split']}` | this file | mean ± sd of {card['seeds']} seeds |
|---|--:|--:|
{spread}
Smallest classes have {card['small'] or 'at least 30'} test pixels.

| class | recall, % |
|---|--:|
{recall}
Run `{card['run']}`; sha256 `{card['sha256']}`.
"""


QGIS = """qgis (float[1, {bands}, 64, 64] qgis_image) => (float[1, {classes}, 64, 64] qgis_planes)
<float qgis_scale = {{255}}, int64[1] qgis_first = {{0}}> {{
    qgis_counts = Mul(qgis_image, qgis_scale)
    qgis_squeezed = Squeeze(qgis_counts, qgis_first)
    cube = Transpose<perm = [1, 2, 0]>(qgis_squeezed)
    qgis_planes = Unsqueeze(scores, qgis_first)
}}"""  # around a model, which makes ``scores`` of ``cube``


def for_qgis(data: bytes) -> bytes:
    """A model as QGIS's Deepness asks for: from a tile of 64 x 64, divided by 255 there, to its scores."""
    import onnx

    model = onnx.load_from_string(data)
    said = {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    graph = onnx.parser.parse_graph(QGIS.format(bands=said["bands"], classes=len(said["classes"])))
    last = graph.node.pop()
    graph.node.extend([*model.graph.node, last])
    graph.initializer.extend(model.graph.initializer)
    model.graph.CopyFrom(graph)
    onnx.helper.set_model_props(model, {
        "model_type": json.dumps("Segmentor"), "class_names": json.dumps(dict(enumerate(said["classes"]))),
        "tile_size": "64", "tiles_overlap": "30", "hsilib": json.dumps(said),
    })
    onnx.checker.check_model(model)
    return model.SerializeToString()


# ------------------------------------------------------------------------------ runs: Workflow Run RO-Crate


def crate(f: dict, store: Store) -> dict:
    """The published runs as a Workflow Run RO-Crate: an action for each method of a split."""
    rows, profile, actions = store.rows(), "https://w3id.org/ro/wfrun/process/0.5", []
    held = {path.name: path.read_text() for path in sorted(store.folder.glob("*.csv"))}
    for (scene, split, method), part in rows.groupby(["scene", "split", "method"]):
        actions.append({
            "@id": f"#{scene}-{split}-{method}", "@type": "CreateAction", "endTime": f["date"],
            "name": f"{method} on {scene}, {split}: {len(part)} runs", "instrument": {"@id": "#hsilib"},
            "object": [{"@id": f"#{scene}"}],
            "result": [{"@id": name} for name in held if f",{method}," in held[name]],
        })
    kinds = [  # @id, @type, and what is said of it
        ("ro-crate-metadata.json", "CreativeWork",
         {"about": {"@id": "./"}, "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}}),
        ("./", "Dataset", {
            "name": f"Runs of hsilib {f['version']}", "datePublished": f["date"],
            "description": f"{len(rows)} runs: scene, split, method, seed, recipe, accuracies and "
            "costs of each",
            "license": {"@id": MIT}, "conformsTo": {"@id": profile},
            "hasPart": [{"@id": name} for name in held],
            "mentions": [{"@id": action["@id"]} for action in actions],
        }),
        (MIT, "CreativeWork", {"name": "MIT", "identifier": MIT}),
        (profile, "CreativeWork", {"name": "Process Run Crate", "version": "0.5"}),
        ("#hsilib", "SoftwareApplication",
         {"name": "hsilib", "version": f["version"], "url": f["url"] or PAPER}),
    ]
    about = {"encodingFormat": "text/csv", "description": "one row a run, sealed"}
    kinds += [(name, "File", {"name": name.removesuffix(".csv")} | about) for name in held]
    kinds += [(f"#{name}", "Dataset", {"name": name}) for name in sorted(rows["scene"].unique())]
    graph = [{"@id": place, "@type": kind} | said for place, kind, said in kinds]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [*graph, *actions]}


def write(folder: Path, files: dict[str, str | bytes | dict]) -> None:
    """Write files into a folder: text and bytes as they are, anything else as JSON."""
    for name, said in files.items():
        text = json.dumps(said, indent=1, ensure_ascii=False) + "\n" if isinstance(said, dict) else said
        write_atomically(folder / name, text)


def project_files(folder: Path = ROOT) -> None:
    f = facts()
    write(folder, {"CITATION.cff": citation(f), "codemeta.json": codemeta(f), ".zenodo.json": zenodo(f)})


def release_files(folder: Path) -> None:
    f, store = facts(), Store(published())
    scenes = {f"scenes/{name}.croissant.json": croissant_scene(f, name) for name in registry.REGISTRY}
    write(folder, {name: said for name, said in scenes.items() if said})
    there = sorted(path.name for path in (store.folder / "scenes").iterdir())
    cards = [card for card in (store.card(name)[0] for name in there) if card.train_map is not None]
    write_pack(folder / "splits.zip", cards)
    pack = croissant_pack(f, folder / "splits.zip", [card.name for card in cards])
    write(folder, {"splits.croissant.json": pack, "ro-crate-metadata.json": crate(f, store)})
    for name in entries():
        card, data = (FOLDER / f"{name}.json").read_text(), (FOLDER / f"{name}.onnx").read_bytes()
        card = json.loads(card)
        models = {"stac.json": stac(f, name, card), "md": model_card(name, card), "onnx": data}
        write(folder / "models", {f"{name}.{end}": said for end, said in models.items()})
        write(folder / "qgis", {f"{name}.onnx": for_qgis(data)})


if __name__ == "__main__":
    release_files(Path(sys.argv[1])) if sys.argv[1:] else project_files()
