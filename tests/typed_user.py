"""What a user writes, fully typed: `mypy --strict` finds nothing in it, and nothing in hsilib by way of it."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from hsilib import (
    CNN2D,
    MLP,
    WIDTHS,
    Batch,
    Lens,
    Outputs,
    Recipe,
    Run,
    Scene,
    Split,
    Store,
    Task,
    collect,
    confusion,
    criterion,
    distillation,
    execute,
    export,
    fit,
    initialise,
    kd,
    load_scene,
    macs,
    make_inputs,
    make_run,
    method,
    metrics,
    network,
    parameters,
    payload,
    per_class,
    plan,
    predict,
    quantization,
    scene_scores,
    split_of,
    strongest,
    trained,
    training_set,
    write_map,
)
from torch import nn


def ten_lines(name: str, folder: Path) -> float:
    scene: Scene = load_scene(name)
    split: Split = split_of(scene, "disjoint", seed=1)
    inputs = make_inputs(scene, split, "windows")
    net: Lens = initialise(Lens(scene.bands, len(scene.classes)), seed=0)
    history = fit(net, training_set(inputs, split), Recipe(epochs=2), seed=0)
    scores = scene_scores(net, inputs)
    figures: dict[str, float] = metrics(scores[split.test], split.test_y)
    labels = scores.argmax(1).reshape(scene.labels.shape) + 1
    write_map(folder / "map", labels, None, scene.classes)
    scene.plot(labels).savefig(str(folder / "map.pdf"))
    size: int = export(net, folder / "lens.onnx", scene, inputs)
    found, said = predict(folder / "lens.onnx", np.zeros((2, 2, scene.bands), np.float32))
    table = confusion(split.test_y, scores[split.test].argmax(1), len(scene.classes))
    print(history[-1]["ce"], size, found.shape, said["classes"], per_class(table).round(1))
    return figures["oa"]


def studies(store: Store) -> pd.DataFrame:
    runs: list[Run] = plan("synthetic_urban_small", "random", ["mlp", "wide"], seeds=2, epochs=2)
    rows = collect(runs, store)
    row, net = execute(make_run("synthetic_urban_small", "random", "mlp"), store)
    print(row["oa"], parameters(net), macs(net, torch.zeros(1, 103)), payload(trained(runs[0]), bands=103))
    return rows[rows["method"] == "wide"]


@method("wide", "mine", "Wide", width=500)
def wide(task: Task) -> nn.Module:
    """An MLP of another width."""
    return task.fit(task.network(MLP, width=task.options.width))


@criterion("l2", "L2-norm")
def l2(net: CNN2D, widths: dict[str, int], task: Task) -> dict[str, torch.Tensor]:
    """Keep the filters of largest L2 norm."""
    norms = {layer: getattr(net, layer).weight.detach().flatten(1).norm(dim=1) for layer in widths}
    return {layer: strongest(norms[layer], count) for layer, count in widths.items()}


@quantization("halves", "Halves")
def halves(net: nn.Module, task: Task) -> nn.Module:
    """Weights in 16 bits, kept in 32."""
    for weight in net.parameters():
        weight.data = weight.data.half().float()
    return net


@network("slim", "Slim", width=8)
class Slim(nn.Module):
    """One hidden layer."""

    kind = "bands"

    def __init__(self, bands: int, classes: int, width: int = 8) -> None:
        super().__init__()
        self.config = dict(bands=bands, classes=classes, width=width)
        self.first, self.last = nn.Linear(bands, width), nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> Outputs:
        e = F.relu(self.first(x))
        return Outputs(self.last(e), {"e": e})


student: CNN2D = initialise(CNN2D(40, 16, WIDTHS[98]), seed=0)


def soft(model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    logits = model(batch.x).logits
    return {"ce": F.cross_entropy(logits, batch.y), "kd": kd(logits, logits.detach(), 4.0)}


distillation("soft", "Soft", "mine", teachers=0)(lambda task, student: soft)
