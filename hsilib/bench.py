"""Speed, measured as ratios within one run on one thread, against the usual way of writing the same thing."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from hsilib import measure, study
from hsilib.errors import known
from hsilib.evaluate import scene_scores
from hsilib.files import project, write_atomically
from hsilib.inputs import make_inputs
from hsilib.models import CNN1D, CNN2D, CNN3D, LSTM, MLP, WIDTHS, initialise
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
            return torch.cat([usual(x).logits for x, _ in loader]).numpy()

    gap = float(np.abs(scene_scores(net, inputs) - patch_loop()).max())  # also warms both up
    return _ratio("whole-scene inference, patch loop against dense", patch_loop, lambda: scene_scores(net, inputs), 3, gap=gap)


def loop(steps=20):
    """An epoch of the 98 % student: a plain DataLoader loop against this one, with the same network and batches."""
    scene, split, inputs = _setting()
    few = slice(0, 100 * steps)
    pixels, labels = split.train[few], split.train_y[few]
    small = replace(split, train=pixels, train_y=labels)
    ours, theirs = (initialise(CNN2D(40, 16, WIDTHS[98]), 0) for _ in range(2))
    theirs = theirs.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)

    def plain():
        theirs.train()
        for x, y in torch.utils.data.DataLoader(PatchDataset(inputs, pixels, labels), batch_size=100, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(theirs(x).logits, y).backward()
            optimizer.step()

    data = training_set(inputs, small)
    return _ratio("epoch of the 98 % student, plain loop against ours", plain, lambda: fit(ours, data, Recipe(epochs=1), 0), 7)


def _ratio(what, slow, fast, rounds, **more):
    seconds = measure.timed({"slow": slow, "fast": fast}, warm_up=1, rounds=rounds)
    slow, fast = seconds["slow"][0], seconds["fast"][0]
    text = f"{what}: {slow / fast:.1f}x ({slow:.3f} s, {fast:.3f} s)"
    return {"text": text, "slow_s": slow, "fast_s": fast, "ratio": round(slow / fast, 2)} | more


def latency():
    """Milliseconds per pixel of the untrained networks, at batch 1 and 256: median and interquartile range."""
    inputs = {"bands": torch.zeros(256, 200), "patches": torch.zeros(256, 40, 19, 19)}
    nets = {"mlp": MLP(200, 16), "lstm": LSTM(200, 16), "cnn1d": CNN1D(200, 16), "cnn2d": CNN2D(40, 16), "cnn3d": CNN3D(40, 16)}
    nets |= {f"scratch {ratio}": CNN2D(40, 16, WIDTHS[ratio]) for ratio in (90, 95, 98)}
    found = {}
    for batch, rounds in ((1, 200), (256, 5)):
        with torch.inference_mode():
            calls = {name: partial(net.eval(), inputs[net.kind][:batch]) for name, net in nets.items()}
            for name, (median, iqr) in measure.timed(calls, warm_up=5 if batch == 1 else 1, rounds=rounds).items():
                found.setdefault(name, {})[str(batch)] = [1e3 * median / batch, 1e3 * iqr / batch]
    lines = [f"{name:12} {f['1'][0]:8.3f} ± {f['1'][1]:.3f}  {f['256'][0]:8.4f} ± {f['256'][1]:.4f}" for name, f in found.items()]
    return {"text": "\n".join(["latency, ms per pixel: batch 1, batch 256 (median ± IQR)", *lines]), "ms": found}


BENCHES = {"dense": dense, "loop": loop, "latency": latency}


def main(only="all", save=False):
    names = list(BENCHES) if only == "all" else [known("benchmark", only, BENCHES)]
    where = {"device": measure.cpu_name(), "versions": measure.versions()}
    path = project() / "book" / "results" / "bench.json"
    found = json.loads(path.read_text()) if save and path.exists() else {}
    with study.one_thread():
        for name in names:
            result = BENCHES[name]()
            print(result.pop("text"), flush=True)
            found[name] = result | where
    print(f"one thread, {where['device']}, {where['versions']}")
    if save:
        write_atomically(path, json.dumps(found, indent=1) + "\n")
