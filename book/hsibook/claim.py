"""A claim: a sentence that a person wrote, whether these runs bear it out, and the numbers it rests on.

Whether it holds is computed, the sentence is not: on other runs the mark changes and the words stay.  A
chapter's claims lie in its executed notebook, where the page of all claims finds them.
"""

import html
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from hsilib.study.store import Store

MIME = "application/vnd.hsilib.claim+json"
MARKS = {"holds": "✓", "fails": "✗", "open": "○", "not here": "–"}
WORDS = {"fails": "Fails", "open": "Open, not shown", "not here": "Not here"}


def claim(text: str, holds: bool | str | None, evidence: str = "", runs: tuple = (), by: str = "") -> None:
    """Show a claim.  ``holds``: True, False, ``"open"``, or None where its runs are not there.

    ``runs``: the identities that it rests on.  ``by``: who says so, if not this book, which may then fail.

    >>> claim("Flips help.", **better(store, flips, plain))
    """
    states = {True: "holds", False: "fails", None: "not here"}
    state = holds if isinstance(holds, str) else states[None if holds is None else bool(holds)]
    text, evidence = (" ".join(part.split()) for part in (text, evidence))
    shown = f"<p class='hsi-claim hsi-{state.replace(' ', '-')}'>{mark(state)} "
    shown += f"<b>{WORDS[state]}:</b> " if state in WORDS else ""
    shown += html.escape(text, quote=False)
    shown += f" <em>({html.escape(by)})</em>" * bool(by)
    small = f" <small>{html.escape(evidence, quote=False)}</small>" * bool(evidence)
    data = {"claim": text, "state": state, "evidence": evidence}
    data |= {name: value for name, value in (("by", by), ("runs", list(runs))) if value}
    line = f"{MARKS[state]} {state}: {text}" + "".join(f" ({part})" for part in (by, evidence) if part)

    from IPython.display import display

    display({"text/html": f"{shown}{small}</p>", "text/plain": line}, raw=True, metadata={MIME: data})


def mark(state: str) -> str:
    """The mark of a state, as HTML."""
    return f"<span class='hsi-mark' role='img' aria-label='{state}' title='{state}'>{MARKS[state]}</span>"


def above(low: float, high: float) -> bool | str | None:
    """Say whether an interval lies above zero; one that holds zero is open, one without ends is not here."""
    if math.isnan(low) or math.isnan(high):
        return None
    return "open" if low <= 0 <= high else low > 0


def agreed(*states: bool | str | None) -> bool | str | None:
    """The state that all have; None where one is not here, open where they do not agree."""
    if None in states or not states:
        return None
    return states[0] if len({str(bool(s)) if s != "open" else s for s in states}) == 1 else "open"


def together(answers: dict[str, dict]) -> dict:
    """Take several answers as one, which holds where each does; with some not here it is open at most."""
    here = {name: one for name, one in answers.items() if one["holds"] is not None}
    states = [one["holds"] for one in here.values()] + ["open"] * (0 < len(here) < len(answers))
    told = (f"{name}: {one['evidence']}" for name, one in here.items())
    runs = dict.fromkeys(run for one in here.values() for run in one.get("runs", ()))
    return {"holds": agreed(*states), "evidence": "; ".join(told), "runs": tuple(runs)}


def better(store: Store, mine: pd.DataFrame, other: pd.DataFrame, margin: float = 0) -> dict:
    """Whether one network is better than another in OA and in AA30, over seeds and fields, as ``claim`` takes
    it; with a ``margin`` whether it is not worse by so many points.  One seed leaves it open.

    >>> claim("A Lens is ahead of a perceptron.", **better(c.store, lens, perceptron))
    """
    from hsibook.fields import Pair

    return Pair(store, mine, other).better(margin)


def claims_of(notebook: Path) -> Iterator[dict]:
    """Give the claims of an executed notebook, in their order."""
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        for output in cell.get("outputs", ()):
            if MIME in output.get("metadata", {}):
                yield output["metadata"][MIME]
