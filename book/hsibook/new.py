"""A page of your own, from the template: the method of its kind, its own labels, a place in the book."""

import json
import re
from pathlib import Path
from string import Template

from hsibook.runner import chapters, source_of
from hsilib.errors import HsiError, known
from hsilib.files import built, project, write_atomically
from hsilib.methods import METHODS

TEMPLATE = "13-write-your-own.md"
# kind: how its block in the template begins, what its method is called there, and what it is held against
KINDS = {"distillation": ("@distillation(", "fading", ("scratch", "soft_targets")),
         "criterion": ("@criterion(", "l2", ("scratch", "l1")),
         "network": ("@network(", "small_look", ("perceptron", "lens")),
         "quantization": ("@quantization(", "ternary", ("l1", "static")),
         "chapter": ("", "", ("scratch", "scratch_aug"))}
REFERENCE = "  - caption: Reference\n"
PART = "  - caption: Your own pages\n    numbered: true\n    chapters:\n"


def block(kind: str) -> str:
    """Return the code that "Write your own" prints for a kind."""
    text = (project() / "notebooks" / TEMPLATE).read_text("utf-8")
    blocks = re.findall(r"```(?:python|\{code-cell\} ipython3)\n(.*?)\n```", text, re.S)
    return next(code for code in blocks if KINDS[kind][0] in code)


def new(name: str, kind: str) -> Path:
    """Write a page for something of your own of a kind; return it.

    In a checkout it gets a number and a place in the book; elsewhere it is a file in the current folder.

    >>> new("my_loss", "distillation")
    """
    known("kind", kind, KINDS)
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise HsiError(f"the name {name!r}: use small letters, digits and _, and begin with a letter")
    label = name.replace("_", "-")
    if name in METHODS or label in chapters():
        raise HsiError(f"the name {name} is taken by a method or a chapter; choose another")
    _, called, others = KINDS[kind]
    title, small = name.replace("_", " ").capitalize(), kind == "network"
    words = dict(
        title=title, label=label, others=json.dumps(others), epochs=60 if small else 30,
        methods="[]" if called else '["soft_targets", "one"]', family='"mine"' if called else '""',
        sizes="[0]" if small else "c.ratios", recipe=', lr=2e-3, schedule="one_cycle"' if small else "",
        method=_renamed(block(kind), called, name, title) if called else "",
    )
    text = Template((project() / "book" / "page.template").read_text("utf-8")).substitute(words)
    head, method, train, see, terms = re.split(r"(?m)^(?=## )", text)
    text = head + (method if called else "") + train + see + ("" if kind == "quantization" else terms)
    if built() != project():
        path = Path(f"{label}.md")
        if path.exists():
            raise HsiError(f"{path} is there already; choose another name, or move it away")
        write_atomically(path, text)
        return path
    numbers = [int(path.stem[:2]) for path in chapters().values() if path.stem[:2].isdigit()]
    path = project() / "notebooks" / f"{max(numbers) + 1:02d}-{label}.md"
    write_atomically(path, text)
    contents = project() / "_toc.yml"
    lines, entry = contents.read_text("utf-8"), f"      - file: book/chapters/{path.stem}\n"
    before, reference, after = lines.partition(REFERENCE)
    part = "" if PART in before else PART  # behind all others: the numbers of chapters stay what they are
    write_atomically(contents, f"{before}{part}{entry}{reference}{after}")
    return path


def remove(name: str) -> Path:
    """Take a page of yours out of the book; its source is kept in ``results/pages``: return its path."""
    contents, label, folder = project() / "_toc.yml", name.replace("_", "-"), project() / "notebooks"
    if built() != project():
        raise HsiError(f"no checkout of the book, out of which a page could be taken; delete {label}.md")
    text = contents.read_text("utf-8")
    mine, listed = text.partition(PART)[2], re.findall(r"file: book/chapters/(\S+)", text)
    mine = [page for page in listed if f"/{page}\n" in mine or not source_of(page)]
    pages = {page.split("-", 1)[-1]: page for page in mine}
    page = pages[known("page of yours", label, pages)]
    text = text.replace(f"      - file: book/chapters/{page}\n", "").replace(PART + REFERENCE, REFERENCE)
    write_atomically(contents, text)
    (project() / "book" / "chapters" / f"{page}.ipynb").unlink(missing_ok=True)
    source, kept = folder / f"{page}.md", project() / "results" / "pages" / f"{page}.md"
    if source.is_file():
        write_atomically(kept, source.read_text("utf-8"))
        source.unlink()
    return kept


def _renamed(code, old, name, title):
    """Call the method of the template by its new name: method, function and class."""
    code = re.sub(rf'"{old}", "[^"]*"', f'"{name}", "{title}"', code)
    code = re.sub(rf"\bdef {old}\b", f"def {name}", code)
    camel = {one: "".join(part.capitalize() for part in one.split("_")) for one in (old, name)}
    return code.replace(f"class {camel[old]}", f"class {camel[name]}")
