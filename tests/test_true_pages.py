"""A page claims nothing that its run does not show: one method, one size, one seed, another scene, one split.

Its words stay; its marks, numbers, tables and figures are of the run, and what is missing says so.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hsibook import runner
from hsibook.claim import claims_of
from hsilib.data import own
from hsilib.data.scenes import load_scene

PAGES = Path(__file__).resolve().parents[1] / "book" / "chapters"
SMALL = dict(scene="synthetic_urban_small", epochs=1, images="synthetic_landuse", size=32)
ODD = {  # one chapter under the sun at once, and each alone (HSILIB_ODD=1: minutes)
    "all at once": dict(splits=["random"], ratios=[98], seeds=1),
    "one size": dict(splits=["random"], ratios=[98], seeds=2, further_seeds=2),
    "one seed": dict(seeds=1, ratios=[90, 98]),
    "one method": dict(seeds=2, ratios=[90, 98]),
    "only a random split": dict(splits=["random"], seeds=2, ratios=[90, 98]),
}
ONE = dict(  # a method of each chapter, without which it has others
    baselines="mlp", pruning="thinet", quantization="dynamic", offline="fitnets", online="dml", self="cs_kd",
    compact="perceptron", landuse="mobilenet_kl",
)
ALWAYS_RUN = ("pruning", "offline", "quantization")  # those with most to say


def given(name, chapter):
    """The settings of one odd run, those that the chapter knows."""
    declared = runner.parameters_of(chapter)
    alone = {"methods": [ONE[chapter]]} if name in ("all at once", "one method") else {}
    words = SMALL | ODD[name] | alone
    return {key: value for key, value in words.items() if key in declared}


@pytest.mark.nightly
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("chapter", ONE)
def test_a_page_of_an_odd_run_claims_nothing_else(chapter, name):
    if (name != "all at once" or chapter not in ALWAYS_RUN) and not os.environ.get("HSILIB_ODD"):
        pytest.skip("takes minutes: HSILIB_ODD=1 runs every chapter on each odd setting")
    words = given(name, chapter)
    page = runner.run(chapter, words, say=lambda text: None)
    alone = words.get("seeds") == 1
    for one in claims_of(page):
        assert "nan" not in one["evidence"], one
        sizes = one["claim"].startswith("The abstract of the second system states")  # which no seed changes
        assert not alone or sizes or one["state"] in ("open", "not here"), one
    cells = json.loads(page.read_text())["cells"]
    for cell in cells:  # a figure or a table that is not there says so in a line
        shows = cell["metadata"].get("mystnb", {}).get("figure") or "publish(" in "".join(cell["source"])
        defines = all(line.startswith((" ", "def ", "@", "#")) for line in "".join(cell["source"]).splitlines() if line)
        if cell["cell_type"] == "code" and shows and not defines:
            assert cell["outputs"], f"{chapter}: silent: {''.join(cell['source'])[:80]}"


@pytest.mark.nightly
@pytest.mark.parametrize("bands", [9, 12, 30])
@pytest.mark.parametrize("chapter", [*ONE, "scenes", "quickstart"])
def test_a_scene_of_few_bands_runs_every_chapter(chapter, bands, tmp_path):
    if not os.environ.get("HSILIB_ODD") or chapter == "landuse":
        pytest.skip("takes minutes: HSILIB_ODD=1 runs every chapter on 9, 12 and 30 bands; landuse is about images")
    scene = load_scene("synthetic_fields_small")
    third = np.indices(scene.labels.shape).sum(0) % 3 == 0  # of the training pixels, which is enough and faster
    maps = dict(labels=scene.labels, train=np.where(third, scene.train_map, 0))
    np.save(tmp_path / "cube.npy", scene.cube[..., :: scene.bands // bands][..., :bands])
    for name, array in maps.items():
        np.save(tmp_path / f"{name}.npy", array)
    own.add_scene("few", tmp_path / "cube.npy", tmp_path / "labels.npy", train=tmp_path / "train.npy", say=lambda text: None)
    words = dict(scene="few", budget="smoke", epochs=1)
    declared = runner.parameters_of(chapter)
    runner.run(chapter, {key: value for key, value in words.items() if key in declared}, say=lambda text: None)


def test_no_figure_of_the_book_is_missing_and_nothing_shown_went_to_stderr():
    """A kernel that draws and does not show leaves a caption without a picture; a last line that gives a value captions it."""
    for path in sorted(PAGES.glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            shown, where = cell.get("outputs", []), f"{path.name}: {''.join(cell['source'])[-80:]}"
            drawn = any("image/png" in out.get("data", {}) for out in shown)
            if cell["metadata"].get("mystnb", {}).get("figure"):
                assert drawn and all("image/png" in out["data"] for out in shown if "data" in out), where
            assert not any(out.get("name") == "stderr" for out in shown), where
