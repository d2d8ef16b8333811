"""The methods that a page or a script writes, for commands that are not run in its kernel."""

import io
import linecache
import re
from contextlib import redirect_stdout
from pathlib import Path

from hsilib.errors import HsiError, reason
from hsilib.files import outside

REGISTERS = r"^@(?:hsilib\.)?(?:network|distillation|criterion|quantization|method)\("


def methods_of(page: Path) -> None:
    """Register the methods that a page or a script writes: its cells that register, or the whole script."""
    import jupytext

    try:
        text, names = outside(page, 10_000_000).decode(), {"__name__": "__main__"}
        cells = [text]
        if page.suffix != ".py":
            cells = [cell.source for cell in jupytext.reads(text, fmt=page.suffix.lstrip(".")).cells]
        cells = [cell for cell in cells if re.search(REGISTERS, cell, re.M)]
        for number, cell in enumerate(cells):
            file = f"<cell {number} of {page.name}>"  # at hand, for a method is its source
            linecache.cache[file] = (len(cell), None, cell.splitlines(True), file)
            with redirect_stdout(io.StringIO()):
                exec(compile(cell, file, "exec"), names)
    except (HsiError, KeyboardInterrupt):
        raise
    except BaseException as error:  # an exit too, and whatever the parser meets
        raise HsiError(f"{page}: no page with a method ({type(error).__name__}: {reason(error)})") from None
    if not cells:
        raise HsiError(f"{page}: no cell registers a method")
