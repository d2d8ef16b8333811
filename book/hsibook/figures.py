"""Charts that several chapters share; a chapter's own stand in its notebook, pictures in ``drawings``.

One message each; the same colour and marker for the same method everywhere; legible in grey.
"""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from hsibook import stats
from hsibook.colours import method_style
from hsibook.tables import METRICS
from hsilib.methods import get, title


def style() -> None:
    """House style; call once per chapter."""
    plt.rcParams.update(
        {
            "figure.dpi": 110, "savefig.dpi": 110, "savefig.bbox": "tight", "font.size": 10,
            "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
            "grid.color": "#dddddd", "grid.linewidth": 0.7, "legend.frameon": False,
            "figure.constrained_layout.use": True
        }
    )


def strips(
    rows: pd.DataFrame, paper: Callable | None = None, metrics: Sequence[str] = ("oa",)
) -> plt.Figure:
    """Every run as a dot, the mean as a bar, the paper's value as a cross; one panel per split and metric."""
    panels = [(split, metric) for split in dict.fromkeys(rows["split"]) for metric in metrics]
    keys = list(dict.fromkeys(zip(rows["method"], rows["ratio"], rows["options"])))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(8, 0.34 * len(keys) + 1.2), sharey=True, squeeze=False
    )
    for ax, (split, metric) in zip(axes.flat, panels):
        for y, (name, ratio, options) in enumerate(keys):
            mine = stats.pick(rows, split=split, method=name, ratio=ratio, options=options)
            colour, marker = method_style(name)
            look = dict(color=colour, ms=6, mec="white", mew=0.5, ls="none")
            ax.plot(mine[metric], np.full(len(mine), y), marker, **look)
            if len(mine):
                ax.plot([mine[metric].mean()] * 2, [y - 0.32, y + 0.32], color=colour, lw=2)
            if paper and metric == "oa":
                ax.plot(paper(name, split, ratio), y, "x", color="black", ms=7, mew=1.6)
        ax.set_title(split, fontsize=10)
        ax.set_xlabel(METRICS[metric])
    axes[0, 0].set_yticks(range(len(keys)), [title(*key) for key in keys])
    axes[0, 0].invert_yaxis()
    handles = [
        plt.Line2D([], [], marker="o", color="#666", ls="none", label="one run"),
        plt.Line2D([], [], marker="|", ms=11, mew=2, color="#666", ls="none", label="mean"),
    ]
    theirs = [paper(name, split, ratio) for split, _ in panels for name, ratio, _ in keys] if paper else []
    if not np.isnan(theirs).all():
        handles.append(plt.Line2D([], [], marker="x", mew=1.6, color="black", ls="none", label="paper"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def terms(logs: dict, columns: int = 2) -> plt.Figure:
    """Weighted terms of each loss per epoch, log scale; one panel per method, ``logs`` {name: table of
    terms}."""
    rows = -(-len(logs) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(8, 2.3 * rows + 0.2), sharex=True, squeeze=False)
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
        ax.set_title(title(name), fontsize=10)
        ax.legend(fontsize=6, ncols=2)
    for ax in axes.flat[max(0, len(logs) - columns) : len(logs)]:  # the lowest of each column
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


def name_points(
    ax: plt.Axes, points: np.ndarray, names: Sequence[str], character: float = 4.9, height: int = 11
) -> None:
    """Write each name beside its point, within the axes, where it covers no name already there and the
    fewest points, with a thin line to it."""
    inch = 72 / ax.figure.dpi  # all in points, as the offsets are
    pixels, frame = ax.transData.transform(points) * inch, ax.get_window_extent().extents * inch
    drawn = np.concatenate([line.get_xydata() for line in ax.lines if line.get_marker() != "None"])
    marks = [(x - 4, y - 4, x + 4, y + 4) for x, y in ax.transData.transform(drawn) * inch]
    strokes = [line.get_xydata() for line in ax.lines if line.get_linestyle() != "None"]
    bars = [part.get_segments() for part in ax.collections if hasattr(part, "get_segments")]
    strokes += [bar for some in bars for bar in some]
    for stroke in strokes:  # bars and lines too are not to be written over
        ends = ax.transData.transform(stroke) * inch
        for (x0, y0), (x1, y1) in zip(ends, ends[1:]):
            share = np.linspace(0, 1, int(np.hypot(x1 - x0, y1 - y0) // 6) + 2)
            at = zip(x0 + share * (x1 - x0), y0 + share * (y1 - y0))
            marks += [(x - 1, y - 1, x + 1, y + 1) for x, y in at]
    written = []

    def covered(box, others):
        return sum(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in others)

    for (x, y), name, point in zip(pixels, names, points):
        half = character * len(name) / 2
        aside = half + 8
        places = [
            (0, 12), (0, -12), *((x, y) for y in (0, 10, -10) for x in (aside, -aside)),
            *((x, y) for y in (27, -27, 42, -42) for x in (0, half, -half))
        ]
        boxes = [
            (x + dx - half, y + dy - height / 2, x + dx + half, y + dy + height / 2) for dx, dy in places
        ]
        outside = [b[0] < frame[0] or b[1] < frame[1] or b[2] > frame[2] or b[3] > frame[3] for b in boxes]
        threads = []
        for dx, dy in places:
            at = np.arange(8, np.hypot(dx, dy), 6)[:, None] / np.hypot(dx, dy) * (dx, dy) + (x, y)
            threads.append(np.concatenate([at, at + 1], axis=1))
        crossed = [sum(covered(at, marks) > 0 for at in thread) for thread in threads]
        cost = [(covered(b, written) + o, covered(b, marks) + c) for b, o, c in zip(boxes, outside, crossed)]
        best = cost.index(min(cost))
        written.append(boxes[best])
        # to the point that is meant
        thread = dict(arrowstyle="-", color="#888888", lw=0.6, shrinkA=0, shrinkB=3)
        place = dict(xytext=places[best], textcoords="offset points", ha="center", va="center")
        ax.annotate(name, point, **place, arrowprops=thread, fontsize=8)


def fronts(found: dict, groups: dict, group: Callable, named: Sequence[str]) -> plt.Figure:
    """Accuracy against payload, a point for each network of ``found`` {label: rows}, filled if in int8, with
    a black edge if taught.  ``groups`` {name: (colour, marker)}, ``group(label)`` one of them; ``named`` are
    written beside their points."""
    figure, axes = plt.subplots(2, 1, figsize=(7.5, 8), sharex=True)
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
    axes[-1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[-1].xaxis.set_major_formatter("{x:g}")
    axes[-1].xaxis.set_minor_formatter(NullFormatter())
    looks = [dict(color=colour, marker=marker, mfc="white", ls="") for colour, marker in groups.values()]
    figure.legend([plt.Line2D([], [], **look) for look in looks], groups, loc="outside lower center", ncols=2)
    figure.canvas.draw()  # for the place of the points
    for ax, metric in zip(axes, ("oa", "aa30")):
        places = np.array([[size[label], found[label][metric].mean()] for label in named])
        name_points(ax, places, [label.removesuffix(", static int8") for label in named])
    return figure


def differences(tables: dict[str, pd.DataFrame], xlabel: str) -> plt.Figure:
    """Paired differences with 95 % intervals side by side, {what: table}; zero is the line to look at."""
    names = next(iter(tables.values()))["comparison"]
    size = (8, 0.36 * len(names) + 1.0)
    figure, axes = plt.subplots(1, len(tables), figsize=size, sharey=True, squeeze=False)
    for ax, (what, part) in zip(axes.flat, tables.items()):
        for y, (_, line) in enumerate(part.iterrows()):
            clear = line["low"] > 0 or line["high"] < 0
            ax.plot([line["low"], line["high"]], [y, y], color="#0072b2", lw=2)
            ax.plot(line["difference"], y, "o", ms=7, color="#0072b2", mfc="#0072b2" if clear else "white")
        ax.axvline(0, color="black", lw=1)
        ax.set_xlabel(f"{what}, {xlabel}")
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    return figure


def gains(scenes: dict) -> plt.Figure:
    """What methods change against another one, two measures side by side, with 95 % intervals; filled marks
    for the first scene, hollow ones for the next.  ``scenes`` is as ``elsewhere.gains`` returns it."""
    metrics = next(iter(scenes.values()))
    order = list(metrics["oa"].index)
    size = (8, 0.36 * len(order) + 1.4)
    figure, axes = plt.subplots(1, len(metrics), figsize=size, sharey=True, squeeze=False)
    for ax, metric in zip(axes.flat, metrics):
        for place, found in enumerate(scenes.values()):
            for y, name in enumerate(order):
                if metric not in found or name not in found[metric].index:
                    continue
                line, height = found[metric].loc[name], y + 0.34 * place
                colour, marker = method_style(name)
                ax.plot([line["low"], line["high"]], [height] * 2, color=colour, lw=1.5)
                face = "white" if place else colour
                ax.plot(line["difference"], height, marker, color=colour, mfc=face, ms=7, mew=1.4)
        ax.axvline(0, color="black", lw=1)
        ax.set_xlabel(f"change of {METRICS[metric].removesuffix(' %')}, points")
    axes[0, 0].set_yticks(range(len(order)), map(title, order))
    axes[0, 0].invert_yaxis()
    if len(scenes) > 1:
        faces = zip(scenes, ("#555555", "white"))
        marks = [plt.Line2D([], [], marker="o", color="#555555", mfc=f, ls="", label=n) for n, f in faces]
        figure.legend(handles=marks, loc="outside lower center", ncols=2, fontsize=9)
    return figure
