"""The study as a short paper of the form that ReScience C asks for.

Its text is report.md, its numbers come from the store and its claims from the executed chapters.

    make report
"""

import html
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import yaml
from pdf import print_page
from pypdf import PdfReader

from hsibook import paper
from hsibook.claim import MARKS, claims_of
from hsibook.text import number
from hsilib import Store
from hsilib.data.cards import side_by_side
from hsilib.errors import HsiError
from hsilib.methods import METHODS
from hsilib.study.runs import stored
from hsilib.study.store import published

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book"))
import metadata  # noqa: E402

SCENE, SEEDS = "indian_pines_8bit", {"disjoint": 10, "random": 3}  # as in the chapters
TABLE3, SHOWN = 3, 98  # the paper's dense networks, and the size of which its Tables 8 and 13 are
BEST = "635678246c9f"  # the network of nine kilobytes that is offered for download
MOST = 10  # pages that the journal asks for


def about(f: dict) -> dict:
    """What ReScience C asks of an article, as metadata.yaml says it, with the addresses of this edition."""
    said = yaml.safe_load(Path(__file__).with_name("metadata.yaml").read_text())
    for part in ("code", "data"):
        said[part][0]["url"] = f["url"] or None
    return said


def front(said: dict, f: dict) -> str:
    """The lines below the title."""
    shown = {"Authors": ", ".join(author["name"] for author in said["authors"]), "Type": said["type"],
             "Domain": said["domain"], "Language": said["language"],
             "Original article": said["replication"][0]["cite"],
             "Code and data": f["url"] or "the repository that this file comes from", "Date": f["date"],
             "Licence": "MIT (code), CC BY 4.0 (text)", "Keywords": said["keywords"]}
    lines = "<br>".join(f"<b>{key}</b> {html.escape(text)}" for key, text in shown.items())
    return f"<p class='about'>{lines}</p>"


def table(store: Store, split: str) -> str:
    """Our mean and spread of overall accuracy beside the paper's value, for all that it names at one size."""
    lines = []
    for place, families, ratio in (
        (TABLE3, ["baselines"], 0), (8, ["pruning"], SHOWN), (13, ["offline", "online", "self"], SHOWN)
    ):
        names = [m.name for m in METHODS.values() if m.paper and m.family in families]
        rows = stored(store, SCENE, [split], names, [ratio], SEEDS)
        if len(rows):
            beside = paper.beside_paper(rows, place, SCENE)
            lines += [(place, row) for row in beside[beside["paper_value"].notna()].to_dict("records")]
    body = "".join(
        f"<tr><td>{place}<td>{html.escape(row['model'])}<td>{row['paper']}<td>{row['ours']}<td>{row['seeds']}"
        f"<td>{number(row['mean'] - row['paper_value'])}<td>{row['inside']}</tr>" for place, row in lines
    )
    head = "<th>Table<th>method<th>paper<th>ours<th>seeds<th>difference<th>inside"
    says = f"Overall accuracy, % of the test pixels, split {split}; ours: mean ± sd over seeds. Inside: the "
    says += "paper's value lies within our 95 % prediction interval for one more run."
    return f"<table><caption><small>{says}</small></caption><tr>{head}</tr>{body}</table>"


def claims(folder: Path) -> str:
    """All claims of the executed chapters, in their order."""
    said = []
    for path in sorted(folder.glob("[0-9]*.ipynb")):
        found = list(claims_of(path))
        title = "".join(json.loads(path.read_text())["cells"][0]["source"]).partition("\n")[0]
        said += [f"<h4>{html.escape(title.removeprefix('# '))}</h4>"] * bool(found)
        for one in found:
            small = f" <small>{html.escape(one['evidence'])}</small>" * bool(one["evidence"])
            said.append(f"<p class='claim'>{MARKS[one['state']]} {html.escape(one['claim'])}{small}</p>")
    if not said:
        raise HsiError(f"{folder}: no claims, for no chapter was executed; make book first")
    return "\n".join(said)


def picture(store: Store, path: Path) -> None:
    """The scene, its labels, and the map of a network of nine kilobytes; the README shows it too."""
    card, rgb, _ = store.card(SCENE)
    panels = [("false colour", rgb), ("ground truth", card.labels)]
    panels += [("9 kB network, int8", store.read_map(BEST))]
    side_by_side(panels, card.classes).savefig(path, dpi=120)


def references() -> str:
    """The works that the text names."""
    entries = re.findall(r"@\w+\{(\w+),\n(.*?)\n\}", (ROOT / "book" / "references.bib").read_text(), re.S)
    lines = []
    for key, text in entries:
        if key in ("shi2026benchmark", "paoletti2019review", "baumgardner2015indian"):
            part = dict(re.findall(r"(\w+) = \{(.*)\},", text))
            where = part.get("journal") or part.get("howpublished", "")
            lines.append(f"<p>{part['author']} ({part['year']}). {part['title']}. {where}.</p>")
    return "".join(lines).replace("{", "").replace("}", "")


def page(store: Store, folder: Path) -> str:
    """The paper as HTML; its figure lies in the folder."""
    from markdown_it import MarkdownIt

    f, text = metadata.facts(), (Path(__file__).with_name("report.md")).read_text()
    said = about(f)
    picture(store, folder / "figure.png")
    shown = "<p><img src='figure.png' alt='false colour, ground truth and predicted map side by side'></p>"
    says = "Indian Pines: false colour, ground truth, and the map of a network of nine kilobytes."
    shown += f"<p><small>{says}</small></p>"
    parts = {"title": said["title"], "metadata": front(said, f), "abstract": said["abstract"],
             "version": f["version"], "figure": shown, "references": references(),
             "table disjoint": table(store, "disjoint"), "table random": table(store, "random"),
             "claims": claims(ROOT / "book" / "chapters")}
    made = MarkdownIt().render(text)
    for name, what in parts.items():
        made = made.replace(f"<p>{{{name}}}</p>", what).replace(f"{{{name}}}", what)
    style = Path(__file__).with_name("report.css").read_text()
    head = f"<meta charset=utf-8><title>hsilib: report</title><style>{style}</style>"
    return f"<!doctype html><html lang=en>{head}{made}</html>"


def main() -> int:
    target = ROOT / "_build" / "report.pdf"
    target.parent.mkdir(exist_ok=True)
    try:
        said = yaml.safe_dump(about(metadata.facts()), sort_keys=False, allow_unicode=True)
        (target.parent / "metadata.yaml").write_text(said)
        with tempfile.TemporaryDirectory() as place:
            source = Path(place) / "report.html"
            source.write_text(page(Store(published()), Path(place)))
            print_page(source, target, place)
            shutil.copy(Path(place) / "figure.png", ROOT / ".github" / "picture.png")
    except HsiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    pages = len(PdfReader(target).pages)
    print(f"{target.relative_to(ROOT)}: {pages} pages")
    return 2 * (pages > MOST)


if __name__ == "__main__":
    sys.exit(main())
