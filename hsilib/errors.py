"""A user's mistake becomes one line that says what is wrong, where it is and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class HsiError(Exception):
    """A user's mistake, which the command line shows as ``error: <message>``, with exit code 2."""


def known(kind: str, name: str, names: Iterable[str]) -> str:
    """Return ``name`` if it is one of ``names``; otherwise raise an error that lists the close ones."""
    names = list(names)
    if name in names:
        return name
    close = get_close_matches(str(name), names, n=4, cutoff=0.5) or sorted(names)
    hint = "did you mean" if len(close) < len(names) or len(names) <= 4 else "known are"
    raise HsiError(f"unknown {kind} {name!r}; {hint}: {', '.join(close)}")
