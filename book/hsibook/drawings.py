"""Drawings of the book: maps of classes, networks as rows of boxes, windows and heat maps."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from hsilib.data.cards import show_map as show_map
from hsilib.data.cards import side_by_side
from hsilib.data.scenes import Scene


def bare(ax: plt.Axes, title: str = "") -> plt.Axes:
    ax.set(xticks=[], yticks=[], frame_on=False)
    ax.set_title(title, fontsize=10)
    return ax


def along(scene: Scene, spectra: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Where the bands of a scene lie on an axis, and what it is called: nanometres, if they are known."""
    if scene.wavelengths:
        return np.array(scene.wavelengths), "wavelength, nm"
    return spectra.index.to_numpy() + 1, "band"


def maps(scene: Scene, predictions: Sequence, columns: int = 3) -> plt.Figure:
    """Ground truth and predicted maps, [(title, labels), ...], side by side."""
    return side_by_side([("ground truth", scene.labels), *predictions], scene.classes, columns)


def box(
    ax: plt.Axes, x: float, y: float, width: float, height: float, text: str = "", colour: str = "#dddddd",
    ink: str = "black"
) -> None:
    ax.add_patch(plt.Rectangle((x, y), width, height, fc=colour, ec="#444444"))
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8, color=ink)


def arrow(
    ax: plt.Axes, start: tuple, end: tuple, colour: str = "#444444", line: str = "-", bend: float = 0.0
) -> None:
    shape = dict(arrowstyle="->", ls=line, color=colour, connectionstyle=f"arc3,rad={bend}")
    ax.annotate("", end, start, arrowprops=shape)


def heat(
    ax: plt.Axes, values: np.ndarray, rows: Sequence = (), columns: Sequence = (), low: float = 0,
    high: float = 100, colours: str = "cividis", form: str = ".0f", label: str = "", **settings
) -> plt.Axes:
    """A table as colours, its numbers written in (``form`` empty: not); ``label`` names the colour bar, if
    there is to be one.  Blank where a value is missing."""
    import seaborn  # here: it takes most of a second to load

    if label:
        settings["cbar_kws"] = {"label": label} | settings.get("cbar_kws", {})
    seaborn.heatmap(
        np.asarray(values), vmin=low, vmax=high, cmap=colours, annot=bool(form), fmt=form,
        annot_kws={"size": 7}, ax=ax, cbar=bool(label), xticklabels=list(columns), yticklabels=list(rows),
        **settings
    )
    for number in ax.texts:
        number.set_text(number.get_text().replace("-", "−"))
    ax.tick_params(length=0, labelsize=8)
    ax.set_xticklabels(
        ax.get_xticklabels(), rotation=45 if len(columns) > 4 else 0,
        ha="right" if len(columns) > 4 else "center"
    )
    ax.set_yticklabels(ax.get_yticklabels(), rotation=0)
    return ax
