"""What the runner tells the kernel of a page before its first cell: where the page is, and how it trains."""

from pathlib import Path

from hsilib.study import machine

place: Path | None = None  # of the page, without its suffix; None where no runner started the kernel
held = False  # whether the page shows what the store has, and trains nothing


def begin(page: str, how: dict, only_held: bool = False) -> None:
    """Take what the runner says; ``how``: what ``machine.TRAINING`` holds."""
    global place, held
    place, held = Path(page), only_held
    machine.TRAINING.update(how)


def call(page: Path, only_held: bool = False) -> str:
    """The line of code that says it."""
    return f"__import__('hsibook.kernel').kernel.begin(*{(str(page), machine.TRAINING, only_held)!r})"
