"""Tables of the book, and the CSV files that lie beside a page for download."""

import html
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hsibook import kernel, stats
from hsibook.text import megabytes, number, pm, thousands
from hsilib.files import built, write_atomically
from hsilib.methods import title
from hsilib.study.store import Store

METRICS = {
    "oa": "OA %", "top5": "Top-5 %", "aa30": "AA30 %", "aa": "AA %", "kappa": "κ × 100", "f1": "macro-F1 %"
}


def summary(rows: pd.DataFrame, metrics: Sequence[str] = tuple(METRICS)) -> pd.DataFrame:
    """One line per method, size and split: seeds, mean, sd and half-width of the 95 % interval of each
    metric.

    >>> summary(collect(plan("synthetic_fields_small", "disjoint", "mlp", seeds=2, epochs=2)))
    """
    out, names = [], ["split", "method", "ratio", "options"]
    for key, group in rows.groupby(names, sort=False):
        line = dict(zip(names, key)) | {"seeds": len(group)}
        for metric in metrics:
            line[metric], line[metric + "_sd"], line[metric + "_ci"] = stats.spread(group[metric])
        line |= {c: group[c].iloc[0] for c in ("params", "macs", "leakage", "epochs", "train", "test")}
        line |= {c: group[c].mean() for c in ("bytes", "payload")}  # a forest has another size for each seed
        out.append(line)
    return pd.DataFrame(out)


def all_metrics(rows: pd.DataFrame, costs: bool = True) -> pd.DataFrame:
    """Every metric, mean ± sd over seeds, by method, size and split; ``costs``: and what a network costs."""
    full = summary(rows)
    names = [title(*key) for key in zip(full["method"], full["ratio"], full["options"])]
    table = pd.DataFrame({"model": names, "split": full["split"], "seeds": full["seeds"]})
    for metric, label in METRICS.items():
        table[label] = [pm(mean, sd) for mean, sd in zip(full[metric], full[metric + "_sd"])]
    if costs:
        table["parameters"] = full["params"].map(thousands)
        table["multiply-adds, M"] = ["–" if pd.isna(v) else f"{v / 1e6:.3g}" for v in full["macs"]]
        table["MB on disk"] = full["bytes"].map(megabytes)
        table["payload, kB"] = [number(size / 1e3) for size in full["payload"]]
    return table


def publish(table: pd.DataFrame, name: str, caption: str | None = None, choose: str = "") -> None:
    """Show a table in the notebook, with a link to its CSV, which lies beside the page; ``choose``: a column
    of whose values the reader sees one at a time.

    >>> publish(summary(rows), "summary", "Mean and spread of every method.")
    """
    from IPython.display import HTML, display

    caption = f"<p class='hsi-caption'>{html.escape(caption, quote=False)}</p>" if caption else ""
    keys = " tabindex='0'" * (len(table.columns) > WIDE or len(table) > MANY)  # what scrolls does so by keys
    by = f" data-choose='{list(table.columns).index(choose)}'" if choose else ""
    display(HTML(f"<div class='hsi-scroll'{keys}{by}>{caption}{as_html(table)}</div>"))
    leave(table, name, "This table as CSV")


def leave(table: pd.DataFrame, name: str, words: str) -> None:
    """Leave a table as CSV beside the page, with a link to it."""
    path = beside_page(f"{name}.csv")
    write_atomically(path, table.to_csv(index=False))
    link(path, words)


def link(path: Path, words: str) -> None:
    """Show a link to a file beside the page."""
    from IPython.display import Markdown, display

    here = path.parents[1] if kernel.PAGE.place else Path.cwd()
    display(Markdown(f"[{words}]({Path(os.path.relpath(path, here)).as_posix()})"))


def beside_page(name: str) -> Path:
    """Where a file for download lies: beside the page and under its name, so that a copied chapter leaves the
    files of its original alone."""
    page = kernel.PAGE.place or built() / "_build" / "runs" / "notebook"
    return page.parent / "tables" / f"{page.name}-{name}"


MANY = 12  # lines above which a table scrolls in its own box on a telephone
WIDE, BROAD = 4, 44  # columns and letters that fit on a telephone; a line of a wider table is a card there
LONG, BRIEF = 12, 14  # letters of a value that takes a line of a card, and of words that are not broken
NUMBER = re.compile(r"[+−<>≥~]?\s?\d|–$|$")  # how the text of a number begins


def as_html(table: pd.DataFrame) -> str:
    """A table as HTML: numbers to the right, words to the left, and the head of its column with each cell."""
    texts = table.fillna("–").astype(str)
    words = {name: not texts[name].map(NUMBER.match).astype(bool).mean() > 0.5 for name in texts}
    most = {name: int(texts[name].str.len().max() or 0) for name in texts} if len(texts) else {}
    looks = {name: "hsi-text" * (words[name] or not place) for place, name in enumerate(texts)}
    for name in most:
        looks[name] += " hsi-brief" * (bool(looks[name]) and most[name] <= BRIEF)
        looks[name] += " hsi-long" * (not looks[name] and most[name] > LONG)
    looks = {name: f" class='{look.strip()}'" if look else "" for name, look in looks.items()}
    heads = {name: html.escape(str(name)) for name in texts}
    lines = ["".join(f"<th scope='col'{looks[name]}>{head}</th>" for name, head in heads.items())]
    for line in texts.replace({" %": "\u00a0%", " kB": "\u00a0kB"}, regex=True).itertuples(index=False):
        cells = zip(line, heads.items())
        cells = (f"<td{looks[name]} data-label='{head}'>{html.escape(text, quote=False)}</td>"
                 for text, (name, head) in cells)
        lines.append("".join(cells))
    head, *body = (f"<tr>{line}</tr>" for line in lines)
    broad = sum(max(most.get(name, 0), *map(len, str(name).split())) for name in texts) > BROAD
    wide = " hsi-wide" * (len(texts.columns) > WIDE or (broad and len(texts.columns) > 2))
    wide += " hsi-many" * (len(texts) > MANY)
    return f"<table class='hsi-table{wide}'><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"


def benchmarks() -> dict:
    """What ``hsilib bench --save`` found, yours before the published; {} if it was never run."""
    found = {}
    for folder in reversed(Store().folders):
        if (folder / "bench.json").exists():
            found |= json.loads((folder / "bench.json").read_text("utf-8"))
    return found
