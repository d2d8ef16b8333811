"""What the runner tells the kernel of a page before its first cell: where the page is, and how it trains."""

from pathlib import Path

from hsilib.study import machine

place: Path | None = None  # of the page, without its suffix; None where no runner started the kernel


def begin(page: str, how: dict) -> None:
    """Take what the runner says; ``how``: what ``machine.TRAINING`` holds."""
    global place
    place = Path(page)
    machine.TRAINING.update(how)
