"""All claims of the book by scene: ``make claims`` executes the chapters on each scene and keeps what they
say in ``book/claims.json``, which the page of all claims shows.

Nothing is trained for it: a claim whose runs are not stored is not here.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from hsibook import kernel, runner
from hsibook.claim import MIME
from hsibook.claims import SEPARATE
from hsibook.forked import Forked
from hsilib.errors import known
from hsilib.files import project, write_atomically

MAIN, OWN = "indian_pines_8bit", "its own data"
ABOUT = {"unseen": "pavia_centre_visible"}  # the chapters that are about another scene than the first
APART = {"split": "blocks", "splits": ["blocks"], "ratios": [98], "sizes": [98], "second": ""}
# what a chapter is told there; without leakage small networks of one size were trained
SCENES = {MAIN: {}, "pavia_university_visible": {"second": ""}} | dict.fromkeys(SEPARATE, APART)
SCENES |= dict.fromkeys(ABOUT.values(), {})


def path() -> Path:
    return project() / "book" / "claims.json"


def read() -> dict:
    """{chapter: {"title": …, "scenes": {scene: {"source": …, "claims": […]}}}}"""
    return json.loads(path().read_text("utf-8")) if path().is_file() else {}


def code(source: Path) -> str:
    """A digest of the code of a chapter: its prose may change without it being asked again."""
    import jupytext

    cells = [cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"]
    return hashlib.sha256("\n".join(cells).encode()).hexdigest()[:12]


def given(name: str, declared: dict, scene: str) -> dict | None:
    """The parameters that put a chapter on a scene; None for a chapter that is about scenes of its own."""
    if scene == ABOUT.get(name, MAIN):
        return {}
    if scene in ABOUT.values() or "scene" not in declared or declared["scene"][0] != MAIN:
        return None
    return {name: value for name, value in ({"scene": scene} | SCENES[scene]).items() if name in declared}


def ask(source: Path, words: dict, scene: str) -> list[dict]:
    """Execute a chapter as the store has it; its claims.  A cell that fails on another scene is named."""
    import jupytext
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell

    folder = project() / "_build" / "claims" / f"{source.stem}-{scene}"
    folder.mkdir(parents=True, exist_ok=True)
    notebook = jupytext.read(source)
    tagged = [n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    told = "\n".join(f"{name} = {value!r}" for name, value in words.items())
    notebook.cells.insert(tagged[0] + 1, new_code_cell(told))
    how = {"resources": {"metadata": {"path": str(project())}}, "allow_errors": bool(words)}
    how |= {"extra_arguments": kernel.words(folder / source.stem, only_held=True)}
    NotebookClient(notebook, kernel_name="python3", kernel_manager_class=Forked, **how).execute()
    found = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                print(f"  cell {number}: {output.ename}: {output.evalue}"[:160])
            found += [output.metadata[MIME]] if MIME in output.get("metadata", {}) else []
    return found


def make(words: list[str], anew: bool) -> None:
    """Ask the chapters and on the scenes that are named, or all; of chapters that did not change since they
    were asked only if ``anew``.  What is found is kept after each."""
    kept, pages = read(), {}
    for name, source in runner.chapters().items():
        smoke = runner.parameters_of(name).get("budget", ["paper"])[0] == "smoke"  # which proves nothing
        pages |= {} if smoke or "claim(" not in source.read_text("utf-8") else {name: source}
    for word in words:
        known("chapter or scene", word, [*pages, *SCENES])
    stems, places = {source.stem for source in pages.values()}, [word for word in words if word in SCENES]
    for name in [word for word in words if word in pages] or pages:
        source, declared, digest = pages[name], runner.parameters_of(name), code(pages[name])
        scenes = kept.get(source.stem, {"scenes": {}})["scenes"]
        for scene in places or SCENES:
            told, before = given(name, declared, scene), scenes.get(scene, {})
            if told is not None and (anew or before.get("source") != digest):
                print(f"{name}, {scene}", flush=True)
                scenes[scene] = {"source": digest, "claims": ask(source, told, scene)}
                kept[source.stem] = {"title": runner.title_of(source), "scenes": scenes}
                kept = {stem: kept[stem] for stem in sorted(kept) if stem in stems}
                write_atomically(path(), json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def lines() -> list[dict[str, Any]]:
    """One entry for each claim: chapter, title, claim, by, and what is found on each scene.  What is about
    data of its own, and so the same wherever it is asked, is found there alone."""
    found = {}
    for stem, chapter in read().items():
        for scene, asked in chapter["scenes"].items():
            for one in asked["claims"]:
                head = {"chapter": stem, "title": chapter["title"], "claim": one["claim"]}
                head |= {"by": one.get("by", ""), "scenes": {}}
                found.setdefault((stem, one["claim"]), head)["scenes"][scene] = one
    for line in found.values():
        told = list(line["scenes"].values())
        if list(line["scenes"]) == [MAIN] or len(told) > 1 and all(one == told[0] for one in told):
            line["scenes"] = {OWN: told[0]} if told[0]["state"] != "not here" else {}
    return list(found.values())


if __name__ == "__main__":
    make([word for word in sys.argv[1:] if word != "--all"], "--all" in sys.argv)
