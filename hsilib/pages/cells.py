"""Cells of a page, run here rather than in a kernel: to see what it would train, or to know the methods that
are written in it."""

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


def readable(page: Path) -> Path:
    """Refuse a page that is no notebook, or could not be kept as one."""
    import jupytext

    try:
        json.dumps(jupytext.read(page))
    except Exception as error:  # whatever the parser meets
        raise HsiError(f"{page}: no notebook ({reason(error)})") from None
    return page


def run_cell(text: str, number: int, page: str, names: dict[str, Any]) -> None:
    """Execute the code of a cell, silently; its source stays at hand, for a method is its source."""
    file = f"<cell {number} of {page}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    with redirect_stdout(io.StringIO()):
        exec(compile(text, file, "exec"), names)


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
