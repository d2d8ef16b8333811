"""A claim shows whether these runs bear it out; its words stay the same."""

import json

import numpy as np
import pytest
from hsibook.claim import MIME, above, claim, claims_of


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
    assert f"{state}: Flips <help>. (OA +1.0" in data["text/plain"]
    page = {"cells": [{"outputs": [{"data": data, "metadata": metadata}]}, {"source": ""}]}
    (tmp_path / "page.ipynb").write_text(json.dumps(page))
    assert list(claims_of(tmp_path / "page.ipynb")) == [metadata[MIME]]
    assert metadata[MIME] == {"claim": "Flips <help>.", "state": state, "evidence": "OA +1.0 [+0.2, +1.8]"}
