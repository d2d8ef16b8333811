"""A user's mistake is one line that says what, where and what to do."""

from difflib import get_close_matches


class HsiError(Exception):
    """Shown to the user as ``error: <message>`` with exit code 2, never as a traceback."""


def known(kind, name, names):
    """Return ``name`` if it is one of ``names``; else an error that lists the close ones."""
    names = list(names)
    if name in names:
        return name
    close = get_close_matches(str(name), names, n=4, cutoff=0.5) or sorted(names)
    hint = "did you mean" if len(close) < len(names) or len(names) <= 4 else "known are"
    raise HsiError(f"unknown {kind} {name!r}; {hint}: {', '.join(close)}")
