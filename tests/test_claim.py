"""A claim shows whether these runs bear it out; its words stay the same."""

import html
import json
from pathlib import Path

import numpy as np
import pytest
from hsibook import ledger, runner
from hsibook.claim import MIME, above, agreed, better, claim, claims_of, together
from hsilib import Store
from hsilib.errors import HsiError
from hsilib.study.runs import stored

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "low, high, state", [(0.1, 2, True), (-2, -0.1, False), (-1, 1, "open"), (0, 1, "open"), (np.nan, np.nan, None)]
)
def test_an_interval_that_holds_zero_is_open(low, high, state):
    assert above(low, high) == state


@pytest.mark.parametrize(
    "holds, state", [(True, "holds"), (np.False_, "fails"), ("open", "open"), (None, "not here")]
)
def test_a_claim_shows_its_mark_and_lies_in_the_notebook(holds, state, monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw, metadata: shown.append((data, metadata)))
    claim("Flips <help>.", holds, evidence="OA +1.0 [+0.2, +1.8]")
    (data, metadata), = shown
    assert f"hsi-{state.replace(' ', '-')}" in data["text/html"] and "Flips &lt;help&gt;." in data["text/html"]
    assert ("</b>" in data["text/html"]) == (state != "holds")  # what is not shown is said in a word as well
    assert f"{state}: Flips <help>. (OA +1.0" in data["text/plain"]
    page = {"cells": [{"outputs": [{"data": data, "metadata": metadata}]}, {"source": ""}]}
    (tmp_path / "page.ipynb").write_text(json.dumps(page))
    assert list(claims_of(tmp_path / "page.ipynb")) == [metadata[MIME]]
    assert metadata[MIME] == {"claim": "Flips <help>.", "state": state, "evidence": "OA +1.0 [+0.2, +1.8]"}


@pytest.mark.parametrize(
    "states, whole",
    [((True, True), True), ((False, False), False), ((True, False), "open"), ((True, "open"), "open"),
     ((True, None), None), ((), None)],
)
def test_both_measures_have_to_agree(states, whole):
    assert agreed(*states) == whole


def test_several_answers_hold_together_only_if_all_are_there():
    yes, absent = {"holds": True, "evidence": "+1", "runs": ["a"]}, {"holds": None}
    assert together({"A": yes, "B": yes}) == {"holds": True, "evidence": "A: +1; B: +1", "runs": ("a",)}
    assert together({"A": yes, "B": absent})["holds"] == "open" and together({"B": absent})["holds"] is None


def test_networks_are_compared_over_seeds_and_fields_and_one_seed_tells_nothing(monkeypatch):
    store = Store(ROOT / "book" / "results")
    place = store, "indian_pines_8bit", ["disjoint"]
    dense, small = (stored(*place, [name], (ratio,), 3) for name, ratio in (("cnn2d", 0), ("scratch", 98)))
    found = better(store, dense, small)
    assert found["holds"] is True and found["evidence"].startswith("OA +") and "AA30 +" in found["evidence"]
    assert set(found["runs"]) == {*dense["run"], *small["run"]}
    assert better(store, small, dense)["holds"] is False
    assert better(store, small, dense, margin=100)["holds"] is True
    assert better(store, dense, small[:0]) == {"holds": None}
    one = better(store, dense[dense["seed"] == 0], small)
    assert one["holds"] == "open" and one["evidence"].endswith("points, one seed")


def page(folder, **data):
    output = {"data": {}, "metadata": {MIME: {"claim": "Flips help.", "evidence": "OA −1.0"} | data}}
    (folder / "03-page.ipynb").write_text(json.dumps({"cells": [{"outputs": [output]}]}))
    return folder / "03-page.ipynb"


def test_the_book_is_not_built_with_a_claim_that_its_runs_contradict(tmp_path):
    source = tmp_path / "03-page.md"
    with pytest.raises(HsiError, match=r"03-page.md: a claim fails on the published runs: Flips help. \(OA −1.0\)"):
        runner._refuse(page(tmp_path, state="fails"), source)
    runner._refuse(page(tmp_path, state="open"), source)
    runner._refuse(page(tmp_path, state="fails", by="the paper"), source)  # what others say may be wrong


def test_a_chapter_is_put_on_a_scene_by_its_own_parameters():
    declared = {"scene": ("indian_pines_8bit", ""), "splits": ([], ""), "ratios": ([90], "")}
    assert ledger.given("rivals", declared, "indian_pines_8bit") == {}
    assert ledger.given("rivals", declared, "samson") == {"scene": "samson", "splits": ["blocks"], "ratios": [98]}
    assert ledger.given("damaged-benchmark", {"damaged": ("x", "")}, "samson") is None
    assert ledger.given("unseen", {"study": ("x", "")}, "pavia_centre_visible") == {}
    assert ledger.given("unseen", {"study": ("x", "")}, "indian_pines_8bit") is None


def test_all_claims_are_on_their_page_and_as_the_chapters_say_them():
    kept, page = ledger.read(), ROOT / "book" / "chapters" / "24-claims.ipynb"
    assert kept and len(ledger.lines()) > 50
    if page.is_file():
        outputs = [out for cell in json.loads(page.read_text())["cells"] for out in cell.get("outputs", [])]
        shown = "".join("".join(out.get("data", {}).get("text/html", "")) for out in outputs)
        assert all(html.escape(line["claim"], quote=False) in shown for line in ledger.lines())
    for stem, chapter in kept.items():
        assert (ROOT / "notebooks" / f"{stem}.md").is_file()
        executed, scene = ROOT / "book" / "chapters" / f"{stem}.ipynb", ledger.ABOUT.get(stem.partition("-")[2], ledger.MAIN)
        if executed.is_file():
            assert list(claims_of(executed)) == chapter["scenes"][scene]["claims"], f"{stem}: make claims"
    assert not any(
        one["state"] == "fails" and not one.get("by")
        for chapter in kept.values() for scene in {ledger.MAIN, *ledger.ABOUT.values()}
        for one in chapter["scenes"].get(scene, {"claims": []})["claims"]
    )
