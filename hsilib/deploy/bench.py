"""Speed, measured as ratios within one run on one thread, against the usual way of writing the same thing."""

import json
import tempfile
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from hsilib.data import scenes
from hsilib.data.inputs import MARGIN, make_inputs
from hsilib.data.scenes import load_scene
from hsilib.data.splits import WINDOW, split_of
from hsilib.deploy import torch_ao
from hsilib.deploy.export import classifier, network
from hsilib.deploy.predict import session
from hsilib.distill.parts import kd
from hsilib.errors import HsiError, known
from hsilib.files import project, write_atomically
from hsilib.methods import METHODS
from hsilib.models import measure
from hsilib.models.evaluate import pixel_scores, scene_scores
from hsilib.models.networks import CNN1D, CNN2D, CNN3D, LSTM, MLP, WIDTHS, initialise
from hsilib.models.train import Recipe, fit, training_set
from hsilib.quantize.integer import LAYERS, calibrate, convert, fold_batch_norm
from hsilib.quantize.qat import QAT
from hsilib.study import machine
from hsilib.study.execute import one_thread, task_of, trained
from hsilib.study.runs import make_run
from hsilib.study.store import Store, smoke_store


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
    split = split_of(scene, "disjoint", 0)
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
    return _ratio(
        "whole-scene inference, patch loop against dense", patch_loop, lambda: scene_scores(net, inputs), 3,
        gap=gap
    )


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
        for x, y in torch.utils.data.DataLoader(
            PatchDataset(inputs, pixels, labels), batch_size=100, shuffle=True
        ):
            optimizer.zero_grad()
            F.cross_entropy(theirs(x).logits, y).backward()
            optimizer.step()

    data = training_set(inputs, small)
    return _ratio(
        "epoch of the 98 % student, plain loop against ours", plain,
        lambda: fit(ours, data, Recipe(epochs=1), 0), 7
    )


def _ratio(what, slow, fast, rounds, **more):
    seconds = measure.timed({"slow": slow, "fast": fast}, warm_up=1, rounds=rounds)
    slow, fast = seconds["slow"][0], seconds["fast"][0]
    text = f"{what}: {slow / fast:.1f}x ({slow:.3f} s, {fast:.3f} s)"
    return {"text": text, "slow_s": slow, "fast_s": fast, "ratio": round(slow / fast, 2)} | more


def latency():
    """Time of every network, untrained: all of them in eager PyTorch, and CNN2D at its four sizes in every engine."""
    networks, calls, sizes, exported = _networks(), {}, {}, {}
    for ratio, widths in WIDTHS.items():
        found, sizes[str(ratio)], exported[str(ratio)] = _engines(widths)
        for size, functions in found.items():
            calls.setdefault(size, {}).update(
                {(str(ratio), name): function for name, function in functions.items()}
            )
    engines = {str(ratio): {} for ratio in WIDTHS}
    for (ratio, name), found in _times(calls).items():  # all sizes in turn too
        engines[ratio][name] = found
    layers = {name: _layers(model) for name, model in _forms(WIDTHS[0])[0].items()}
    lines = [
        "ms per pixel at batch 1, ms per pixel at batch 256, ms from raw scene of 145 x 145 to map (median ± IQR)"
    ]
    lines += [_line(name, found) for name, found in networks.items()]
    lines += [
        _line(f"{ratio} %, {name}", found)
        for ratio, every in engines.items()
        for name, found in every.items()
    ]
    eager = engines["0"]["PyTorch"]["1"][0]
    for ratio in engines:
        fast = engines[ratio]["ONNX Runtime, static int8"]["1"][0]
        lines.append(
            f"batch 1, dense in eager PyTorch against static int8 of the {ratio} % size: {eager / fast:.1f}x"
        )
    lines += [
        f"{ratio} %, file from raw spectra, {form}: {size} bytes"
        for ratio, found in exported.items()
        for form, size in found.items()
    ]
    found = {"ms": networks, "engines": engines, "bytes": sizes, "exported": exported, "layers": layers}
    return {"text": "\n".join(lines), "byte_sums": machine.byte_sums()} | found


def _line(name, found):
    return f"{name:32}" + "  ".join(f"{median:9.4f} ± {iqr:.4f}" for median, iqr in found.values())


def _networks():
    inputs = {"bands": torch.zeros(256, 200), "patches": torch.zeros(256, 40, 19, 19)}
    nets = {
        "mlp": MLP(200, 16), "lstm": LSTM(200, 16), "cnn1d": CNN1D(200, 16), "cnn2d": CNN2D(40, 16),
        "cnn3d": CNN3D(40, 16)
    }
    nets |= {f"scratch {ratio}": CNN2D(40, 16, WIDTHS[ratio]) for ratio in (90, 95, 98)}
    calls = {}
    for batch in (1, 256):
        calls[str(batch)] = {
            name: partial(net.eval(), inputs[net.kind][:batch]) for name, net in nets.items()
        }
    return _times(calls)


def _forms(widths):
    """CNN2D in 32 bits and in the two integer forms (QAT's is that of static), calibrated on noise; the noise."""
    net = initialise(CNN2D(40, 16, widths), 0).eval()
    x = torch.randn(256, 40, 19, 19, generator=torch.Generator().manual_seed(0))
    plain = fold_batch_norm(net)
    with torch.no_grad():
        return {
            "32 bits": net, "dynamic int8": convert(plain),
            "static int8": convert(plain, calibrate(plain, x[:64]))
        }, x


def _engines(widths):
    """What is timed, {"1": {engine: function}, "256": ..., "scene": ...}; {engine: bytes of the network's file}; and {form:
    bytes of the file that takes raw spectra}."""
    forms, x = _forms(widths)
    net, plain = forms["32 bits"], fold_batch_norm(forms["32 bits"])
    eager = {"PyTorch": net, "PyTorch, folded": plain}
    try:
        eager |= {
            "PyTorch, dynamic int8": torch_ao.dynamic(plain),
            "PyTorch, static int8": torch_ao.static(plain, x),
        }
    except HsiError as error:
        print(error)
    sizes = {name: torch_ao.bytes_of(model) for name, model in eager.items()}
    files = {f"ONNX Runtime, {form}": network(model) for form, model in forms.items()}
    sizes |= {name: len(file) for name, file in files.items()}
    engines = {name: session(file).run for name, file in files.items()}
    calls = {"1": {}, "256": {}, "scene": {}}
    for batch in (1, 256):
        calls[str(batch)] |= {name: partial(model, x[:batch]) for name, model in eager.items()}
        calls[str(batch)] |= {
            name: partial(run, None, {"x": x[:batch].numpy()}) for name, run in engines.items()
        }

    noise = torch.Generator().manual_seed(1)
    cube, weight = torch.randn(145, 145, 200, generator=noise), torch.randn(200, 40, generator=noise) / 14
    for name in ("PyTorch", "PyTorch, folded"):
        calls["scene"][name] = partial(_map, eager[name], cube, weight)
    reduction, classes = (np.zeros(200), weight.numpy(), np.zeros(40)), [f"class {i}" for i in range(1, 17)]
    whole = {form: classifier(model, reduction, classes) for form, model in forms.items()}
    for form, file in whole.items():
        calls["scene"][f"ONNX Runtime, {form}"] = partial(session(file).run, ["map"], {"cube": cube.numpy()})
    return calls, sizes, {form: len(file) for form, file in whole.items()}


def _map(net, cube, weight):
    image = F.pad((cube @ weight).permute(2, 0, 1)[None], (MARGIN,) * 4)
    return net.dense(image).argmax(0)


ROUNDS = {"1": (20, 100, 20), "256": (1, 15, 1), "scene": (1, 15, 1)}  # warm-up, timings, calls in each


def _times(calls):
    """Milliseconds {name: {size: (median, IQR)}}, per pixel for batches; ``calls``: {size: {name: function}}."""
    found = {}
    for size, how_often in ROUNDS.items():
        scale = 1e3 / (int(size) if size.isdigit() else 1)
        with torch.inference_mode():
            for name, pair in measure.timed(calls.get(size, {}), *how_often).items():
                found.setdefault(name, {})[size] = [scale * v for v in pair]
    return found


def _layers(model, rounds=300):
    """Microseconds of every layer at batch 1 in ONNX Runtime, by its own clock: medians, the layer's roundings included."""
    x = torch.randn(1, 40, 19, 19, generator=torch.Generator().manual_seed(0)).numpy()
    with tempfile.TemporaryDirectory() as folder:
        traced = session(network(model), profile=f"{folder}/trace")
        for _ in range(rounds):
            traced.run(None, {"x": x})
        events = json.loads(Path(traced.end_profiling()).read_text())
    nodes = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            nodes.setdefault(event["name"], []).append(event["dur"])
    layers = dict.fromkeys([*LAYERS, "other"], 0.0)
    for name, spent in nodes.items():
        layer = name.replace("scores", "fc2").split(".")[0].split("_")[0]
        layers[layer if layer in layers else "other"] += float(np.median(spent))
    return layers


def agreement():
    """The class of every pixel of a scene by the trained CNN2D and its integer forms: the engines against ours."""
    about, store = dict(scene=REAL), Store()
    if not all(scenes.local(file) for file in (scenes.entry(REAL).cube, scenes.entry(REAL).labels)):
        about, store = dict(scene="synthetic_fields_small", epochs=2), smoke_store()
    runs = {
        name: make_run(split="disjoint", method=name, **about)
        for name in ("cnn2d", "dynamic", "static", "qat")
    }
    nets = {name: trained(run, store) for name, run in runs.items()}
    task = task_of(runs["static"], store)
    inputs, seen = (
        task.inputs("patches"), task.balanced(nets["cnn2d"], 1000, torch.Generator().manual_seed(0))
    )
    exact = {name: scene_scores(net, inputs) for name, net in nets.items()}
    scene = inputs.padded.permute(2, 0, 1)[None].contiguous().numpy()
    every, some = torch.arange(len(exact["cnn2d"])), torch.arange(0, len(exact["cnn2d"]), 21)
    scores = {}
    for name, net in nets.items():
        engine = session(network(net))
        found = engine.run(None, {"x": scene})[0]
        scores[name, "ONNX Runtime"] = every, found.reshape(found.shape[1], -1).T
        if name == "dynamic":
            found = [
                engine.run(None, {"x": inputs.samples(pixel).numpy()})[0].ravel() for pixel in some.split(1)
            ]
            scores[name, "ONNX Runtime, a pixel per call"] = some, np.array(found)
    plain = fold_batch_norm(nets["cnn2d"])
    grids = [getattr(nets["static"], layer).grid(None) for layer in LAYERS]
    fake, step = QAT(plain).eval(), None
    for observer, grid in zip(fake.ranges, grids):
        observer.range = torch.stack(
            [grid.dequantize(torch.tensor(float(end))) for end in (grid.low, grid.high)]
        )
    scores["static", "fake quantization, 32 bits"] = every, pixel_scores(fake, inputs, every)
    try:
        theirs = torch_ao.static(plain, seen, grids)  # with the ranges of ours
        with torch.inference_mode():
            scores["static", "PyTorch"] = (
                every, torch.cat([theirs(inputs.samples(part)) for part in every.split(500)]).numpy()
            )
        step = float(theirs.fc2.scale)
    except HsiError as error:
        print(error)
    lines, table = [], []
    for (name, engine), (pixels, found) in scores.items():
        ours = exact[name][pixels]
        other = ours.argmax(1) != found.argmax(1)
        margin = np.diff(np.sort(ours, 1)[:, -2:], axis=1)[:, 0]  # of the best class over the next
        line = {
            "method": name, "engine": engine, "pixels": len(pixels),
            "same_class": 100 - 100 * float(other.mean())
        }
        line["same_as_32_bits"] = 100 * float((exact["cnn2d"][pixels].argmax(1) == found.argmax(1)).mean())
        line["largest_difference"] = float(np.abs(ours - found).max())
        line["largest_margin_where_other"] = float(margin[other].max(initial=0))
        table.append(line)
        text = f"our class on {line['same_class']:.3f} % of {len(pixels)} pixels, scores within {line['largest_difference']:.2g}"
        lines.append(f"{name}, {engine}: {text}")
    return {"text": "\n".join(lines), "scene": about["scene"], "torch_step": step, "engines": table}


REAL = "indian_pines_8bit"


def teaching(steps=10):
    """Two epochs of ten steps of the 90 % student by every method of distillation, as late in training, when all terms have
    joined, against Scratch; and soft targets against a plain DataLoader loop with a teacher that runs at every step."""
    wide = initialise(CNN2D(40, 16), 1).eval()
    calls, batches = {}, slice(0, 100 * steps)
    for name in ["scratch", *(name for name, m in METHODS.items() if m.prepare)]:
        task = task_of(make_run("synthetic_fields", "disjoint", name, 90, epochs=2))
        task.split = replace(task.split, train=task.split.train[batches], train_y=task.split.train_y[batches])
        task.parent = lambda run: wide
        if name == "scratch":
            calls[name] = partial(task.fit, task.network(CNN2D, widths=WIDTHS[90]))
        else:
            student, loss, extra, _ = METHODS[name].prepare(task)
            calls[name] = partial(task.fit, student, loss=partial(_late, loss), extra=extra)
    data = PatchDataset(task.inputs("patches"), task.split.train, task.split.train_y)
    nets = task.network(CNN2D, widths=WIDTHS[90]), initialise(CNN2D(40, 16), 1).eval()
    plain, teacher = (
        net.to(memory_format=torch.contiguous_format) for net in nets
    )  # as windows are usually cut
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3)

    def usual():
        loader = torch.utils.data.DataLoader(data, batch_size=100, shuffle=True)
        for x, y in chain(loader, loader):
            with torch.no_grad():
                known = teacher(x).logits
            optimizer.zero_grad()
            said = plain.train()(x).logits
            (0.1 * F.cross_entropy(said, y) + 0.9 * kd(said, known, 4.0)).backward()
            optimizer.step()

    seconds = {name: median for name, (median, _) in measure.timed(calls | {"usual": usual}, 1, 5).items()}
    times = {name: round(seconds[name] / seconds["scratch"], 2) for name in calls}
    ratio = round(seconds["usual"] / seconds["soft_targets"], 2)
    lines = [f"{name:24} {value:5.2f} times Scratch" for name, value in times.items()]
    lines.append(f"soft targets, a plain loop with a live teacher against ours: {ratio}x")
    return {"text": "\n".join(lines), "times": times, "ratio": ratio}


def _late(loss, model, batch):
    return loss(model, batch._replace(progress=0.99))


def images(size=64, classes=7):
    """Milliseconds of one image by every network of the land-use chapter, as it is there."""
    x, nets = torch.zeros(1, 3, size, size).contiguous(memory_format=torch.channels_last), {}
    for name in ("vgg16", "mobilenet", "ghost"):
        about = METHODS[name]
        options = {key: about.options[key] for key in about.config}
        nets[name] = partial(about.network(3, classes, **options).eval(), x)
    found = _times({"1": nets})
    lines = [
        f"one image of {size} x {size} pixels, ms, median ± IQR",
        *(_line(name, times) for name, times in found.items()),
    ]
    return {"text": "\n".join(lines), "ms": {name: times["1"] for name, times in found.items()}, "size": size}


BENCHES = {
    "dense": dense, "loop": loop, "latency": latency, "agreement": agreement, "teaching": teaching,
    "images": images
}


def main(only="all", save=False):
    names = list(BENCHES) if only == "all" else [known("benchmark", only, BENCHES)]
    where = {"device": machine.cpu_name(), "versions": machine.versions()}
    path = project() / "book" / "results" / "bench.json"
    found = json.loads(path.read_text()) if save and path.exists() else {}
    with one_thread():
        for name in names:
            result = BENCHES[name]()
            print(result.pop("text"), flush=True)
            found[name] = result | where
    print(f"one thread, {where['device']}, {where['versions']}")
    if save:
        write_atomically(path, json.dumps(found, indent=1) + "\n")
