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
TILE = 64  # pixels of a side, of a model in QGIS


def facts() -> dict:
    """Version, date, description and address: each from its one place."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    first = re.search(r"(?m)^## (\S+), (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text())
    version, date = first.groups()
    if version != project["version"]:
        raise SystemExit(f"CHANGELOG.md begins with {version}, pyproject.toml says {project['version']}")
    return project | {"date": date, "url": os.environ.get("HSILIB_REPOSITORY", "")}


def with_url(said: dict, key: str, url: str) -> dict:
    """The address, where one is known."""
    return said | ({key: url} if url else {})


def citation(f: dict) -> str:
    lines = (ROOT / "CITATION.cff").read_text()
    lines = re.sub(r"(?m)^version: .*$", f"version: {f['version']}", lines)
    lines = re.sub(r"(?m)^date-released: .*$", f"date-released: {f['date']}", lines)
    lines = re.sub(r"(?m)^repository-code: .*\n", "", lines)
    return lines + (f"repository-code: {f['url']}\n" if f["url"] else "")


def codemeta(f: dict) -> dict:
    said = {
        "@context": "https://w3id.org/codemeta/3.0", "@type": "SoftwareSourceCode", "name": f["name"],
        "description": f["description"], "version": f["version"], "dateModified": f["date"], "license": MIT,
        "programmingLanguage": "Python", "runtimePlatform": f"Python {f['requires-python']}",
        "keywords": f["keywords"], "author": [{"@type": "Organization", "name": "the hsilib authors"}],
        "softwareRequirements": f["dependencies"], "referencePublication": PAPER,
    }
    return with_url(said, "codeRepository", f["url"])


def zenodo(f: dict) -> dict:
    return {
        "title": f"hsilib {f['version']}", "description": f["description"], "upload_type": "software",
        "license": "mit", "version": f["version"], "publication_date": f["date"], "keywords": f["keywords"],
        "creators": [{"name": "the hsilib authors"}],
        "related_identifiers": [
            {"identifier": PAPER, "relation": "isSupplementTo", "resource_type": "publication-article"}
        ],
    }


# ------------------------------------------------------------------------------- scenes and splits: Croissant

WORDS = """citeAs column extract field fileProperty fileObject fileSet format includes isLiveDataset jsonPath
key md5 parentField path recordSet references regex repeated replace samplingRate separator source subField
transform""".split()  # of Croissant
CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "geocr": "http://mlcommons.org/croissant/geocr/", "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"}, **{word: f"cr:{word}" for word in WORDS},
}


def _dataset(f, name, title, cite, licence, files, records, **more):
    return {
        "@context": CONTEXT, "@type": "sc:Dataset", "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name, "description": title, "citeAs": cite, "license": licence, "url": f["url"] or PAPER,
        "version": f["version"], "datePublished": f["date"], "distribution": files, "recordSet": records,
        **more,
    }


def _table(name, columns, rows):
    """A record set whose rows stand in the file itself."""
    kinds = {int: "sc:Integer", str: "sc:Text", float: "sc:Float"}
    fields = [
        {"@type": "cr:Field", "@id": f"{name}/{column}", "name": column, "dataType": kinds[kind]}
        for column, kind in columns.items()
    ]
    data = [{f"{name}/{column}": value for column, value in zip(columns, row)} for row in rows]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields, "data": data}


def croissant_scene(f: dict, name: str) -> dict | None:
    """A scene: its files at their distributor, its classes, its bands; None where a file has no SHA-256."""
    entry = registry.REGISTRY[name]
    if not all(file.check.startswith("sha256:") and file.url for file in entry.files):
        return None
    files = [
        {
            "@type": "cr:FileObject", "@id": f"file{place}", "name": file.name, "contentUrl": file.url,
            "encodingFormat": "application/octet-stream", "sha256": file.check.removeprefix("sha256:"),
        }
        for place, file in enumerate(entry.files)
    ]
    classes = _table("classes", {"number": int, "name": str}, enumerate(entry.classes, 1))
    bands = []
    for band, wave in enumerate(entry.wavelengths or [None] * entry.shape[2], 1):
        centre = {"@type": "sc:QuantitativeValue", "value": wave, "unitText": "nm"}
        bands.append({"@type": "geocr:BandMetadata", "geocr:bandNumber": band})
        bands[-1] |= {"geocr:centerWavelength": centre} if wave else {}
    more = {
        "geocr:bandConfiguration": {"@type": "geocr:BandConfiguration", "geocr:totalBands": entry.shape[2]},
        "geocr:spectralBandMetadata": bands,
    }
    title = f"{entry.title}: {' x '.join(map(str, entry.shape))}"
    return _dataset(f, name, title, entry.citation, entry.licence, files, [classes], **more)


def croissant_pack(f: dict, path: Path, names: list[str]) -> dict:
    """The divisions of scenes into training and test pixels, which ``pack`` wrote."""
    files = [
        {
            "@type": "cr:FileObject", "@id": "pack", "name": path.name, "contentUrl": path.name,
            "encodingFormat": "application/zip", "sha256": fingerprint(path),
        },
        {
            "@type": "cr:FileSet", "@id": "masks", "name": "masks", "containedIn": {"@id": "pack"},
            "encodingFormat": "image/png", "includes": "*/*.png",
        },
    ]
    what = _table("splits", {"name": str, "what": str}, [(name, SPLITS[name]) for name in READINGS])
    title = f"Training and test pixels of {', '.join(names)}"
    return _dataset(f, "splits", title, "IEEE GRSS DASE; UPV/EHU", MIT, files, [what])


# -------------------------------------------------------------------------------- models: STAC, a card, QGIS


def stac(f: dict, name: str, card: dict) -> dict:
    """A model as a STAC item with the extension for machine learning."""
    classes = [{"value": i, "name": label} for i, label in enumerate(card["recall"], 1)]
    entry = registry.entry(card["scene"])
    shape = {"shape": [-1, -1, entry.shape[2]], "dim_order": ["height", "width", "bands"]}
    shape |= {"data_type": "float32"}
    bands = [f"band {i}" for i in range(1, entry.shape[2] + 1)]
    properties = {
        "datetime": f"{f['date']}T00:00:00Z", "title": card["why"], "license": "MIT",
        "mlm:name": name, "mlm:architecture": name.removeprefix(f"{card['scene']}-"),
        "mlm:tasks": ["semantic-segmentation"], "mlm:framework": "ONNX", "mlm:accelerator": None,
        "mlm:memory_size": card["payload"], "mlm:pretrained": True, "mlm:pretrained_source": card["scene"],
        "mlm:input": [
            {"name": "cube", "bands": bands, "input": shape, "norm_by_channel": False, "resize_type": None}
        ],
        "mlm:output": [
            {
                "name": "map", "tasks": ["semantic-segmentation"], "classification:classes": classes,
                "result": {"shape": [-1, -1], "dim_order": ["height", "width"], "data_type": "uint8"},
            }
        ],
        "mlm:hyperparameters": {"split": card["split"], "seed": card["seed"], "run": card["run"]},
    }
    asset = {
        "href": f"./{name}.onnx", "type": "application/octet-stream; framework=onnx", "title": name,
        "roles": ["mlm:model", "data"], "mlm:artifact_type": "onnx", "file:size": card["file"],
        "file:checksum": f"1220{card['sha256']}",
    }
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": name, "geometry": None, "properties": properties,
        "stac_extensions": [
            "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
            "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
            "https://stac-extensions.github.io/file/v2.1.0/schema.json",
        ],
        "links": [], "assets": {"model": asset},
    }


def model_card(name: str, card: dict) -> str:
    """A model as the card that hubs show: what machines read in front, what people read behind it."""
    label = {"oa": "Overall accuracy", "aa30": "Mean recall of classes of at least 30 test pixels"}
    label |= {"aa": "Average accuracy"}
    front = {
        "license": "mit", "library_name": "onnx", "tags": ["hyperspectral", "land-cover", card["scene"]],
        "pipeline_tag": "image-segmentation",
        "model-index": [{"name": name, "results": [{
            "task": {"type": "image-segmentation"},
            "dataset": {"name": card["scene"], "type": card["scene"], "split": card["split"]},
            "metrics": [{"type": kind, "name": what, "value": card[kind]} for kind, what in label.items()],
        }]}],
    }  # JSON is YAML
    spread = ""
    for kind, what in label.items():
        mean, sd = card["over seeds"][kind]
        spread += f"| {what} | {card[kind]:.1f} | {mean:.1f} ± {sd:.1f} |\n"
    recall = [(kind, "–" if value is None else value) for kind, value in card["recall"].items()]
    recall = "".join(f"| {kind} | {value} |\n" for kind, value in recall)
    return (
        f"---\n{json.dumps(front, indent=1)}\n---\n\n# {name}\n\n{card['why'].capitalize()}. "
        f"It takes raw spectra of {card['scene']}, from {card['asks']['low']:g} to "
        f"{card['asks']['high']:g}, "
        f"and stores {card['payload']:,} bytes.\n\n"
        f"| percent of the test pixels of `{card['split']}` | this file | "
        f"mean ± sd of {card['seeds']} seeds |\n"
        f"|---|--:|--:|\n{spread}\nSmallest classes have {card['small'] or 'at least 30'} test pixels.\n\n"
        f"| class | recall, % |\n|---|--:|\n{recall}\nRun `{card['run']}`; sha256 `{card['sha256']}`.\n"
    )


def for_qgis(data: bytes) -> bytes:
    """A model in the layout that QGIS's Deepness asks for: (1, bands, 64, 64) to (1, classes, 64, 64).

    That plugin divides every value by 255 first.
    """
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(data)
    said = {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    graph, bands, classes = model.graph, said["bands"], said["classes"]
    front = [
        helper.make_node("Mul", ["qgis.image", "qgis.scale"], ["qgis.counts"]),
        helper.make_node("Squeeze", ["qgis.counts", "qgis.first"], ["qgis.planes"]),
        helper.make_node("Transpose", ["qgis.planes"], ["cube"], perm=[1, 2, 0]),
    ]
    back = helper.make_node("Unsqueeze", ["scores", "qgis.first"], ["qgis.scores"])
    nodes = [*front, *graph.node, back]
    held = [
        numpy_helper.from_array(np.array(255, np.float32), "qgis.scale"),
        numpy_helper.from_array(np.array([0], np.int64), "qgis.first"),
    ]
    ends = [
        [helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, [1, count, TILE, TILE])]
        for end, count in (("qgis.image", bands), ("qgis.scores", len(classes)))
    ]
    made = helper.make_graph(nodes, "hsilib", *ends, [*graph.initializer, *held])
    made = helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)
    props = {
        "model_type": json.dumps("Segmentor"), "class_names": json.dumps(dict(enumerate(classes))),
        "tile_size": str(TILE), "tiles_overlap": "30", "hsilib": json.dumps(said),
    }
    helper.set_model_props(made, props)
    onnx.checker.check_model(made)
    return made.SerializeToString()


# ------------------------------------------------------------------------------ runs: Workflow Run RO-Crate


def crate(f: dict, store: Store) -> dict:
    """The published runs as a Workflow Run RO-Crate: an action for each method of a split."""
    rows, tables = store.rows(), sorted(path.name for path in store.folder.glob("*.csv"))
    profile = "https://w3id.org/ro/wfrun/process/0.5"
    software = {"@id": "#hsilib", "@type": "SoftwareApplication", "name": "hsilib"}
    software |= {"version": f["version"], "url": f["url"] or PAPER}
    about = {"@type": "File", "encodingFormat": "text/csv", "description": "one row a run, sealed"}
    parts = [{"@id": name, "name": name.removesuffix(".csv")} | about for name in tables]
    held, actions = {name: (store.folder / name).read_text() for name in tables}, []
    for (scene, split, method), part in rows.groupby(["scene", "split", "method"]):
        actions.append({
            "@id": f"#{scene}-{split}-{method}", "@type": "CreateAction", "endTime": f["date"],
            "name": f"{method} on {scene}, {split}: {len(part)} runs", "instrument": {"@id": "#hsilib"},
            "object": [{"@id": f"#{scene}"}],
            "result": [{"@id": name} for name in tables if f",{method}," in held[name]],
        })
    given = [{"@id": f"#{name}", "@type": "Dataset", "name": name} for name in sorted(rows["scene"].unique())]
    root = {
        "@id": "./", "@type": "Dataset", "name": f"Runs of hsilib {f['version']}", "datePublished": f["date"],
        "description": f"{len(rows)} runs: scene, split, method, seed, recipe, accuracies and costs of each",
        "license": {"@id": MIT}, "conformsTo": {"@id": profile},
        "hasPart": [{"@id": part["@id"]} for part in parts],
        "mentions": [{"@id": action["@id"]} for action in actions],
    }
    about = {
        "@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    licence = {"@id": MIT, "@type": "CreativeWork", "name": "MIT", "identifier": MIT}
    process = {"@id": profile, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    graph = [about, root, licence, process, software, *parts, *given, *actions]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}


def _json(path, said):
    write_atomically(path, json.dumps(said, indent=1, ensure_ascii=False) + "\n")


def project_files(folder: Path = ROOT) -> None:
    f = facts()
    write_atomically(folder / "CITATION.cff", citation(f))
    _json(folder / "codemeta.json", codemeta(f))
    _json(folder / ".zenodo.json", zenodo(f))


def release_files(folder: Path) -> None:
    f, store = facts(), Store(published())
    for name in registry.REGISTRY:
        if said := croissant_scene(f, name):
            _json(folder / "scenes" / f"{name}.croissant.json", said)
    there = sorted(path.name for path in (store.folder / "scenes").iterdir())
    cards = [card for card in (store.card(name)[0] for name in there) if card.train_map is not None]
    write_pack(folder / "splits.zip", cards)
    pack = croissant_pack(f, folder / "splits.zip", [card.name for card in cards])
    _json(folder / "splits.croissant.json", pack)
    for name in entries():
        card = json.loads((FOLDER / f"{name}.json").read_text())
        data = (FOLDER / f"{name}.onnx").read_bytes()
        _json(folder / "models" / f"{name}.stac.json", stac(f, name, card))
        write_atomically(folder / "models" / f"{name}.md", model_card(name, card))
        write_atomically(folder / "models" / f"{name}.onnx", data)
        write_atomically(folder / "qgis" / f"{name}.onnx", for_qgis(data))
    _json(folder / "ro-crate-metadata.json", crate(f, store))


if __name__ == "__main__":
    release_files(Path(sys.argv[1])) if sys.argv[1:] else project_files()
