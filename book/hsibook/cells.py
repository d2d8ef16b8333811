"""Cells of a page, run here rather than in a kernel: to see what it would train, or to know the methods that
are written in it."""

import ast
import io
import json
import linecache
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from hsilib.errors import HsiError, reason
from hsilib.files import outside

REGISTERS = r"^@(?:hsilib\.)?(?:network|distillation|criterion|quantization|method)\("
METHODS = {"network", "distillation", "criterion", "quantization", "method"}
TRAINS = {"collect", "collect_each"}
CHANGES = {"append", "extend", "insert", "update", "add", "setdefault"}
DEFINES = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef


def readable(page: Path) -> Path:
    """Refuse a page that is no notebook, or could not be kept as one."""
    import jupytext

    try:
        json.dumps(jupytext.read(page))
    except Exception as error:  # whatever the parser meets
        raise HsiError(f"{page}: no notebook ({reason(error)})") from None
    return page


def run_cell(
    text: str, number: int, page: str, names: dict[str, Any], tree: ast.Module | None = None
) -> None:
    """Execute the code of a cell, or of it ``tree`` alone, silently; its source stays at hand, for a method
    is its source."""
    file = f"<cell {number} of {page}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    with redirect_stdout(io.StringIO()):
        exec(compile(tree or text, file, "exec"), names)


def planning(cells: list[str]) -> list[ast.Module]:
    """Return what of each cell says which runs a page asks for: its imports and methods, the first statement
    that collects, and what that follows from.  A page that does not collect has none of it.

    >>> [ast.unparse(tree) for tree in planning(["n = 3\\nprint(n)", "collect(plan(n))\\nprint(n)"])]
    ['n = 3', 'collect(plan(n))']
    """
    trees, trains = [], set(TRAINS)
    for text in cells:
        try:
            trees.append(ast.parse(text))
        except SyntaxError:  # of IPython
            trees.append(ast.Module([], []))
    before, last = [], None
    for statement in (statement for tree in trees for statement in tree.body):
        asks = _called(statement) & trains
        if asks and not isinstance(statement, DEFINES):
            last = statement
            break
        trains |= {statement.name} if asks else set()  # a function that trains when it is called
        before.append(statement)
    if last is None:
        return []
    needed, size = _read(last), -1
    while size < len(needed):
        size = len(needed)
        for statement in _opened(before):
            needed |= _read(statement) if _wanted(statement, needed) else set()
    for tree in trees:
        first = [part for part in tree.body if part in before]
        tree.body = [*_kept(first, needed), *({last} & set(tree.body))]
    return trees


def _called(node):
    """The names of all functions that are called in it."""
    calls = [part.func for part in ast.walk(node) if isinstance(part, ast.Call)]
    return {getattr(function, "attr", getattr(function, "id", "")) for function in calls}


def _bodies(statement):
    """What is inside of a condition, a loop and the like, as {field: statements}."""
    fields = () if isinstance(statement, DEFINES) else ("body", "orelse", "finalbody", "handlers")
    return {field: getattr(statement, field) for field in fields if getattr(statement, field, None)}


def _opened(statements):
    """All statements, and those inside of them."""
    inside = [_opened(body) for one in statements for body in _bodies(one).values()]
    return [*statements, *sum(inside, [])]


def _head(statement):
    """All nodes of a statement, without those of its bodies."""
    within = {id(node) for body in _bodies(statement).values() for one in body for node in ast.walk(one)}
    return [node for node in ast.walk(statement) if id(node) not in within]


def _read(statement):
    return {node.id for node in _head(statement) if isinstance(node, ast.Name)}


def _wanted(statement, needed):
    """Tell whether a statement sets or changes one of these names, imports, or registers a method."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    if isinstance(statement, DEFINES):
        registers = any(_called(mark) & METHODS for mark in statement.decorator_list)
        return registers or statement.name in needed
    if isinstance(statement, ast.Expr):
        function = getattr(statement.value, "func", None)
        changes = isinstance(function, ast.Attribute) and function.attr in CHANGES
        return bool(_called(statement) & METHODS) or changes and _root(function) in needed
    stored = [node for node in _head(statement) if isinstance(getattr(node, "ctx", None), ast.Store)]
    return any(_root(node) in needed for node in stored) or any(
        _wanted(one, needed) for body in _bodies(statement).values() for one in body
    )


def _root(node):
    """The name that an attribute or an element belongs to."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return getattr(node, "id", None)


def _kept(statements, needed):
    """Those of the statements that are wanted, and inside of them what is wanted."""
    kept = [one for one in statements if isinstance(one, ast.ExceptHandler) or _wanted(one, needed)]
    for statement in kept:
        for field, body in _bodies(statement).items():
            setattr(statement, field, _kept(body, needed) or ([ast.Pass()] if field == "body" else []))
        ast.fix_missing_locations(statement)
    return kept


def methods_of(page: Path) -> None:
    """Register the methods that a page or a script writes: its cells that register, or the whole script."""
    try:
        text = outside(page, 10_000_000).decode()
        if page.suffix == ".py":
            run_cell(text, 0, page.name, {"__name__": page.stem})
            return
        cells = _code(page, text)
        found = [cell for cell in cells if re.search(REGISTERS, cell, re.M)]
        if not found:
            raise HsiError(f"{page}: no cell registers a method")
        names = {"__name__": "__main__"}
        for number, cell in enumerate(found):
            run_cell(cell, number, page.name, names)
    except (OSError, UnicodeError) as error:
        raise HsiError(f"{page}: cannot be read ({error})") from None
    except (HsiError, KeyboardInterrupt):
        raise
    except BaseException as error:  # an exit too
        raise HsiError(f"{page}: {type(error).__name__}: {reason(error)}") from None


def _code(page, text):
    import jupytext

    try:
        notebook = jupytext.reads(text, fmt=page.suffix.lstrip("."))
    except Exception:  # whatever the parser meets
        raise HsiError(f"{page}: no notebook and no script: .md, .ipynb or .py") from None
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]
