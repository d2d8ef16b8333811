"""Words are written, numbers are computed: no program assembles a sentence, no sentence that a person typed holds a
result, and a page stays short."""

import ast
import re
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "notebooks").glob("[0-9]*.md"))
SPEAK = "commands new pack runner".split()  # modules that speak to a terminal, or write files and pages of others
SILENT = [path for path in sorted((ROOT / "book" / "hsibook").glob("*.py")) if path.stem not in SPEAK]


def code_of(path):
    """The code of a page or a module, one text for each cell."""
    if path.suffix == ".py":
        return [path.read_text()]
    texts = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    return [text.rpartition("\n---\n")[2] if text.startswith("---") else text for text in texts]


def assembled(text):
    """The sentences that code glues together: f-strings and templates of more than five words, but for evidence and
    errors, and for what a terminal is told to type."""
    tree = ast.parse(text)
    allowed = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "evidence"]
    allowed += [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    allowed = {id(inner) for node in allowed for inner in ast.walk(node)}
    for node in ast.walk(tree):
        words = ""
        if isinstance(node, ast.JoinedStr):
            words = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "format":
            words = getattr(getattr(node.func, "value", None), "value", "")
        words = re.sub(r"<[^<>]*>", " ", words) if isinstance(words, str) else ""
        if id(node) not in allowed and len(re.findall(r"[A-Za-z]{2,}", words)) > 5:
            yield words


@pytest.mark.parametrize("path", [*PAGES, *SILENT], ids=lambda path: path.stem)
def test_no_sentence_is_assembled(path):
    for text in code_of(path):
        assert not list(assembled(text))


def test_an_assembled_sentence_is_found():
    assert list(assembled('f"The network has {n} % on all of the pixels"'))
    assert list(assembled('"The network has {} % on all of the pixels".format(n)'))
    assert not list(assembled('claim("x", True, evidence=f"The network has {n} % on all of the pixels")'))


RESULT = r"[+−]\d|\b\d+(?:\.\d+)? ?(?:%|points)(?! size|\w)|\b\d\d\.\d\b"
NO_RESULT = r"95 %|98 %|90, 95|100 %|at the 98|55 %|7 %"  # intervals, names of sizes, shares of a split


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_result_is_typed(path):
    prose = "\n".join(cell.source for cell in jupytext.read(path).cells if cell.cell_type == "markdown")
    prose = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$|^\|.*$", "", prose, flags=re.S | re.M)
    for sentence in re.split(r"(?<=[.!?:])\s", " ".join(prose.split())):
        assert not re.search(RESULT, re.sub(NO_RESULT, "", sentence)), sentence


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_cells_are_short_and_claims_few(path):
    """At most 25 lines a cell; 15 lines of code before the first result; six claims of the book itself a page, at most
    three before the first heading, of the first page five, of sixty words."""
    before, seen, own, top, heading = 0, False, 0, [], False
    for cell in jupytext.read(path).cells:
        if cell.cell_type == "markdown":
            heading |= bool(re.search(r"^## ", cell.source, re.M))
            continue
        text = cell.source.rpartition("\n---\n")[2] if cell.source.startswith("---") else cell.source
        assert sum(map(bool, map(str.strip, text.splitlines()))) <= 25, f"{path.name}: {text[:60]}"
        if "parameters" in cell.metadata.get("tags", []):
            continue
        for statement in ast.parse(text).body:
            calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
            for call in (call for call in calls if getattr(call.func, "id", "") == "claim"):
                if not any(word.arg == "by" for word in call.keywords):
                    own += 1
                    top += [call.args[0].value] if not heading and isinstance(call.args[0], ast.Constant) else []
            seen |= any(getattr(call.func, "id", "") in ("claim", "publish", "display") for call in calls)
            defines = isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef)
            before += 0 if seen or defines else statement.end_lineno - statement.lineno + 1
        seen |= "figure" in cell.metadata.get("mystnb", {})
    assert before <= 15, f"{path.name}: {before} lines before anything is shown"
    assert own <= 6 and len(top) <= (5 if path.stem.startswith("00") else 3), (path.name, own, top)
    assert all(len(text.split()) <= 60 for text in top)
