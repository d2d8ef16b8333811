"""Tables of the book: ours beside the paper's, numbers for the prose, CSV files to download."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from hsilib import methods, stats, study
from hsilib.errors import HsiError
from hsilib.files import project, write_atomically
from hsilib.models import WIDTHS
from hsilib.splits import split_of

METRICS = {"oa": "OA %", "top5": "Top-5 %", "aa": "AA %", "kappa": "κ × 100", "f1": "macro-F1 %"}
PAPER_SCENES = {"indian_pines_8bit": "IP", "indian_pines": "IP", "pavia_university": "UP"}


def paper(table):
    """The paper's numbers of one table, tidy."""
    path = next((project() / "book" / "paper").glob(f"table{table:02d}_*.csv"), None)
    if path is None:
        raise HsiError(f"book/paper holds no table {table}")
    return pd.read_csv(path)


def paper_value(table, name, scene, split, metric="top1", ratio=None, strategy=None):
    """One number of the paper, or NaN when the paper gives none for this scene, split and method."""
    t = paper(table)
    rows = t[(t["method"] == name) & (t["dataset"] == PAPER_SCENES.get(scene)) & (t["metric"] == metric)]
    rows = rows[rows["split"].isna() if split is None else rows["split"] == split]
    for column, wanted in (("ratio", ratio), ("strategy", strategy)):
        if wanted:
            rows = rows[rows[column] == wanted]
    return float(rows["value"].iloc[0]) if len(rows) else float("nan")


def summary(rows, metrics=("oa", "top5", "aa", "kappa", "f1")):
    """One line per method, size and split: seeds, mean, sd and half-width of the 95 % interval of each metric."""
    out = []
    for key, group in rows.groupby(["split", "method", "ratio", "options"], sort=False):
        line = dict(zip(("split", "method", "ratio", "options"), key)) | {"seeds": len(group)}
        for metric in metrics:
            line[metric], line[metric + "_sd"], line[metric + "_ci"] = stats.spread(group[metric])
        line |= {c: group[c].iloc[0] for c in ("params", "macs", "bytes", "leakage", "epochs", "train", "test")}
        out.append(line)
    return pd.DataFrame(out)


def title(method, ratio=0, options=""):
    name = methods.get(method).title + (f" {int(ratio)} %" if ratio else "")
    return f"{name}, {options}" if options else name


def pm(mean, sd, digits=1):
    """86.1 ± 0.4 (mean ± sd), or the mean alone for a single run and for a method without randomness."""
    if pd.isna(mean):
        return "–"
    return f"{mean:.{digits}f}" if pd.isna(sd) or sd == 0 else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def signed(mean, low, high, digits=1):
    """+0.8 [+0.1, +1.5], or the mean alone where there is no interval."""
    if pd.isna(low):
        return "–" if pd.isna(mean) else f"{round(mean, digits) + 0.0:+.{digits}f}".replace("-", "−")
    mean, low, high = (f"{round(value, digits) + 0.0:+.{digits}f}" for value in (mean, low, high))  # no "-0.0"
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


def within(values, published):
    """Whether a published value, which is rounded to a tenth, lies within the 95 % prediction interval for one more run; for
    a method without randomness, whether it is the same; NaN where neither can be told."""
    mean, sd, _ = stats.spread(values)
    low, high = (mean, mean) if sd == 0 else stats.prediction_interval(values) if len(values) else (np.nan, np.nan)
    return np.nan if pd.isna(low) or pd.isna(published) else float(low - 0.05 <= published <= high + 0.05)


def beside_paper(rows, table, scene, metric="oa", strategy=None):
    """Ours beside the paper's table: per method and split, mean ± sd and its 95 % interval, the paper's value, the
    difference, and whether the paper's single value lies within our 95 % prediction interval for one run."""
    out = []
    for (name, split, ratio, options), group in rows.groupby(["method", "split", "ratio", "options"], sort=False):
        published = {"oa": "top1", "top5": "top5"}[metric]
        theirs = paper_value(table, methods.get(name).paper, scene, split, published, ratio, strategy)
        mean, sd, half = stats.spread(group[metric])
        inside = {1.0: "yes", 0.0: "no"}.get(within(group[metric], theirs), "–")
        out.append(
            {
                "method": name,
                "model": title(name, ratio, options),
                "split": split,
                "seeds": len(group),
                "ours": pm(mean, sd),
                "95 % interval": "–" if pd.isna(half) or half == 0 else f"{mean - half:.1f} to {min(mean + half, 100):.1f}",
                "paper": number(theirs),
                "difference": signed(mean - theirs, np.nan, np.nan),
                "inside": inside,
                "mean": mean,
                "sd": sd,
                "paper_value": theirs,
            }
        )
    return pd.DataFrame(out)


def publish(table, name, caption=None):
    """Show a table in the notebook and leave its CSV for download beside the page."""
    _leave(table, name)
    _show(table, caption)


def _leave(table, name):
    page = os.environ.get("HSILIB_PAGE") or project() / "_build" / "runs"  # set by the runner
    write_atomically(Path(page) / "tables" / f"{name}.csv", table.to_csv(index=False))


def _show(table, caption):
    from IPython.display import HTML, display

    words = len(table) and table.iloc[:, -1].astype(str).str.len().max() > 40  # a last column of sentences may wrap
    html = table.to_html(index=False, border=0, classes="hsi-table" + " hsi-words" * bool(words), na_rep="–", escape=False)
    caption = f"<p class='hsi-caption'>{caption}</p>" if caption else ""
    display(HTML(f"<div class='hsi-scroll'>{caption}{html}</div>"))


# ------------------------------------------------------------------------------ what the chapters of the small networks share


def publish_sizes(rows, names, tables, scene, stem):
    """The paper's tables of one family beside ours, one for each size: ``tables`` is {ratio: number of the table}.  All in one
    CSV, so that a page with fewer sizes has no dead link."""
    every, columns = [], ["model", "split", "seeds", "ours", "95 % interval", "paper", "difference", "inside"]
    splits = list(dict.fromkeys(rows["split"]))
    for ratio, number in tables.items():
        sized = rows[(rows["ratio"] == ratio) & rows["method"].isin([*names, "scratch"]) | (rows["method"] == "cnn2d")]
        sized = sized.sort_values("split", key=lambda column: column.map(splits.index), kind="stable")
        table = beside_paper(sized, number, scene)
        top5 = beside_paper(sized, number, scene, "top5")
        table = table.assign(**{"Top-5 ours": top5["ours"], "Top-5 paper": top5["paper"]})
        table = table[[*columns, "Top-5 ours", "Top-5 paper"]].rename(columns={"95 % interval": "95 % interval of the mean"})
        every.append(table.assign(table=number))
        narrow = table.drop(columns="95 % interval of the mean").rename(columns={"Top-5 ours": "Top-5", "Top-5 paper": "paper "})
        _show(
            narrow,  # as wide as the page
            f"Table {number} of the paper: networks of the {ratio} % size. Overall accuracy (Top-1), percent, mean ± sd over "
            "seeds. Inside: the paper's single value lies within our 95 % prediction interval for one run. Then Top-5.",
        )
    _leave(pd.concat(every), f"{stem}-tables")


def against(rows, names, other, split, ratios):
    """Paired differences of every method at every size to the method ``other`` of the same size."""

    def runs(name, ratio):
        return (rows["method"] == name) & (rows["ratio"] == ratio) & (rows["split"] == split)

    return stats.paired_table(rows, {title(n, r): (runs(n, r), runs(other, r)) for r in ratios for n in names})


def publish_against(rows, names, others, split, ratios, name):
    """Paired differences to several controls, ``others`` {method: how its column is called}; p after Holm within a column."""
    lines = None
    for other, short in others.items():
        table = against(rows, names, other, split, ratios)
        lines = table[["comparison", "seeds"]].copy() if lines is None else lines
        lines[f"minus {short}"] = [signed(*values) for values in table[["difference", "low", "high"]].itertuples(index=False)]
        lines[f"p, {short}"] = table["p (Holm)"].map(p_value)
    publish(
        lines,
        name,
        f"Paired differences in overall accuracy, points, split {split}, with 95 % intervals; p after Holm's "
        "correction within each column.",
    )


def verdict(rows, names, splits, ratios):
    """What a family of methods comes to, as texts for the prose: the best mean at the largest and the smallest size beside
    Scratch and the dense network on the first split, how many differences to Scratch stand out, and the random split."""

    def runs(name, ratio, split=splits[0]):
        return rows[(rows["method"] == name) & (rows["ratio"] == ratio) & (rows["split"] == split)]

    def oa(name, ratio):
        return pm(*stats.spread(runs(name, ratio)["oa"])[:2])

    versus, dense = against(rows, names, "scratch", splits[0], ratios), runs("cnn2d", 0)
    found = {"dense": oa("cnn2d", 0), "first": splits[0], "count": str(len(names)), "seeds": str(len(dense))}
    for place, ratio in (("large", min(ratios)), ("small", max(ratios))):
        best = max(names, key=lambda name: runs(name, ratio)["oa"].mean())
        found[f"best_{place}"], found[f"best_{place}_name"] = oa(best, ratio), methods.get(best).title
        found[f"scratch_{place}"], found[f"width_{place}"] = oa("scratch", ratio), f"{100 * WIDTHS[ratio][0] / WIDTHS[0][0]:.0f}"
    sure = versus[versus["p (Holm)"] < 0.05]
    found |= {
        "better": _listed(sure.loc[sure["difference"] > 0, "comparison"]),
        "worse": _listed(sure.loc[sure["difference"] < 0, "comparison"]),
        "pairs_count": str(len(versus)),
        "clear_better": str((versus["low"] > 0).sum()),
        "clear_worse": str((versus["high"] < 0).sum()),
        "by_chance": number(0.05 * len(versus)),
        "half": number((versus["high"] - versus["low"]).median() / 2),
        "mean_change": mean_change(rows, names, splits[0], ratios),
        "leak": number(dense["leakage"].iloc[0]),
        "random_text": "No other split is shown here.",
    }
    if "random" in splits[1:]:
        least = min(runs(name, ratio, "random")["oa"].mean() for name in names for ratio in ratios)
        change = mean_change(rows, names, "random", ratios)
        found["random_text"] = f"On the random split the mean change is {change} points; every mean is {least:.1f} % or more."
    return found


def _listed(names, most=4):
    """None, a few names, or how many."""
    return "none" if len(names) == 0 else ", ".join(names) if len(names) <= most else f"{len(names)} pairs"


def mean_change(rows, names, split, ratios):
    """Mean difference to Scratch over all methods and sizes, with its interval over the seeds that have them all."""
    part = rows[(rows["split"] == split) & rows["ratio"].isin(ratios)]
    table = part[part["method"].isin([*names, "scratch"])].pivot_table(index="seed", columns=["method", "ratio"], values="oa")
    change = sum((table[name] - table["scratch"]).mean(axis=1, skipna=False) for name in names).dropna() / len(names)
    return signed(*stats.paired(change, 0 * change)[:3])


def fitted(store, rows):
    """Accuracy on the very pixels a network was trained on, percent, of each row: how well it fits them."""
    found, splits = [], {}
    for run, *key in rows[["run", "scene", "split", "seed"]].itertuples(index=False):
        if tuple(key) not in splits:
            splits[tuple(key)] = split_of(store.card(key[0])[0], *key[1:])
        split = splits[tuple(key)]
        found.append(100 * np.mean(store.read_map(run).ravel()[split.train] == split.train_y + 1))
    return np.array(found)


def fits(store, scene, split, names, ratios):
    """(method, size): accuracy of the pixels trained on and of the test pixels, means over the seeds that all have."""
    rows = study.stored(store, scene, [split], names, ratios)
    if rows.empty:
        raise HsiError(f"the store holds none of the small networks on {split}; see python -m hsilib study --list")
    have = rows["seed"].map(rows["seed"].value_counts())
    rows = rows[have == have.max()]
    return rows.assign(fit=fitted(store, rows)).groupby(["method", "ratio"])[["fit", "oa"]].mean()


def comparable():
    """Methods that end in the same small network and may be held against each other.  Not SimKD, which deploys more, and not
    what was trained for a third of the time or cut by lot."""
    scratch = ["scratch", "scratch_b", "scratch_aug", "scratch_crops", "label_smoothing"]
    taught = [*methods.family("offline"), *methods.family("online"), *methods.family("self")]
    return [*scratch, *methods.family("pruning"), "l1_iterative", "l1_multipass", *(n for n in taught if n != "simkd")]


def by_seed(rows, names, ratios, least=2):
    """Overall accuracy, seeds × (method, size): the seeds that have them all, of which there must be ``least``."""
    table = rows.pivot_table(index="seed", columns=["method", "ratio"], values="oa")
    table = table.reindex(columns=pd.MultiIndex.from_product([names, ratios])).dropna()
    if len(table) < least:
        raise HsiError("the store holds fewer than two seeds of every small network; see python -m hsilib study --list")
    return table


def leader(table):
    """The method with the highest mean of a table (seeds × methods), and those that cannot be told from it after Holm."""
    best = table.mean().idxmax()
    others = [n for n in table.columns if n != best]
    p = stats.holm([stats.paired(table[best], table[n])[3] for n in others])
    return best, [n for n, value in zip(others, p) if not value < 0.05]


def gains(table, other="scratch"):
    """Every method against one of them in the mean over the sizes of ``by_seed``: difference, interval, p after Holm."""
    mean = table.T.groupby(level=0).mean().T
    found = {name: stats.paired(mean[name], mean[other]) for name in mean if name != other}
    found = pd.DataFrame(found, index=["difference", "low", "high", "p"]).T
    return found.assign(p=stats.holm(found["p"])).sort_values("difference", ascending=False)


def benchmarks():
    """What ``python -m hsilib bench --save`` found, {} if it was never run."""
    path = project() / "book" / "results" / "bench.json"
    return json.loads(path.read_text()) if path.exists() else {}


def publish_costs(names, stem):
    """Training time of methods of distillation as multiples of Scratch's."""
    times = benchmarks().get("teaching", {}).get("times", {})
    lines = [(title(name), number(times.get(name, float("nan")), 2)) for name in names]
    publish(
        pd.DataFrame(lines, columns=["method", "time of a step, Scratch = 1"]),
        f"{stem}-costs",
        "Time of a training step of the 90 % student, its teachers already trained: median of five, interleaved with Scratch, on "
        f"one thread ({benchmarks().get('teaching', {}).get('device', '–')}).",
    )
