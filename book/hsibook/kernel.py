"""What the runner tells the kernel of a page before its first cell: where the page is, and how it trains."""

from pathlib import Path

from hsilib.study import machine

PAGE: dict[str, Path] = {}  # "place": of the page, without its suffix, where a runner started the kernel


def begin(place: str, how: dict) -> None:
    """Take what the runner says; ``how``: what ``machine.TRAINING`` holds."""
    PAGE["place"] = Path(place)
    machine.TRAINING.update(how)
