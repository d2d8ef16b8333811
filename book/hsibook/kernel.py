"""What the runner tells the kernel of a page before its first cell: where the page is, and how it trains."""

from pathlib import Path
from types import SimpleNamespace

from hsilib.study import machine

# place: of the page, without its suffix, beside which its tables go; None where no runner started the kernel
# held: whether the page shows what the store has, and trains nothing
PAGE = SimpleNamespace(place=None, held=False)


def begin(place: str, how: dict, only_held: bool) -> None:
    """Take what the runner says; ``how``: what ``machine.TRAINING`` holds."""
    PAGE.place, PAGE.held = Path(place), only_held
    machine.TRAINING.update(how)


def words(page: Path, only_held: bool = False) -> list[str]:
    """The words a kernel is started with, so that it begins; what it logs is not the reader's business."""
    call = f"__import__('hsibook.kernel').kernel.begin(*{(str(page), machine.TRAINING, only_held)!r})"
    return ["--log-level=50", f"--IPKernelApp.exec_lines={call}"]
