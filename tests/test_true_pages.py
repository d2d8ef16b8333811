"""A page asserts nothing that its run does not show: one method, one size, one seed, another scene, one split.

What is typed, in text cells, captions and alt texts, defines and explains; whatever is found is said by a cell, from
the rows at hand, and left out where they lack it.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hsibook import runner
from hsibook.cells import leave_out_empty
from hsibook.tables import true_of
from hsibook.text import many, with_numbers
from hsilib.data import own
from hsilib.data.scenes import load_scene
from hsilib.methods import METHODS

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
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
ALWAYS = {"Scratch", "Scratch, flips", "CNN2D (c=40)", "Scratch, twice as long", "Random channels", "L1-norm", "CNN2D, flips"}
ALWAYS |= {"VGG16", "MobileNetV2", "G-GhostNet"}


@pytest.mark.parametrize(
    "text, left",
    [
        ("It has 3 %. It gains – points.", "It has 3 %."),
        ("It gains nan points.\n\nIt has\n3 %.", "\n\nIt has\n3 %."),
        ("**A.** All.\n\n- *B.* It has – %.\n- *C.* It has [−0.4, +0.6].", "**A.** All.\n\n\n- *C.* It has [−0.4, +0.6]."),
        ("| a | – |\n|---|---|", "| a | – |\n|---|---|"),
    ],
)
def test_a_sentence_that_wants_for_a_number_is_left_out(text, left):
    assert with_numbers(text) == left


def test_numbers_of_things_are_words():
    assert many(1, "seed") == "one seed" and many(5, "seed") == "5 seeds"


def test_a_caption_says_nothing_of_a_spread_that_a_table_lacks():
    caption = "Overall accuracy, mean ± sd over seeds (1 on random); paired differences with 95 % intervals."
    assert true_of(caption, "85.0 +1.0") == "Overall accuracy, one run each."
    assert true_of(caption, "85.0 ± 1.0 +1.0 [+0.2, +1.8]") == caption


def given(name, chapter):
    """The settings of one odd run, those that the chapter knows."""
    declared = runner.parameters_of(chapter)
    alone = {"methods": [ONE[chapter]]} if name in ("all at once", "one method") else {}
    words = SMALL | ODD[name] | alone
    return {key: value for key, value in words.items() if key in declared}


def said(path):
    """(kind, text) of everything that a page shows in words."""
    for cell in json.loads(path.read_text())["cells"]:
        if "remove-cell" in cell["metadata"].get("tags", []):
            continue
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            yield "text", "".join(data.get("text/markdown", ""))
            captions = re.findall(r"hsi-caption'>(.*?)</p>", "".join(data.get("text/html", "")), re.S)
            if "image/png" in data:
                captions.append(cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption", ""))
            yield from (("caption", caption) for caption in captions)


def asserts(text, chapter, words):
    """What a text asserts that its run does not show."""
    text = re.sub(r"\| .*\n", "", text)  # rows of a table of definitions
    found = re.findall(r"(?<![\w–])–(?![\w–])|\bnan\b|\b1 (?:seeds|epochs|sizes|ways|pairs|means|others)\b", text)
    found += re.findall(r"Table \d+ of the paper|The paper(?:'s)? (?:finds|recommends|single)|Indian Pines", text)
    if "disjoint" not in words.get("splits", ["disjoint"]):
        found += re.findall("disjoint", text)
    if words.get("seeds") == 1:
        found += re.findall(r"±|\[[+−]\d|95 % interval|mean over seeds|spread over seeds", text)
    if words.get("ratios") == [98]:
        found += re.findall(r"\b9[05] %(?! interval| lie)|three sizes|at these sizes|from wide to narrow", text)
    if "methods" in words:
        titles = {m.title for m in METHODS.values() if m.family == chapter} - {METHODS[words["methods"][0]].title} - ALWAYS
        found += [title for title in titles if re.search(rf"\b{re.escape(title)}\b", text)]
    return found


ELSEWHERE = (  # what was measured once, on the scene that is named there
    r"All pixels of|measured on|145 × 145|median|Times are another|At batch 1|DataLoader|counted in CNN1D only|"
    r"Dynamic quantization (was|called)|The defaults are"
)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("chapter", ONE)
def test_a_page_of_an_odd_run_asserts_nothing_else(chapter, name):
    if (name != "all at once" or chapter not in ALWAYS_RUN) and not os.environ.get("HSILIB_ODD"):
        pytest.skip("takes minutes: HSILIB_ODD=1 runs every chapter on each odd setting")
    words = given(name, chapter)
    page = runner.run(chapter, words, say=lambda text: None)
    sentences = [one for _, text in said(page) for one in re.split(r"(?<=[.!?])\s", text)]
    wrong = {one: asserts(one, chapter, words) for one in sentences if not re.search(ELSEWHERE, one)}
    assert not any(wrong.values()), {one: found for one, found in wrong.items() if found}


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
    own.add_scene(
        "few", tmp_path / "cube.npy", tmp_path / "labels.npy", train=tmp_path / "train.npy", say=lambda text: None
    )
    words = dict(scene="few", budget="smoke", epochs=1)
    declared = runner.parameters_of(chapter)
    page = runner.run(chapter, {key: value for key, value in words.items() if key in declared}, say=lambda text: None)
    if chapter != "scenes":  # which is about all scenes
        assert not any(kind == "text" and "Indian Pines" in text for kind, text in said(page))


MAY_EXPLAIN = r"How it works|Add your own|Run it again|Your own|Settings|Use one|Take it with you|Write your own|Test your own"
FOUND = r"\b(beats?|outperforms?|gains?|loses?|lost|best|worst|better|worse|higher|lower|hardly|nearly|mostly|far behind)\b"


@pytest.mark.parametrize("chapter", ONE)
def test_typed_words_claim_nothing(chapter):
    """Outside of what explains a method, no typed sentence holds a number of the results or a word of judgement."""
    text = runner.source(chapter).read_text()
    typed = re.findall(r"^    (?:caption: \||alt: >-)\n((?:      .*\n)+)", text, re.M)
    typed += re.findall(r"^    alt: (?!>-)(.*)$", text, re.M)
    prose = re.sub(r"^```.*?^```$", "", text.partition("\n# ")[2], flags=re.S | re.M)
    for section in re.split(r"^(?=#{2,3} )", prose, flags=re.M):
        if not re.match(rf"#+ .*({MAY_EXPLAIN})", section):
            typed.append(section)
    for part in typed:
        for sentence in re.split(r"(?<=[.!?])\s", " ".join(part.split())):
            results = re.findall(r"\d[\d.,]*\s(?:points|times)\b|[+−]\d|\b\d\d\.\d\b", sentence) + re.findall(FOUND, sentence)
            assert not results, f"{chapter}: {sentence}"


STIFF = r"Conclude first|in the mean over|to be told from|first split|by lot\b|the store\b|half an interval"


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[0-9]*.md")), ids=lambda path: path.stem)
def test_pages_speak_as_a_colleague_would(path):
    """What a reader sees: text cells, captions, and the texts that cells say."""
    text = path.read_text()
    seen = re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
    seen += "".join(re.findall(r'(?:say|in_short)\(f?"""(.*?)"""', text, re.S))
    seen += "".join(re.findall(r"^    caption: \|\n((?:      .*\n)+)", text, re.M))
    assert not re.findall(STIFF, " ".join(seen.split()))


def test_a_section_is_left_out_only_when_it_has_nothing_to_show():
    def code(tags, shows):
        outputs = [{"output_type": "display_data"}] if shows else []
        return {"cell_type": "code", "metadata": {"tags": [*tags]}, "outputs": outputs, "source": ""}

    def text(source):
        return {"cell_type": "markdown", "metadata": {}, "source": source}

    hidden = ["hide-input"]
    cells = [text("# Title\n\nHead."), code(hidden, False), text("## Kept\n\nIts code is seen."), code([], False)]
    cells += [text("## Gone\n\nNothing ran."), code(hidden, False), text("## More\n\nHelpers."), code(hidden, False)]
    cells += [text("(shown)=\n### Shown"), code(hidden, True)]
    cells += [text("### Not shown\n\n## Prose\n\nWithout code."), code(hidden, True)]
    leave_out_empty(cells)
    left = "".join(cell["source"] for cell in cells)
    assert "# Title" in left and "## Kept" in left and "## More" in left and "### Shown" in left and "## Prose" in left
    assert "Gone" not in left and "Nothing ran" not in left
    assert [cell["metadata"]["tags"] for cell in cells if cell["cell_type"] == "code"].count(hidden + ["remove-cell"]) == 1
