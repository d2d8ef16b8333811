"""Engines: how long each takes for a network, and how often its class is that of our integer network."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bench import torch_ao
from hsilib.data import told
from hsilib.data.inputs import MARGIN
from hsilib.deploy.predict import session
from hsilib.deploy.trace import convolved, exported, traced
from hsilib.errors import HsiError
from hsilib.methods.quantize.integer import LAYERS, calibrate, convert, fold_batch_norm
from hsilib.methods.quantize.qat import QAT
from hsilib.models import measure
from hsilib.models.evaluate import pixel_scores, scene_scores
from hsilib.models.networks import CNN2D, WIDTHS, initialise
from hsilib.study import machine
from hsilib.study.execute import task_of, trained
from hsilib.study.runs import make_run
from hsilib.study.store import Store, smoke_store

REAL = "indian_pines_8bit"
ROUNDS = {"1": (20, 100, 20), "256": (1, 15, 1), "scene": (1, 15, 1)}  # warm-up, timings, calls in each
Calls = dict[str, dict]  # {size: {name: function}}; sizes are batches, or a whole scene


def latency() -> dict:
    """Time CNN2D, untrained, at its four sizes in all engines: ms a pixel at batch 1 and 256, and a scene."""
    calls, sizes, exported = {}, {}, {}
    for ratio, widths in WIDTHS.items():
        of_size, sizes[str(ratio)], exported[str(ratio)] = engines_of(widths)
        for size, functions in of_size.items():
            calls.setdefault(size, {}).update({(str(ratio), name): f for name, f in functions.items()})
    engines = {str(ratio): {} for ratio in WIDTHS}
    for (ratio, name), row in times(calls).items():  # all sizes in turn too
        engines[ratio][name] = row
    return {"byte_sums": machine.byte_sums(), "engines": engines, "bytes": sizes, "exported": exported}


def times(calls: Calls) -> dict:
    """Return milliseconds {name: {size: (median, IQR)}}, per pixel for batches."""
    rows = {}
    for size, how_often in ROUNDS.items():
        scale = 1e3 / (int(size) if size.isdigit() else 1)
        with torch.inference_mode():
            for name, pair in measure.timed(calls.get(size, {}), *how_often).items():
                rows.setdefault(name, {})[size] = [scale * v for v in pair]
    return rows


def forms(widths: Sequence[int]) -> tuple[dict[str, nn.Module], torch.Tensor]:
    """Build CNN2D in 32 bits and in the two integer forms, calibrated on noise; return them, and the noise.

    QAT needs no form of its own: its network has that of static.
    """
    net = initialise(CNN2D(40, 16, widths), 0).eval()
    x = torch.randn(256, 40, 19, 19, generator=torch.Generator().manual_seed(0))
    plain = fold_batch_norm(net)
    with torch.no_grad():
        integer = {"dynamic int8": convert(plain), "static int8": convert(plain, calibrate(plain, x[:64]))}
    return {"32 bits": net} | integer, x


class Alone(nn.Module):
    """A network of CNN2D's shape that the exporter is to see: (B, C, H+18, W+18) -> scores (B, K, H, W)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.layers = convolved(net)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers.maps(x)


def network(net: nn.Module) -> bytes:
    """Write the network alone as an ONNX file; a patch is a scene of one pixel."""
    x = torch.zeros(2, net.config["bands"], 21, 22)
    axes = {"x": {0: "batch", 2: "rows", 3: "columns"}}
    words = dict(input_names=["x"], output_names=["scores"], dynamic_axes=axes, autograd_inlining=False)
    return exported(Alone(net), x, "CNN2D", do_constant_folding=False, **words).SerializeToString()


def engines_of(widths: Sequence[int]) -> tuple[Calls, dict[str, int], dict[str, int]]:
    """Return what is timed, and how large the files are.

    These are {"1": {engine: function}, "256": ..., "scene": ...}; {engine: bytes of the network's file}; and
    {form: bytes of the file that takes raw spectra}.
    """
    models, x = forms(widths)
    net, plain = models["32 bits"], fold_batch_norm(models["32 bits"])
    eager = {"PyTorch": net, "PyTorch, folded": plain}
    try:
        eager["PyTorch, dynamic int8"] = torch_ao.dynamic(plain)
        eager["PyTorch, static int8"] = torch_ao.static(plain, x)
    except HsiError as error:
        print(error)
    sizes = {name: torch_ao.bytes_of(model) for name, model in eager.items()}
    files = {f"ONNX Runtime, {form}": network(model) for form, model in models.items()}
    sizes |= {name: len(file) for name, file in files.items()}
    engines = {name: session(file).run for name, file in files.items()}
    calls = {"1": {}, "256": {}, "scene": {}}
    for batch in (1, 256):
        given = {"x": x[:batch].numpy()}
        calls[str(batch)] |= {name: partial(model, x[:batch]) for name, model in eager.items()}
        calls[str(batch)] |= {name: partial(run, None, given) for name, run in engines.items()}

    noise = torch.Generator().manual_seed(1)
    cube, weight = torch.randn(145, 145, 200, generator=noise), torch.randn(200, 40, generator=noise) / 14
    for name in ("PyTorch", "PyTorch, folded"):
        calls["scene"][name] = partial(_map, eager[name], cube, weight)
    reduction, classes = (np.zeros(200), weight.numpy(), np.zeros(40)), [f"class {i}" for i in range(1, 17)]
    whole = {form: traced(model, reduction, classes) for form, model in models.items()}
    for form, file in whole.items():
        calls["scene"][f"ONNX Runtime, {form}"] = partial(session(file).run, ["map"], {"cube": cube.numpy()})
    return calls, sizes, {form: len(file) for form, file in whole.items()}


def _map(net, cube, weight):
    image = F.pad((cube @ weight).permute(2, 0, 1)[None], (MARGIN,) * 4)
    return net.dense(image).argmax(0)


def agreement() -> dict:
    """Compare the class that each engine gives the pixels of a scene with the class that our network gives.

    The networks are the trained CNN2D and its three integer forms.
    """
    scene, store = dict(scene=REAL), Store()
    if not told.at_hand(REAL):
        scene, store = dict(scene="synthetic_fields_small", epochs=2), smoke_store()
    names = ("cnn2d", "dynamic", "static", "qat")
    runs = {name: make_run(split="disjoint", method=name, **scene) for name in names}
    nets = {name: trained(run, store) for name, run in runs.items()}
    task = task_of(runs["static"], store)
    inputs, draw = task.inputs("patches"), torch.Generator().manual_seed(0)
    samples = task.balanced(nets["cnn2d"], 1000, draw)
    ours = {name: scene_scores(net, inputs) for name, net in nets.items()}
    found = _by_onnx(nets, inputs) | _by_torch(nets, inputs, samples)
    table = [{"method": name, "engine": engine, "pixels": len(pixels)}
             | _compared(ours[name][pixels], theirs, ours["cnn2d"][pixels])
             for (name, engine), (pixels, theirs) in found.items()]
    return {"scene": scene["scene"], "engines": table}


def _by_onnx(nets, inputs):
    """{(method, engine): (pixels, scores)} in ONNX Runtime; the dynamic form also a pixel at a time."""
    scene = inputs.padded.permute(2, 0, 1)[None].contiguous().numpy()
    pixels, scores = torch.arange(inputs.count), {}
    for name, net in nets.items():
        engine = session(network(net))
        maps = engine.run(None, {"x": scene})[0]
        scores[name, "ONNX Runtime"] = pixels, maps.reshape(maps.shape[1], -1).T
        if name == "dynamic":
            some = pixels[::21]
            each = [engine.run(None, {"x": inputs.samples(one).numpy()})[0].ravel() for one in some.split(1)]
            scores[name, "ONNX Runtime, a pixel per call"] = some, np.array(each)
    return scores


def _by_torch(nets, inputs, samples):
    """The same of the static form, by fake quantization and in torch's integers."""
    plain = fold_batch_norm(nets["cnn2d"])
    grids = [getattr(nets["static"], layer).grid(None) for layer in LAYERS]
    pixels = torch.arange(inputs.count)
    fake = QAT(plain).eval()
    for observer, grid in zip(fake.ranges, grids):
        observer.range = torch.stack(grid.ends())
    scores = {("static", "fake quantization, 32 bits"): (pixels, pixel_scores(fake, inputs, pixels))}
    try:
        theirs = torch_ao.static(plain, samples, grids)  # with the ranges of ours
        with torch.inference_mode():
            parts = [theirs(inputs.samples(part)) for part in pixels.split(500)]
        scores["static", "PyTorch"] = pixels, torch.cat(parts).numpy()
    except HsiError as error:
        print(error)
    return scores


def _compared(ours, theirs, exact):
    """How far the scores of an engine are from ours, and how often its class is ours, or that of 32 bits."""
    return {"same_class": 100 * float((ours.argmax(1) == theirs.argmax(1)).mean()),
            "same_as_32_bits": 100 * float((exact.argmax(1) == theirs.argmax(1)).mean()),
            "largest_difference": float(np.abs(ours - theirs).max())}
