"""What the published runs are called: an identity that changes silently is a number that changes its meaning.

``python tests/test_identities.py`` adds what is new to the list and takes nothing away.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pandas as pd
from hsilib import methods
from hsilib.files import project
from hsilib.study import contributed
from hsilib.study.runs import declared
from hsilib.study.store import Store

LIST = Path(__file__).with_name("identities.txt")


def rows():
    return Store(project() / "book" / "results").rows()


def run_of(row):
    """The run that a stored row is of, made from what the row says; six digits of an option are stored."""
    run = contributed.run_of(row)
    return replace(run, options=tuple((name, 1 / 3 if value == 0.333333 else value) for name, value in run.options))


@lru_cache
def made():
    """{the identity that a stored row has: its run, made anew} of all whose method is what it was."""
    told = rows().to_dict("records")
    return {row["run"]: run_of(row) for row in told if str(methods.get(row["method"]).version) == str(row["version"])}


def current():
    """{identity: what it names} of all declared runs and of all stored rows whose method is what it was."""
    parts = declared(project() / "book" / "study.toml")
    runs = {r.id: r for part in [*parts.values(), made().values()] for r in part}
    return {identity: f"{run} · {run.recipe.epochs} epochs" for identity, run in runs.items()}


def listed():
    return dict(line.split(" ", 1) for line in LIST.read_text().splitlines())


def test_published_identities_stay():
    now, then = current(), listed()
    changed = {text for identity, text in then.items() if now.get(identity) != text}
    assert not changed, f"{len(changed)} published runs have another identity, such as {min(changed)}"
    assert set(now) == set(then), "new runs: python tests/test_identities.py adds them to the list"


def test_stored_rows_say_what_their_identity_is_made_of():
    wrong = {stored: str(run) for stored, run in made().items() if run.id != stored}
    assert made() and not wrong, wrong


def test_a_gpu_gives_what_the_design_page_says():
    """Runs trained on both kinds of processor: the differences, and beside them what a new seed does."""
    held = rows().set_index("run")
    again = pd.read_csv(project() / "book" / "results" / "again" / "gpu.csv", dtype={"run": str}).set_index("run")
    there = held.loc[again.index]
    assert (again["device"] != there["device"]).all() and len(again) == 63
    page = " ".join((project() / "book" / "design.md").read_text().split())
    kind, said = again["method"].eq("lens_20k"), []
    for part in (again[~kind], again[kind]):
        gap = (part["oa"] - there.loc[part.index, "oa"]).agg(["mean", "std"])
        among = there.loc[part.index].groupby(["scene", "split", "method", "options"])["oa"]
        seeds = (among.var().mul(among.size() - 1).sum() / (among.size() - 1).sum()) ** 0.5
        said.append((f"{gap['mean']:+.2f} ± {gap['std']:.2f} points over {len(part)}", f"{seeds:.1f}"))
    (one, first), (other, second) = said
    whole = f"{one} dense networks (a new seed moves one by {first}) and {other} of `lens_20k` (a new seed: {second})"
    assert whole in page, whole


if __name__ == "__main__":
    known = listed() if LIST.exists() else {}
    every = current() | known
    LIST.write_text("".join(f"{identity} {text}\n" for identity, text in sorted(every.items(), key=lambda item: item[::-1])))
