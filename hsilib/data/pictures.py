"""Maps of a scene side by side, with the names of its classes; drawing loads matplotlib."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hsilib.data.cards import CLASSES
from hsilib.data.cards import false_colour as false_colour
from hsilib.data.formats import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def show_map(ax: "Axes", labels: np.ndarray, title: str = "") -> None:
    """Draw a map of classes (H, W), or an image (H, W, 3)."""
    palette = needs("matplotlib.colors", "a picture").ListedColormap(np.array(CLASSES) / 255)
    ax.set(xticks=[], yticks=[], frame_on=False)
    ax.set_title(title, fontsize=10)
    ax.imshow(labels, cmap=palette, vmin=0, vmax=len(CLASSES) - 1, interpolation="nearest")


def class_legend(figure: "Figure", classes: Sequence[str]) -> None:
    """Name the colours of classes below a figure."""
    patch = needs("matplotlib.patches", "a picture").Patch
    named = zip(CLASSES, ["unlabelled", *classes])
    marks = [patch(fc=np.array(colour) / 255, ec="#777", label=name) for colour, name in named]
    figure.legend(handles=marks, loc="outside lower center", ncols=4, fontsize=8)


def side_by_side(
    panels: Sequence[tuple[str, np.ndarray]], classes: Sequence[str], columns: int = 3
) -> "Figure":
    """Return a figure of maps of classes (H, W), or images (H, W, 3), ``[(title, map), ...]``."""
    plt = needs("matplotlib.pyplot", "a picture")
    h, w = panels[0][1].shape[:2]
    columns = min(columns, len(panels))
    rows, height = -(-len(panels) // columns), 8 / columns * h / w
    figure, axes = plt.subplots(
        rows, columns, figsize=(8, rows * height + 1.4), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (title, labels) in zip(axes.flat, panels):
        show_map(ax, labels, title)
    class_legend(figure, classes)
    return figure
