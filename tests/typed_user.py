"""What a user writes, fully typed: `mypy --strict` finds nothing in it, and nothing in hsilib by way of it."""

from pathlib import Path

import hsilib
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn


def ten_lines(name: str, folder: Path) -> float:
    scene: hsilib.Scene = hsilib.load_scene(name)
    split: hsilib.Split = hsilib.split_of(scene, "disjoint", seed=1)
    inputs = hsilib.make_inputs(scene, split, "windows")
    net: hsilib.Lens = hsilib.initialise(hsilib.Lens(scene.bands, len(scene.classes)), seed=0)
    history = hsilib.fit(net, hsilib.training_set(inputs, split), hsilib.Recipe(epochs=2), seed=0)
    scores = hsilib.scene_scores(net, inputs)
    figures: dict[str, float] = hsilib.metrics(scores[split.test], split.test_y)
    labels = scores.argmax(1).reshape(scene.labels.shape) + 1
    hsilib.write_map(folder / "map", labels, None, scene.classes)
    scene.plot(labels).savefig(str(folder / "map.pdf"))
    size: int = hsilib.export(net, folder / "lens.onnx", scene, inputs)
    found, said = hsilib.predict(folder / "lens.onnx", np.zeros((2, 2, scene.bands), np.float32))
    table = hsilib.confusion(split.test_y, scores[split.test].argmax(1), len(scene.classes))
    print(history[-1]["ce"], size, found.shape, said["classes"], hsilib.per_class(table).round(1))
    return figures["oa"]


def studies(store: hsilib.Store) -> pd.DataFrame:
    runs: list[hsilib.Run] = hsilib.plan("synthetic_urban_small", "random", ["mlp", "wide"], seeds=2, epochs=2)
    rows = hsilib.collect(runs, store)
    row, net = hsilib.execute(hsilib.make_run("synthetic_urban_small", "random", "mlp"), store)
    print(row["oa"], hsilib.parameters(net), hsilib.macs(net, torch.zeros(1, 103)))
    print(hsilib.payload(hsilib.trained(runs[0]), bands=103))
    return rows[rows["method"] == "wide"]


@hsilib.method("wide", "mine", "Wide", width=500)
def wide(task: hsilib.Task) -> nn.Module:
    """An MLP of another width."""
    return task.fit(task.network(hsilib.MLP, width=task.options.width))


@hsilib.criterion("l2", "L2-norm")
def l2(net: hsilib.CNN2D, widths: dict[str, int], task: hsilib.Task) -> dict[str, torch.Tensor]:
    """Keep the filters of largest L2 norm."""
    norms = {layer: getattr(net, layer).weight.detach().flatten(1).norm(dim=1) for layer in widths}
    return {layer: hsilib.strongest(norms[layer], count) for layer, count in widths.items()}


@hsilib.quantization("halves", "Halves")
def halves(net: nn.Module, task: hsilib.Task) -> nn.Module:
    """Weights in 16 bits, kept in 32."""
    for weight in net.parameters():
        weight.data = weight.data.half().float()
    return net


@hsilib.network("slim", "Slim", width=8)
class Slim(nn.Module):
    """One hidden layer."""

    kind = "bands"

    def __init__(self, bands: int, classes: int, width: int = 8) -> None:
        super().__init__()
        self.config = dict(bands=bands, classes=classes, width=width)
        self.first, self.last = nn.Linear(bands, width), nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> hsilib.Outputs:
        e = F.relu(self.first(x))
        return hsilib.Outputs(self.last(e), {"e": e})


student: hsilib.CNN2D = hsilib.initialise(hsilib.CNN2D(40, 16, hsilib.WIDTHS[98]), seed=0)


def soft(model: nn.Module, batch: hsilib.Batch) -> dict[str, torch.Tensor]:
    logits = model(batch.x).logits
    return {"ce": F.cross_entropy(logits, batch.y), "kd": hsilib.kd(logits, logits.detach(), 4.0)}


hsilib.distillation("soft", "Soft", "mine", teachers=0)(lambda task, student: soft)
