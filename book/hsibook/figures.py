"""Charts that several chapters share; a chapter's own stand in its notebook, pictures in ``drawings``.

One message each; the same colour and marker for the same method everywhere; legible in grey.
"""

from collections.abc import Callable, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from hsibook import stats
from hsibook.colours import method_style
from hsibook.tables import METRICS
from hsilib.methods import get, title

WIDE = 5.8  # inches of every figure: with letters of 11 points it can be read on a phone


def style() -> None:
    """House style; call once per chapter."""
    plt.rcParams.update({
        "figure.dpi": 110, "savefig.dpi": 110, "savefig.bbox": "tight", "font.size": 11,
        "axes.titlesize": 11, "legend.fontsize": 10,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
        "grid.color": "#dddddd", "grid.linewidth": 0.7, "legend.frameon": False,
        "figure.constrained_layout.use": True,
        "axes.prop_cycle": plt.cycler(color=["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"]),
    })


def strips(rows: pd.DataFrame, paper: Callable | None = None, metrics: Sequence[str] = ("oa",)) -> plt.Figure:
    """Every run as a dot, the mean as a bar, the paper's value as a cross; one panel per split and metric."""
    panels = [(split, metric) for split in dict.fromkeys(rows["split"]) for metric in metrics]
    keys = list(dict.fromkeys(zip(rows["method"], rows["ratio"], rows["options"])))
    size = (WIDE, 0.36 * len(keys) + 1.5)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    theirs = []
    for ax, (split, metric) in zip(axes.flat, panels):
        for y, (name, ratio, options) in enumerate(keys):
            mine = stats.pick(rows, split=split, method=name, ratio=ratio, options=options)
            colour, marker = method_style(name)
            look = dict(color=colour, ms=6, mec="white", mew=0.5, ls="none")
            ax.plot(mine[metric], np.full(len(mine), y), marker, **look)
            if len(mine):
                ax.plot([mine[metric].mean()] * 2, [y - 0.32, y + 0.32], color=colour, lw=2)
            if paper and metric == "oa":
                theirs.append(paper(name, split, ratio))
                ax.plot(theirs[-1], y, "x", color="black", ms=7, mew=1.6)
        ax.set_title(split if len({one for one, _ in panels}) > 1 else "")
        ax.set_xlabel(METRICS[metric])
        ax.xaxis.set_major_locator(MaxNLocator(4))
    axes[0, 0].set_yticks(range(len(keys)), [title(*key) for key in keys])
    axes[0, 0].invert_yaxis()
    looks = {"one run": dict(marker="o", color="#666"), "mean": dict(marker="|", ms=11, mew=2, color="#666")}
    if not np.isnan(theirs).all():
        looks["paper"] = dict(marker="x", mew=1.6, color="black")
    _legend(figure, looks, 3)
    return figure


def _legend(figure, looks, columns=2):
    """A legend of marks below a figure, {what it says: how it looks}."""
    marks = [plt.Line2D([], [], ls="none", **look) for look in looks.values()]
    figure.legend(marks, looks, loc="outside lower center", ncols=columns)


def terms(logs: dict) -> plt.Figure:
    """Weighted terms of each loss per epoch, log scale; one panel per method, two side by side; ``logs``
    {name: table of terms}."""
    rows = -(-len(logs) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(WIDE, 2.3 * rows + 0.2), sharex=True, squeeze=False)
    for ax in axes.flat[len(logs) :]:
        ax.set_visible(False)
    for ax, (name, log) in zip(axes.flat, logs.items()):
        for (term, values), line in zip(log.items(), 3 * ["-", "--", ":", "-."]):
            ax.plot(log.index + 1, values.where(values > 0), line, label=term)
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_title(title(name))
        ax.legend(fontsize=9, ncols=2)
    for ax in axes.flat[max(0, len(logs) - 2) : len(logs)]:  # the lowest of each column
        ax.set_xlabel("epoch")
        ax.tick_params(labelbottom=True)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    for ax in axes[:, 0]:
        ax.set_ylabel("mean of the term")
    return figure


BY_DESIGN = "small by design"
FAMILIES = {
    "baselines": ("#999999", "s"), "Scratch and controls": ("#000000", "o"), "pruning": ("#0072b2", "D"),
    "quantization": ("#e69f00", "^"), "distillation": ("#009e73", "v"),
    BY_DESIGN: ("#d55e00", "*"), "rivals": ("#56b4e9", "P"), "landuse": ("#cc79a7", "X")
}


def kind(name: str) -> str:
    """The family of a method as the reader thinks of it: all three kinds of distillation are one."""
    coarse = dict.fromkeys(("offline", "online", "self"), "distillation") | {
        "controls": "Scratch and controls", "strategies": "pruning", "compact": BY_DESIGN
    }
    return coarse.get(get(name).family, get(name).family)


def name_points(ax: plt.Axes, points: np.ndarray, names: Sequence[str]) -> None:
    """Write each name beside its point, within the axes, where it covers no name already there and the
    fewest points and bars, with a thin line to it."""
    inch = 72 / ax.figure.dpi  # all in points, as the offsets are
    frame = ax.get_window_extent().extents * inch
    bars = [ax.transData.transform(bar) for part in ax.collections for bar in part.get_segments()]
    marks = [ax.transData.transform(line.get_xydata()) for line in ax.lines if line.get_marker() != "None"]
    marks = np.concatenate([*marks, *(np.linspace(*ends, 20) for ends in bars if len(ends) == 2)]) * inch
    written = []

    def cost(box):
        names = sum((box[:2] < other[2:]).all() and (other[:2] < box[2:]).all() for other in written)
        outside = (box[:2] < frame[:2]).any() or (box[2:] > frame[2:]).any()
        return names + outside, ((box[:2] - 3 < marks) & (marks < box[2:] + 3)).all(1).sum()

    for place, name, point in zip(ax.transData.transform(points) * inch, names, points):
        half = 5.5 * len(name) / 2  # of a name's width
        aside = half + 8
        offsets = [(0, 12), (0, -12), *((x, y) for y in (0, 10, -10) for x in (aside, -aside)),
                   *((x, y) for y in (27, -27, 42, -42) for x in (0, half, -half))]
        size = np.array([-half, -6, half, 6])
        box, best = min(((size + 2 * (*(place + one),), one) for one in offsets), key=lambda it: cost(it[0]))
        written.append(box)
        thread = dict(arrowstyle="-", color="#888888", lw=0.6, shrinkA=0, shrinkB=3)
        where = dict(xytext=best, textcoords="offset points", ha="center", va="center")
        halo = [withStroke(linewidth=3, foreground="white")]
        ax.annotate(name, point, **where, arrowprops=thread, fontsize=9, path_effects=halo)


def fronts(found: dict, groups: dict, group: Callable, named: Sequence[str]) -> plt.Figure:
    """Accuracy against payload, a point for each network of ``found`` {label: rows}, filled if in int8, with
    a black edge if taught.  ``groups`` {name: (colour, marker)}, ``group(label)`` one of them; ``named`` are
    written beside their points."""
    figure, axes = plt.subplots(2, 1, figsize=(WIDE, 8), sharex=True)
    size = {label: rows["payload"].iloc[0] / 1e3 for label, rows in found.items()}
    for ax, metric in zip(axes, ("oa", "aa30")):
        for label, rows in found.items():
            colour, marker = groups[group(label)]
            look = dict(mfc=colour if "int8" in label else "white", mew=1.6, ms=8, capsize=3)
            look["mec"] = "black" if "taught" in label else colour
            where = size[label], rows[metric].mean(), rows[metric].std()
            ax.errorbar(*where, fmt=marker, color=colour, **look)
        ax.set(xscale="log", ylabel=METRICS[metric])
        ax.margins(x=0.18, y=0.14)
    axes[-1].set_xlabel("payload, kB")
    axes[-1].xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes[-1].xaxis.set_major_formatter("{x:g}")
    axes[-1].xaxis.set_minor_formatter(NullFormatter())
    looks = (dict(color=colour, marker=marker, mfc="white") for colour, marker in groups.values())
    _legend(figure, dict(zip(groups, looks)))
    figure.canvas.draw()  # for the place of the points
    for ax, metric in zip(axes, ("oa", "aa30")):
        places = np.array([[size[label], found[label][metric].mean()] for label in named])
        name_points(ax, places, [label.removesuffix(", static int8") for label in named])
    return figure


def _beside_zero(panels, names):
    """Panels side by side, {label: [(height, difference with its ends, look, whether filled), ...]}; zero is
    the line to look at."""
    size = (WIDE, 0.36 * len(names) + 1.5)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for ax, (label, lines) in zip(axes.flat, panels.items()):
        for y, line, (colour, marker), filled in lines:
            ax.plot([line["low"], line["high"]], [y, y], color=colour, lw=1.8)
            ax.plot(line["difference"], y, marker, color=colour, mfc=colour if filled else "white", ms=7)
        ax.axvline(0, color="black", lw=1)
        ax.set_xlabel(fill(label, 44 // len(panels) if len(panels) < 3 else 12))
        ax.xaxis.set_major_locator(MaxNLocator(4 if len(panels) < 3 else 3))
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    return figure


def differences(tables: dict[str, pd.DataFrame], xlabel: str) -> plt.Figure:
    """Paired differences with 95 % intervals, {what: table}; filled where the interval excludes zero."""
    panels = {
        f"{what}, {xlabel}": [
            (y, line, ("#0072b2", "o"), line["low"] > 0 or line["high"] < 0)
            for y, line in enumerate(part.to_dict("records"))
        ]
        for what, part in tables.items()
    }
    return _beside_zero(panels, next(iter(tables.values()))["comparison"])


def gains(scenes: dict) -> plt.Figure | None:
    """What methods change against another one, two measures side by side, with 95 % intervals; filled marks
    for the first scene, hollow ones for the next.  ``scenes`` is as ``elsewhere.gains`` returns it."""
    if not scenes:
        print("No figure: no two runs of a pair are there.")
        return None
    metrics = next(iter(scenes.values()))
    order, panels = list(metrics["oa"].index), {}
    for metric in metrics:
        panels[f"change of {METRICS[metric].removesuffix(' %')}, points"] = [
            (y + 0.34 * place, found[metric].loc[name], method_style(name), not place)
            for place, found in enumerate(scenes.values()) for y, name in enumerate(order)
            if metric in found and name in found[metric].index
        ]
    figure = _beside_zero(panels, list(map(title, order)))
    if len(scenes) > 1:
        faces = zip(scenes, ("#555555", "white"))
        _legend(figure, {name: dict(marker="o", color="#555555", mfc=face) for name, face in faces})
    return figure
