"""Speed, measured as ratios within one run on one thread, against the usual way of writing the same thing."""

import json
import time

import numpy as np
import torch
import torch.nn.functional as F

from hsilib import measure, study
from hsilib.errors import known
from hsilib.evaluate import scene_scores
from hsilib.files import project, write_atomically
from hsilib.inputs import make_inputs
from hsilib.models import CNN2D, WIDTHS, initialise
from hsilib.scenes import load_scene
from hsilib.splits import WINDOW, make_split
from hsilib.train import Recipe, fit, training_set


class PatchDataset(torch.utils.data.Dataset):
    """The usual form: one patch cut per item."""

    def __init__(self, inputs, pixels, labels):
        self.image = inputs.padded.permute(2, 0, 1).contiguous()
        self.width, self.pixels, self.labels = inputs.shape[1], pixels, labels

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, i):
        row, column = divmod(int(self.pixels[i]), self.width)
        return self.image[:, row : row + WINDOW, column : column + WINDOW], int(self.labels[i])


def _setting():
    scene = load_scene("synthetic_fields")
    split = make_split(scene, "disjoint", 0)
    return scene, split, make_inputs(scene, split, "patches")


def dense():
    """A map of the whole 145 x 145 scene: dense inference against a DataLoader over one patch per pixel."""
    scene, _, inputs = _setting()
    net = initialise(CNN2D(40, 16), 0).eval()
    every = np.arange(scene.labels.size)
    loader = torch.utils.data.DataLoader(PatchDataset(inputs, every, every), batch_size=100)
    usual = CNN2D(40, 16).eval().to(memory_format=torch.contiguous_format)
    usual.load_state_dict(net.state_dict())

    def patch_loop():
        with torch.no_grad():
            return torch.cat([usual(x).logits for x, _ in loader])

    seconds = measure.timed({"dense": lambda: scene_scores(net, inputs)}, rounds=7)
    start = time.perf_counter()
    reference = patch_loop()
    slow = time.perf_counter() - start
    gap = float(np.abs(scene_scores(net, inputs) - reference.numpy()).max())
    return {
        "what": "whole-scene inference, dense against patch loop",
        "slow_s": slow,
        "fast_s": seconds["dense"][0],
        "gap": gap,
    }


def loop(steps=20):
    """An epoch of the 98 % student: this loop against a plain DataLoader loop with the same network and batches."""
    scene, split, inputs = _setting()
    few = slice(0, 100 * steps)
    pixels, labels = split.train[few], split.train_y[few]
    small = type(split)("bench", pixels, labels, split.test, split.test_y, 0.0)
    ours, theirs = (initialise(CNN2D(40, 16, WIDTHS[98]), 0) for _ in range(2))
    theirs = theirs.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)

    def plain():
        theirs.train()
        for x, y in torch.utils.data.DataLoader(PatchDataset(inputs, pixels, labels), batch_size=100, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(theirs(x).logits, y).backward()
            optimizer.step()

    data = training_set(inputs, small, "patches")
    both = {"slow": plain, "fast": lambda: fit(ours, data, Recipe(epochs=1), 0)}
    seconds = measure.timed(both, warm_up=1, rounds=7)
    return {
        "what": "an epoch of the 98 % student, this loop against a plain DataLoader loop",
        "slow_s": seconds["slow"][0],
        "fast_s": seconds["fast"][0],
    }


BENCHES = {"dense": dense, "loop": loop}


def main(only="all", save=False):
    names = list(BENCHES) if only == "all" else [known("benchmark", only, BENCHES)]
    where = {"device": measure.cpu_name(), "versions": measure.versions()}
    found = {}
    with study.one_thread():
        for name in names:
            result = BENCHES[name]()
            result["ratio"] = round(result["slow_s"] / result["fast_s"], 2)
            found[name] = result | where
            gap = f"; logits differ by {result['gap']:.0e} at most" if "gap" in result else ""
            print(f"{result['what']}: {result['ratio']:.1f}x ({result['slow_s']:.3f} s, {result['fast_s']:.3f} s{gap})")
    print(f"one thread, {where['device']}, {where['versions']}")
    if save:
        path = project() / "book" / "results" / "bench.json"
        old = json.loads(path.read_text()) if path.exists() else {}
        write_atomically(path, json.dumps(old | found, indent=1) + "\n")
