"""A user's mistake becomes one line that says what is wrong, where it is and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

SHOWN = 40  # names in a line


class HsiError(Exception):
    """A user's mistake, which the command line shows as ``error: <message>``, with exit code 2.

    >>> load_scene("nowhere")
    Traceback (most recent call last):
    hsilib.errors.HsiError: unknown scene 'nowhere'; known are: ...
    """


def shown(value: object, most: int = 60) -> str:
    """Return a value as a part of one line."""
    try:
        return repr(value)[:most]
    except ValueError:  # a whole number of thousands of digits
        return "a very long number"


def reason(error: BaseException, most: int = 200) -> str:
    """Return what an error of another library says, as a part of one line."""
    lines = str(error).split("\n")
    return lines[0][:most].strip() or type(error).__name__


def starved(error: BaseException) -> bool:
    """Say whether an error of another library means that memory is at its end."""
    signs = ("bad_alloc", "allocate", "out of memory", "failed to map segment", "start new thread")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)


def known(kind: str, name: str, names: Iterable[str]) -> str:
    """Return ``name`` if it is one of ``names``; otherwise raise an error that lists the close ones."""
    names = list(names)
    if name in names:
        return name
    if not names:
        raise HsiError(f"unknown {kind} {name!r:.100}; there is none")
    close = get_close_matches(str(name)[:100], names, n=4, cutoff=0.5) or sorted(names)
    hint = "did you mean" if len(close) < len(names) or len(names) <= 4 else "known are"
    more = f" and {len(close) - SHOWN} more" if len(close) > SHOWN else ""
    raise HsiError(f"unknown {kind} {name!r:.100}; {hint}: {', '.join(close[:SHOWN])}{more}")


def joined(texts: Iterable) -> str:
    """Several texts as "a, b and c"; nothing as nothing."""
    *most, last = list(map(str, texts)) or [""]
    return f"{', '.join(most)} and {last}" if most else last
