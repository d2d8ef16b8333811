"""Numbers as texts: how they stand in tables and in the evidence of claims."""

from collections.abc import Sequence

import pandas as pd

from hsibook import stats


def mean_sd(values: Sequence, digits: int = 1) -> str:
    """Mean and standard deviation of some runs, as text.

    >>> mean_sd([85.7, 86.5])
    '86.1 ± 0.6'
    """
    return pm(*stats.spread(values)[:2], digits)


def difference(a: pd.Series, b: pd.Series, digits: int = 1) -> str:
    """Mean of a − b over the seeds that both have, and its 95 % interval, as text; both are indexed
    by seed.

    >>> difference(pick(rows, method="ca_mkd")["oa"], pick(rows, method="scratch")["oa"])
    """
    a, b = a.align(b, join="inner")
    return signed(*stats.paired(a, b)[:3], digits)


def pm(mean: float, sd: float, digits: int = 1) -> str:
    """Mean ± sd, or the mean alone for a single run and for a method without randomness."""
    if pd.isna(mean):
        return "–"
    return f"{mean:.{digits}f}" if pd.isna(sd) or sd == 0 else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def signed(mean: float, low: float, high: float, digits: int = 1) -> str:
    """+0.8 [+0.1, +1.5], or the mean alone where there is no interval; what rounds to zero has a digit more.

    >>> signed(1.9, 0.04, 3.9)
    '+1.9 [+0.04, +3.9]'
    """

    if pd.isna(low):
        return "–" if pd.isna(mean) else _one(mean, digits)
    return f"{_one(mean, digits)} {between(low, high, digits)}"


def between(low: float, high: float, digits: int = 1) -> str:
    """[+0.1, +1.5]"""
    return f"[{_one(low, digits)}, {_one(high, digits)}]"


def _one(value, digits):
    places = digits if round(value, digits) else digits + 1
    return f"{value:+.{places}f}".replace("-", "−") if round(value, places) else f"{0:.{digits}f}"


def number(value: float, digits: int = 1) -> str:
    """A figure, or a dash when there is none."""
    return "–" if pd.isna(value) else f"{round(value, digits) + 0.0:.{digits}f}"  # not "-0.0"


def p_value(p: float) -> str:
    """A p-value with three decimals; a very small one is not written as zero."""
    return "< 0.001" if p < 0.001 else number(p, 3)


def megabytes(value: float) -> str:
    """Bytes as decimal megabytes with three figures."""
    return "–" if pd.isna(value) else f"{value / 1e6:.3g}"


def thousands(value: float) -> str:
    """A whole number with commas between thousands."""
    return "–" if pd.isna(value) else f"{int(value):,}"


def brief(title: str) -> str:
    """The title of a scene without what is in brackets, as a sentence has it."""
    return title.partition(" (")[0].removesuffix(", 8-bit")
