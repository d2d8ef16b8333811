"""Drawings of the book: maps of classes, networks as rows of boxes, windows and heat maps."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.overrides import TorchFunctionMode

from hsilib.data.pictures import class_legend as class_legend
from hsilib.data.pictures import show_map as show_map
from hsilib.data.pictures import side_by_side
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


def panels(count: int, columns: int, height: float, **settings) -> tuple:
    """A figure as wide as the page: ``count`` panels, ``columns`` in a row, rows ``height`` inches high."""
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(8, height * rows), squeeze=False, **settings)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return figure, axes.flat[:count]


def maps(scene: Scene, predictions: Sequence, columns: int = 3) -> plt.Figure:
    """Ground truth and predicted maps, [(title, labels), ...], side by side."""
    return side_by_side([("ground truth", scene.labels), *predictions], scene.classes, columns)


def draw_network(ax: plt.Axes, layers: Sequence, title: str = "", most: int = 0) -> None:
    """A network as a row of boxes: ``layers`` are (name, shape of the output, number of weights); those with
    weights are blue.  ``most``: boxes of the widest of several drawings, so that all are to scale."""
    for x, (name, shape, weights) in enumerate(layers):
        box(ax, x + 0.05, 0.2, 0.9, 0.6, colour="#cfe3f3" if weights else "#f2f2f2")
        for y, text, weight in (
            (0.66, name, "bold"), (0.48, shape, "normal"), (0.3, f"{weights:,}", "normal")
        ):
            shown = text if text != "0" else "–"
            ax.text(x + 0.5, y, shown, ha="center", va="center", fontsize=7.5, weight=weight)
        if x:
            arrow(ax, (x - 0.05, 0.5), (x + 0.05, 0.5))
    bare(ax, title).set(xlim=(0, max(most, len(layers))), ylim=(0.15, 0.85))


def layers_of(net: torch.nn.Module, x: torch.Tensor) -> list[tuple[str, str, int]]:
    """The layers of a network as ``draw_network`` takes them, from a run on ``x``, a batch of one.

    Weights are counted as in ``parameters``: batch norm apart, but for CNN1D.
    """
    watch = _Layers(net)
    with torch.no_grad(), watch:
        net.eval()(x)
    given = {"bands": "spectrum", "patches": "window", "images": "image"}[net.kind]
    return [(given, _shape(x), 0), *watch.layers]


class _Layers(TorchFunctionMode):
    """Watches the calls of torch: not every layer is a module that is called.  Batch norm and ReLU belong to
    the layer before them."""

    def __init__(self, net):
        super().__init__()
        self.layers, self.counts_batch_norm = [], getattr(net, "counts_batch_norm", False)
        self.owners = {p.untyped_storage().data_ptr(): p for p in net.parameters()}  # views share the storage

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out, call = function(*args, **(kwargs or {})), function.__name__
        weights = self._weights([*args, *(kwargs or {}).values()])
        count = sum(p.numel() for p in weights)
        if call in ("batch_norm", "relu"):
            name, _, before = self.layers[-1]
            name += (" + " if "\n" in name else "\n+ ") + {"batch_norm": "BN", "relu": "ReLU"}[call]
            self.layers[-1] = name, _shape(out), before + count * self.counts_batch_norm
        elif call.startswith(("linear", "lstm", "conv")) or "pool" in call:
            self.layers.append((_layer_name(call, args, weights), _shape(out), count))
        return out

    def _weights(self, values):
        tensors = [v for value in values for v in (value if isinstance(value, list) else [value])]
        places = [t.untyped_storage().data_ptr() for t in tensors if isinstance(t, torch.Tensor)]
        return [self.owners[place] for place in places if place in self.owners]


def _layer_name(call, args, weights):
    if "pool" in call:
        return f"{call.split('_pool')[0]}-pool {args[1]}"
    if call == "lstm":
        return f"{len(weights) // 4} × LSTM"  # two matrices and two biases each
    return "fc" if call == "linear" else "conv " + " × ".join(map(str, weights[0].shape[2:]))


def _shape(x):
    """Of a sample, without the batch; an LSTM gives more than its output."""
    return " × ".join(map(str, (x[0] if isinstance(x, tuple) else x).shape[1:]))


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
    ax.tick_params(length=0, labelsize=8)
    ax.set_xticklabels(
        ax.get_xticklabels(), rotation=45 if len(columns) > 4 else 0,
        ha="right" if len(columns) > 4 else "center"
    )
    ax.set_yticklabels(ax.get_yticklabels(), rotation=0)
    return ax


def alike(tables: dict, names: Sequence[str], label: str, low: float = 0, high: float = 1) -> plt.Figure:
    """Several square tables over the same names side by side, {title: table}: how alike the classes are to
    each network."""
    figure, axes = plt.subplots(1, len(tables), figsize=(8, 3.4), sharey=True, squeeze=False)
    for ax, (title, table) in zip(axes.flat, tables.items()):
        image = ax.imshow(table, cmap="cividis", vmin=low, vmax=high, interpolation="nearest")
        ax.set_title(title, fontsize=10)
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        ax.grid(False)
    axes[0, 0].set_yticks(range(len(names)), names, fontsize=7)
    figure.colorbar(image, ax=axes, label=label, shrink=0.7)
    return figure


def class_heat(values: np.ndarray, names: Sequence[str], classes: Sequence[str]) -> plt.Figure:
    """Recall per class (rows of ``values`` = methods), annotated; blank where there is no test pixel."""
    figure, ax = plt.subplots(figsize=(8, 0.38 * len(names) + 1.9))
    heat(ax, values, names, classes, label="recall, %")
    return figure
