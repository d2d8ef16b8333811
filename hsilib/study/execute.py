"""One run: trained, evaluated, measured and stored."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hsilib import methods
from hsilib.data import scenes
from hsilib.data.splits import WINDOW, split_of
from hsilib.errors import HsiError
from hsilib.files import cache_folder, readable, write_atomically
from hsilib.identity import Run, changed_options, parents
from hsilib.methods.task import Task
from hsilib.models import evaluate, measure
from hsilib.models.networks import NETWORKS
from hsilib.study import machine
from hsilib.study.store import Store


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch and numpy to one thread.

    Results then do not depend on how many cores there are, and processes fill the cores better.
    """
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def weights_path(run: Run) -> Path:
    """Return where the trained weights of a run are cached."""
    return cache_folder() / "weights" / f"{run.id}.safetensors"


def trained(run: Run, store: Store | None = None, device: str = "cpu") -> nn.Module:
    """Return the trained model of a run: from the cache, else it is trained now and its row is stored.

    >>> net = trained(make_run("synthetic_fields_small", "disjoint", "scratch", ratio=98, epochs=2))
    """
    from safetensors import safe_open

    path = weights_path(run)
    if not path.is_file():
        return execute(run, store or Store(), device)[1]
    with readable(f"{path}: not a stored model of {run}; delete it to train it"):
        with safe_open(path, framework="pt") as handle:
            metadata = json.loads(handle.metadata()["hsilib"])
            weights = {key: handle.get_tensor(key) for key in handle.keys()}
        if metadata["run"] != json.loads(json.dumps(asdict(run))):
            raise ValueError("of another run")
        old = "digest" not in metadata  # of an earlier edition: it is trained again
        if not old and metadata["digest"] != _digest(weights):
            raise ValueError("its checksum is another")
        with torch.device("meta"):  # what takes no memory says what the weights of this network are
            shell = NETWORKS[metadata["network"]](**metadata["config"]).state_dict()
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in shell.items()}:
            raise ValueError("weights of another size than its configuration says")
        model = NETWORKS[metadata["network"]](**metadata["config"])
        model.load_state_dict(weights)
    return execute(run, store or Store(), device)[1] if old else model.to(device).eval()


def _digest(weights):
    """The checksum of named tensors; those with a number that is none have no checksum."""
    seen = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(weights.items()):
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} is not finite")
        seen.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + tensor.numpy().tobytes())
    return seen.hexdigest()


def _save_weights(run, model):
    """Save networks of the library only: another one could not be built again from a file."""
    from safetensors.torch import save

    if type(model) in NETWORKS.values():
        state = {k: v.contiguous().cpu() for k, v in model.state_dict().items()}
        about = {"network": type(model).__name__, "config": model.config, "run": asdict(run)}
        try:
            about["digest"] = _digest(state)
        except ValueError as error:
            raise HsiError(f"{run}: {error}: it diverged") from None
        write_atomically(weights_path(run), save(state, {"hsilib": json.dumps(about)}))


def task_of(run: Run, store: Store | None = None, device: str = "cpu") -> Task:
    """Return what a method is given: the scene, the split, the seeds, its parents' trained models.

    >>> task = task_of(make_run("synthetic_fields_small", "disjoint", "lens"))
    >>> task.options.width
    22
    """
    scene = scenes.load_scene(run.scene)
    split = split_of(scene, run.split, run.seed)
    return Task(run, scene, split, device, parent=lambda other: trained(other, store, device))


def execute(run: Run, store: Store, device: str = "cpu") -> tuple[dict[str, Any], nn.Module]:
    """Train, evaluate, measure and store one run; return its row and its model.

    >>> run = make_run("synthetic_fields_small", "disjoint", "mlp", epochs=2)
    >>> row, net = execute(run, Store("my-results"))
    """
    start = time.perf_counter()
    torch.backends.cudnn.allow_tf32 = False  # 32-bit floats on a GPU too
    with one_thread():
        task = task_of(run, store, device)
        scene, split, method = task.scene, task.split, methods.get(run.method)
        try:
            model = method.train(task)
        except HsiError as error:
            raise HsiError(f"{run}: {error}") from None
        inputs = task.inputs(model.kind)
        scores = evaluate.scene_scores(model, inputs)
        seconds = time.perf_counter() - start
        figures = evaluate.metrics(scores[split.test], split.test_y)
        beside = {"aa30": round(figures["aa30"], 4), "small": evaluate.small(np.bincount(split.test_y))}
        beside["code"] = methods.code(run.method)
        one = torch.zeros(1, dtype=torch.long, device=task.device)
        window, channels = getattr(model, "window", WINDOW), inputs.pixels.shape[1]
        costs = measure.measured(model, inputs.samples(one, window), inputs.bands, channels)
        if model.kind == "patches" and costs["macs"] is not None:  # from raw bands on
            beside["macs"] = costs["macs"] + measure.of_components(inputs.bands, channels, window)
        gpu = task.device.type == "cuda"
        row = {name: round(float(value), 4) for name, value in figures.items()} | costs | {
            "run": run.id, "scene": run.scene, "split": run.split, "method": run.method, "ratio": run.ratio,
            "seed": run.seed, "options": changed_options(run), **vars(run.recipe), "version": method.version,
            "parents": " ".join(parent.id for parent in parents(run)),
            "train": len(split.train), "test": len(split.test), "leakage": round(100 * split.leakage, 2),
            "device": torch.cuda.get_device_name() if gpu else machine.cpu_name(), "threads": 1,
            "seconds": round(seconds, 1), "commit": machine.commit(), "versions": machine.versions(),
        }
    _save_weights(run, model)
    labels = (scores.argmax(1) + 1).reshape(scene.labels.shape)
    labels = labels if scene.there is None else np.where(scene.there, labels, 0)
    store.keep(row, method.family, beside, labels, task.history, task.notes)
    return row, model
