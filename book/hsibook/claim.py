"""A claim: a sentence that a person wrote, whether these runs bear it out, and the numbers it rests on.

Whether it holds is computed, the sentence is not: on other runs the mark changes and the words stay.  A
chapter's claims lie in its executed notebook, where the page of all claims finds them.
"""

import html
import json
import math
from collections.abc import Iterator
from pathlib import Path

MIME = "application/vnd.hsilib.claim+json"
MARKS = {"holds": "✓", "fails": "✗", "open": "○", "not here": "–"}


def claim(text: str, holds: bool | str | None, evidence: str = "") -> None:
    """Show a claim.  ``holds``: True, False, ``"open"``, or None where its runs are not there.

    >>> claim("Flips help.", holds=above(low, high), evidence=difference(flips, plain))
    """
    states = {True: "holds", False: "fails", None: "not here"}
    state = holds if isinstance(holds, str) else states[None if holds is None else bool(holds)]
    text, evidence = (" ".join(part.split()) for part in (text, evidence))
    mark = f"<span class='hsi-mark' role='img' aria-label='{state}' title='{state}'>{MARKS[state]}</span>"
    shown = f"<p class='hsi-claim hsi-{state.replace(' ', '-')}'>{mark} {html.escape(text, quote=False)}"
    small = f" <small>{html.escape(evidence, quote=False)}</small>" * bool(evidence)
    data = {"claim": text, "state": state, "evidence": evidence}
    line = f"{MARKS[state]} {state}: {text}" + f" ({evidence})" * bool(evidence)

    from IPython.display import display

    display({"text/html": f"{shown}{small}</p>", "text/plain": line}, raw=True, metadata={MIME: data})


def above(low: float, high: float) -> bool | str | None:
    """Say whether an interval lies above zero; one that holds zero is open, one without ends is not here."""
    if math.isnan(low) or math.isnan(high):
        return None
    return "open" if low <= 0 <= high else low > 0


def claims_of(notebook: Path) -> Iterator[dict[str, str]]:
    """Give the claims of an executed notebook, in their order."""
    for cell in json.loads(notebook.read_text())["cells"]:
        for output in cell.get("outputs", ()):
            if MIME in output.get("metadata", {}):
                yield output["metadata"][MIME]
