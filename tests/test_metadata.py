"""What other tools read: each file is held to its standard's own validator, and skipped where that is not installed
(`.ci/release` installs all of them)."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import metadata
import numpy as np
import pytest
import yaml
from hsibook.pack import write_pack
from hsilib import Store, load_scene, predict
from hsilib.data.registry import entry
from hsilib.study.store import published

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings("ignore")  # what validators warn of is not ours
FACTS = metadata.facts() | {"url": ""}


@pytest.fixture(autouse=True)
def published_rows(monkeypatch, own_folders):
    monkeypatch.delenv("HSILIB_PUBLISHED")


def test_version_and_date_stand_in_one_place():
    for name, said in metadata.project_files(FACTS).items():
        held = (ROOT / name).read_text()
        assert said == (held if name == "CITATION.cff" else json.loads(held)), f"{name}: make metadata"
    version, date = FACTS["version"], FACTS["date"]
    cff, first = ((ROOT / name).read_text() for name in ("CITATION.cff", "notebooks/00-overview.md"))
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == version
    assert f"version: {version}\n" in cff and f"date-released: {date}\n" in cff
    assert f"This is version {version}, of {date}." in " ".join(first.split())


def test_the_address_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("HSILIB_REPOSITORY", "https://example.org/hsilib")
    said = metadata.project_files(metadata.facts())
    assert said["codemeta.json"]["codeRepository"] == "https://example.org/hsilib"
    assert said["CITATION.cff"].endswith("repository-code: https://example.org/hsilib\n")
    assert "example.org" not in (ROOT / "CITATION.cff").read_text()


def test_the_citation_is_valid():
    tool = shutil.which("cffconvert") or pytest.skip("needs cffconvert: .ci/release installs it")
    done = subprocess.run([tool, "--validate", "-i", ROOT / "CITATION.cff"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


SCENES = ["indian_pines_8bit", "salinas_a", "pavia_university_visible"]


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_as_croissant(name, tmp_path, caplog):
    said = metadata.croissant_scene(FACTS, name)
    bands, classes = entry(name).shape[2], entry(name).classes
    waves = [band.get("geocr:centerWavelength", {}).get("value") for band in said["geocr:spectralBandMetadata"]]
    assert len(waves) == bands
    if name.startswith("indian_pines"):  # of the 220 bands, 104 to 108, 150 to 163 and 220 are left out
        assert waves[::33] == pytest.approx([400.0, 706.2, 1023.7, 1322.8, 1700.3, 2152.6, 2479.3], abs=0.1)
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(said))
    croissant = pytest.importorskip("mlcroissant", reason="pip install '.[release]'")
    rows = list(croissant.Dataset(jsonld=path).records("classes"))
    assert "not standard" not in caplog.text  # of the context
    assert [row["classes/name"] for row in rows] in ([*classes], [name.encode() for name in classes])


def test_the_splits_as_croissant(tmp_path):
    write_pack(tmp_path / "splits.zip", [load_scene("synthetic_fields_small")])
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(metadata.croissant_pack(FACTS, tmp_path / "splits.zip", ["synthetic_fields_small"])))
    croissant = pytest.importorskip("mlcroissant", reason="pip install '.[release]'")
    assert len(list(croissant.Dataset(jsonld=path).records("splits"))) == len(metadata.READINGS)


MODELS = sorted(path.stem for path in (ROOT / "book" / "models").glob("*.json"))


def card(name):
    return json.loads((ROOT / "book" / "models" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", MODELS)
def test_a_model_as_stac(name):
    said = metadata.stac(FACTS, name, card(name))
    # as the schemas of the extensions ask, which lie on the network: a word for each class, the bands of the item
    (out,), (given,) = said["properties"]["mlm:output"], said["properties"]["mlm:input"]
    assert all(re.fullmatch("[0-9A-Za-z_-]+", one["name"]) for one in out["classification:classes"])
    assert [one["name"] for one in said["assets"]["model"]["bands"]] == given["bands"]
    schema = pytest.importorskip("stac_model.schema", reason="pip install '.[release]'")
    schema.MLModelProperties.model_validate(said["properties"])
    import pystac
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    # the core's schemas travel with pystac
    JsonSchemaSTACValidator().validate_core(said, pystac.STACObjectType.ITEM, said["stac_version"])
    item = pystac.Item.from_dict(said)
    assert item.assets["model"].href == f"./{name}.onnx" and item.to_dict()["properties"] == said["properties"]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_card_says_what_the_store_says(name):
    text = metadata.model_card(name, card(name))
    assert card(name)["why"][1:] in text  # kB stays kB
    front = yaml.safe_load(text.split("---\n")[1])
    row = Store(ROOT / "book" / "results").rows().set_index("run").loc[card(name)["run"]]
    for metric in front["model-index"][0]["results"][0]["metrics"]:
        assert metric["value"] == pytest.approx(row[metric["type"]])


def test_a_model_is_where_the_reader_of_qgis_looks():
    """As Deepness reads one: one input (1, bands, n, n) of values divided by 255, one output (1, classes, n, n)."""
    runtime = pytest.importorskip("onnxruntime")
    path = ROOT / "book" / "models" / "indian_pines_8bit-lens-int8.onnx"
    engine = runtime.InferenceSession(metadata.for_qgis(path.read_bytes()))
    (given,), (out,) = engine.get_inputs(), engine.get_outputs()
    side = given.shape[-1]
    assert given.shape == [1, 200, side, side] and out.shape == [1, 16, side, side]
    said = engine.get_modelmeta().custom_metadata_map
    assert json.loads(said["model_type"]) == "Segmentor" and json.loads(said["tile_size"]) == side
    assert sorted(map(int, json.loads(said["class_names"]))) == list(range(16))
    cube = np.random.default_rng(0).integers(0, 256, (side, side, 200)).astype(np.float32)
    scores = engine.run(None, {given.name: np.float32(cube / 255.0).transpose(2, 0, 1)[None]})[0]
    assert (scores[0].argmax(0) + 1 == predict(path, cube)[0]).mean() > 0.99


def test_the_runs_as_a_crate(tmp_path, monkeypatch):
    said = metadata.crate(FACTS, Store(published()))
    ids = {part["@id"] for part in said["@graph"]}
    actions = [part for part in said["@graph"] if part["@type"] == "CreateAction"]
    assert actions and all(result["@id"] in ids for action in actions for result in action["result"])
    assert all(action["result"] for action in actions) and len(ids) == len(said["@graph"])
    for path in published().glob("*.csv"):
        shutil.copy(path, tmp_path)
    (tmp_path / "ro-crate-metadata.json").write_text(json.dumps(said))
    services = pytest.importorskip("rocrate_validator.services", reason="pip install '.[release]'")
    requests_cache, rocrate = pytest.importorskip("requests_cache"), pytest.importorskip("rocrate")

    def at_hand(session, method, url, **more):
        """The words of RO-Crate, which its own package brings along: the validator asks the network for them."""
        kind = {"Content-Type": "application/ld+json"}
        answer = requests_cache.CachedResponse(status_code=200, url=url, headers=kind)
        answer._content = (Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_bytes()
        return answer

    monkeypatch.setattr(requests_cache.CachedSession, "request", at_hand)
    how = dict(profile_identifier="process-run-crate", requirement_severity="REQUIRED")
    assert [found.message for found in services.validate(dict(rocrate_uri=str(tmp_path), **how)).get_issues()] == []
    (tmp_path / sorted(path.name for path in tmp_path.glob("*.csv"))[0]).unlink()
    assert services.validate(dict(rocrate_uri=str(tmp_path), **how)).get_issues()


def test_the_report_says_what_the_journal_asks_for(monkeypatch):
    """ReScience's parser reads every part by these names: lists of pairs, authors, an author to write to."""
    sys.path.insert(0, str(ROOT / "book" / "report"))
    import report

    said = report.about(FACTS | {"url": "https://example.org/hsilib"})
    parts = {"code": "url doi swh", "data": "url doi", "replication": "cite bib url doi", "review": "url",
             "dates": "received accepted published", "article": "number doi url", "journal": "name issn volume issue"}
    pairs = {part: {key: value for pair in said[part] for key, value in pair.items()} for part in parts}
    assert {part: " ".join(found) for part, found in pairs.items()} == parts
    assert pairs["code"]["url"] == pairs["data"]["url"] == "https://example.org/hsilib"
    assert f"{{{pairs['replication']['bib']}," in (ROOT / "book" / "report" / said["bibliography"]).read_text()
    assert said["title"].startswith("[Re] ") and said["type"] == "Replication" and len(said["abstract"]) > 400
    assert said["domain"] and said["language"] and "Python" in said["keywords"].split(", ")
    assert [one["affiliations"] for one in said["authors"] if "*" in one["affiliations"]] == ["1,*"]
    assert said["affiliations"][0]["code"] == 1
    assert [one["role"] for one in said["contributors"]] == ["editor", "reviewer", "reviewer"]
