"""Speed, measured as ratios within one run on one thread, against the usual way of writing the same thing."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from bench.engines import agreement, latency
from bench.small import rates
from hsilib.data.inputs import Inputs, make_inputs
from hsilib.data.scenes import load_scene
from hsilib.data.splits import WINDOW, split_of
from hsilib.errors import known
from hsilib.files import write_atomically
from hsilib.identity import Recipe
from hsilib.methods import METHODS
from hsilib.models import measure
from hsilib.models.evaluate import scene_scores
from hsilib.models.networks import CNN2D, WIDTHS, initialise
from hsilib.models.train import fit, training_set
from hsilib.study import machine
from hsilib.study.execute import one_thread, task_of
from hsilib.study.runs import make_run, plan
from hsilib.study.store import Store
from hsilib.study.sweep import collect


class PatchDataset(torch.utils.data.Dataset):
    """The usual form, which cuts one patch per item."""

    def __init__(self, inputs: Inputs, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.image = inputs.padded.permute(2, 0, 1).contiguous()
        self.width, self.pixels, self.labels = inputs.shape[1], pixels, labels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        row, column = divmod(int(self.pixels[i]), self.width)
        return self.image[:, row : row + WINDOW, column : column + WINDOW], int(self.labels[i])


def _setting():
    scene = load_scene("synthetic_fields")
    split = split_of(scene, "disjoint", 0)
    return scene, split, make_inputs(scene, split, "patches")


def dense() -> dict:
    """Map the whole 145 x 145 scene: dense inference against a DataLoader over one patch per pixel."""
    scene, _, inputs = _setting()
    net = initialise(CNN2D(40, 16), 0).eval()
    pixels = np.arange(scene.labels.size)
    loader = DataLoader(PatchDataset(inputs, pixels, pixels), batch_size=100)
    usual = CNN2D(40, 16).eval().to(memory_format=torch.contiguous_format)  # as windows usually have it
    usual.load_state_dict(net.state_dict())

    def patch_loop():
        with torch.no_grad():
            return torch.cat([usual(x).logits for x, _ in loader]).numpy()

    dense_form = partial(scene_scores, net, inputs)
    gap = float(np.abs(dense_form() - patch_loop()).max())  # also warms both up
    return _ratio(patch_loop, dense_form, 3) | {"gap": gap}


def loop() -> dict:
    """Train twenty steps of the 98 % student: a plain DataLoader loop against ours, on the same pixels."""
    scene, split, inputs = _setting()
    pixels, labels = split.train[:2000], split.train_y[:2000]
    data = training_set(inputs, replace(split, train=pixels, train_y=labels))
    ours, theirs = (initialise(CNN2D(40, 16, WIDTHS[98]), 0) for _ in range(2))
    theirs = theirs.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)

    def plain():
        theirs.train()
        for x, y in DataLoader(PatchDataset(inputs, pixels, labels), batch_size=100, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(theirs(x).logits, y).backward()
            optimizer.step()

    return _ratio(plain, partial(fit, ours, data, Recipe(epochs=1), 0), 7)


def _ratio(slow, fast, rounds):
    seconds = measure.timed({"slow": slow, "fast": fast}, warm_up=1, rounds=rounds)
    slow, fast = seconds["slow"][0], seconds["fast"][0]
    return {"slow_s": slow, "fast_s": fast, "ratio": round(slow / fast, 2)}


def teaching() -> dict:
    """Train two epochs of ten steps of the 90 % student by each method of distillation, against Scratch.

    They stand as late in training, when all terms have joined.
    """
    wide, calls = initialise(CNN2D(40, 16), 1).eval(), {}
    for name in ["scratch", *(name for name, m in METHODS.items() if m.prepare)]:
        task = task_of(make_run("synthetic_fields", "disjoint", name, 90, epochs=2))
        task.split = replace(task.split, train=task.split.train[:1000], train_y=task.split.train_y[:1000])
        task.parent = lambda run: wide
        if name == "scratch":
            calls[name] = partial(task.fit, task.network(CNN2D, widths=WIDTHS[90]))
        else:
            student, loss, extra, _ = METHODS[name].prepare(task)
            calls[name] = partial(task.fit, student, loss=partial(_late, loss), extra=extra)
    seconds = {name: median for name, (median, _) in measure.timed(calls, 1, 5).items()}
    return {"times": {name: round(seconds[name] / seconds["scratch"], 2) for name in calls}}


def _late(loss, model, batch):
    return loss(model, batch._replace(progress=0.99))


def scale() -> dict:
    """Time a small study on one and on two workers of Dask's, started beforehand, in turns."""
    runs = plan("synthetic_fields_small", ["disjoint"], ["cnn2d"], seeds=16, epochs=10)
    seconds = {1: [], 2: []}
    for count in (1, 2, 2, 1):
        with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, HSILIB_CACHE=folder):
            began = []

            def say(text, began=began):
                if text.endswith("at will"):  # the workers are there
                    began.append(time.perf_counter())

            collect(runs, Store(Path(folder) / "store"), on=f"local:{count}", say=say)
            seconds[count].append(time.perf_counter() - began[0])
    return {"ratio": round(min(seconds[1]) / min(seconds[2]), 2), "cores": os.cpu_count()}


BENCHES: dict[str, Callable[[], dict]] = {
    "dense": dense, "loop": loop, "latency": latency, "agreement": agreement, "teaching": teaching,
    "rates": rates, "scale": scale,
}


def main(only: str = "all", save: bool = False) -> None:
    """Run one benchmark or all, print what came out, and keep it for the book if ``save``."""
    names = list(BENCHES) if only == "all" else [known("benchmark", only, BENCHES)]
    where = {"device": machine.cpu_name(), "versions": machine.versions()}
    path = Store().folder / "bench.json"
    results = json.loads(path.read_text()) if save and path.exists() else {}
    with one_thread():
        for name in names:
            result = BENCHES[name]()
            print(f"{name}: {json.dumps(result, indent=1)}", flush=True)
            results[name] = result | where
    print(f"one thread, {where['device']}, {where['versions']}")
    if save:
        write_atomically(path, json.dumps(results, indent=1) + "\n")
