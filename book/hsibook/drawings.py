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
    ax.set_title(title)
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
    high: float = 100, colours: str = "cividis", form: str = ".0f", **settings
) -> plt.Axes:
    """A table as colours, its numbers written in.  Blank where a value is missing."""
    import seaborn  # here: it takes most of a second to load

    seaborn.heatmap(
        np.asarray(values), vmin=low, vmax=high, cmap=colours, annot=True, fmt=form,
        annot_kws={"size": 9}, ax=ax, cbar=False, xticklabels=list(columns), yticklabels=list(rows),
        **settings
    )
    mesh = ax.collections[0]
    shades = mesh.get_facecolors()[~np.ma.getmaskarray(mesh.get_array()).ravel()]
    for number, shade in zip(ax.texts, shades):  # the ink that stands out more
        light = shade[:3] ** 2.2 @ (0.2126, 0.7152, 0.0722)
        number.set(text=number.get_text().replace("-", "−"), color="black" if light > 0.18 else "white")
    ax.tick_params(length=0, labelsize=10)
    ax.set_xticklabels(ax.get_xticklabels(), rotation=90 if len(columns) > 4 else 0)
    ax.set_yticklabels(ax.get_yticklabels(), rotation=0)
    return ax
