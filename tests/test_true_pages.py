"""A page asserts nothing that its run does not show: one method, one size, one seed, another scene, one split."""

import json
import re

import pytest
from hsilib.methods import METHODS
from hsilib.pages import runner
from hsilib.pages.text import many, with_numbers

ODD = dict(scene="synthetic_fields_small", splits=["random"], ratios=[98], seeds=1, epochs=1)
ALWAYS = {"Scratch", "Scratch, flips", "CNN2D (c=40)"}


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


@pytest.mark.parametrize("chapter, method", [("online", "dml"), ("self", "cs_kd")])
def test_a_page_of_an_odd_run_asserts_nothing_else(chapter, method):
    path = runner.run(chapter, ODD | {"methods": [method]}, say=lambda text: None)
    others = {m.title for m in METHODS.values() if m.family == chapter} - {METHODS[method].title} - ALWAYS
    for cell in json.loads(path.read_text())["cells"]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            text = "".join(data.get("text/markdown", ""))
            caption = re.search(r"hsi-caption'>(.*?)</p>", "".join(data.get("text/html", "")), re.S)
            for said in (text, caption.group(1) if caption else ""):
                assert not re.search(r"(?<!\w)–(?!\w)|\bnan\b|\b1 (seeds|ways|pairs|means)\b", said), said
                assert not re.search(r"Table \d+ of the paper|The paper('s)? (finds|recommends)", said), said
                assert not [title for title in others if re.search(rf"\b{re.escape(title)}\b(?! has place)", said)] or (
                    "first; " in said  # the modes are compared with all their methods
                ), said
