"""Numbers as texts: how a figure stands in a table and in a sentence."""

import pandas as pd

from hsilib.pages import stats


def say(text):
    """Show prose with numbers, as Markdown: readable in the built book and in plain Jupyter alike."""
    from IPython.display import Markdown, display

    display(Markdown(text))


def mean_sd(values, digits=1):
    """86.1 ± 0.4 of some runs: their mean and standard deviation."""
    return pm(*stats.spread(values)[:2], digits)


def difference(a, b, digits=1):
    """+0.8 [+0.1, +1.5]: mean of a − b over the seeds that both have, and its 95 % interval."""
    a, b = a.align(b, join="inner")
    return signed(*stats.paired(a, b)[:3], digits)


def pm(mean, sd, digits=1):
    """86.1 ± 0.4 (mean ± sd), or the mean alone for a single run and for a method without randomness."""
    if pd.isna(mean):
        return "–"
    return f"{mean:.{digits}f}" if pd.isna(sd) or sd == 0 else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def signed(mean, low, high, digits=1):
    """+0.8 [+0.1, +1.5], or the mean alone where there is no interval."""
    if pd.isna(low):
        return "–" if pd.isna(mean) else f"{round(mean, digits) + 0.0:+.{digits}f}".replace("-", "−")
    mean, low, high = (
        f"{round(value, digits) + 0.0:+.{digits}f}" for value in (mean, low, high)
    )  # no "-0.0"
    return f"{mean} [{low}, {high}]".replace("-", "−")


def number(value, digits=1):
    """A figure, or a dash when there is none."""
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


def p_value(p):
    """Three decimals; a very small one is not zero."""
    return "< 0.001" if p < 0.001 else number(p, 3)


def megabytes(value):
    """Decimal, three figures."""
    return "–" if pd.isna(value) else f"{value / 1e6:.3g}"


def thousands(value):
    return "–" if pd.isna(value) else f"{int(value):,}"


def listed(names, most=4):
    """None, a few names, or how many."""
    return "none" if len(names) == 0 else ", ".join(names) if len(names) <= most else f"{len(names)} pairs"


def joined(texts):
    """a, b and c."""
    *most, last = map(str, texts)
    return f"{', '.join(most)} and {last}" if most else last
