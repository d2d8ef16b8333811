"""What the runner tells the kernel of a page before its first cell: where the page is, and how it trains."""

from pathlib import Path
from types import SimpleNamespace

from hsilib.study import machine

# place: of the page, without its suffix; None where no runner started the kernel
# held: whether the page shows what the store has, and trains nothing
PAGE = SimpleNamespace(place=None, held=False)


def begin(place: str, how: dict, only_held: bool = False) -> None:
    """Take what the runner says; ``how``: what ``machine.TRAINING`` holds."""
    PAGE.place, PAGE.held = Path(place), only_held
    machine.TRAINING.update(how)


def call(page: Path, only_held: bool = False) -> str:
    """The line of code that says it."""
    return f"__import__('hsibook.kernel').kernel.begin(*{(str(page), machine.TRAINING, only_held)!r})"
