"""One run: trained, evaluated, measured and stored."""

import json
import time
from contextlib import contextmanager
from dataclasses import asdict

import torch

from hsilib import methods
from hsilib.data import scenes
from hsilib.data.splits import split_of
from hsilib.errors import HsiError
from hsilib.files import cache_folder, write_atomically
from hsilib.models import evaluate, measure
from hsilib.models.networks import NETWORKS
from hsilib.study import machine
from hsilib.study.runs import changed_options, parents
from hsilib.study.store import Store
from hsilib.task import Task


@contextmanager
def one_thread():
    """One thread per run: results do not depend on how many cores there are, and processes fill the cores better."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def weights_path(run):
    return cache_folder() / "weights" / f"{run.id}.safetensors"


def trained(run, store=None, device="cpu"):
    """The trained model of a run: from the cache, else trained now (and its row stored)."""
    from safetensors import safe_open

    path = weights_path(run)
    if not path.is_file():
        return execute(run, store or Store(), device=device)[1]
    try:
        with safe_open(path, framework="pt") as handle:
            about = json.loads(handle.metadata()["hsilib"])
            weights = {key: handle.get_tensor(key) for key in handle.keys()}
        model = NETWORKS[about["network"]](**about["config"])
        model.load_state_dict(weights)
    except Exception as error:
        raise HsiError(
            f"{path}: not a stored model ({str(error).splitlines()[0]}); delete it to train again"
        ) from None
    return model.to(device).eval()


def _save_weights(run, model):
    """Networks of the library only: another one could not be built again from a file."""
    from safetensors.torch import save

    if type(model) in NETWORKS.values():
        about = json.dumps({"network": type(model).__name__, "config": model.config, "run": asdict(run)})
        state = {k: v.contiguous().cpu() for k, v in model.state_dict().items()}
        write_atomically(weights_path(run), save(state, {"hsilib": about}))


def task_of(run, store=None, device="cpu"):
    """What a method is given to train on: the scene, the split, the seeds, its parents' trained models."""
    scene = scenes.load_scene(run.scene)
    split = split_of(scene, run.split, run.seed)
    return Task(run, scene, split, device, parent=lambda other: trained(other, store, device))


def execute(run, store, method=None, device="cpu"):
    """Train, evaluate, measure and store one run; return (row, model).

    ``method`` is given when the method lives in a notebook and the caller is another process.
    """
    import torch

    if method is not None:
        methods.METHODS[method.name] = method
    about = methods.get(run.method)
    start = time.perf_counter()
    torch.backends.cudnn.allow_tf32 = False  # 32-bit floats on a GPU too
    with one_thread():
        task = task_of(run, store, device)
        scene, split = task.scene, task.split
        try:
            model = about.train(task)
        except HsiError as error:
            raise HsiError(f"{run}: {error}") from None
        inputs = task.inputs(model.kind)
        scores = evaluate.scene_scores(model, inputs)
        seconds = time.perf_counter() - start
        figures = evaluate.metrics(scores[split.test], split.test_y)
        sample = inputs.samples(torch.zeros(1, dtype=torch.long, device=task.device))
        row = {
            "run": run.id, **{k: getattr(run, k) for k in ("scene", "split", "method", "ratio", "seed")},
            "options": changed_options(run), **{k: round(float(v), 4) for k, v in figures.items()},
            "train": len(split.train), "test": len(split.test), "leakage": round(100 * split.leakage, 2),
            "params": measure.parameters(model), "macs": measure.macs(model, sample),
            "bytes": measure.bytes_on_disk(model), **asdict(run.recipe), "version": about.version,
            "device": torch.cuda.get_device_name() if task.device.type == "cuda" else machine.cpu_name(),
            "threads": 1, "seconds": round(seconds, 1), "commit": machine.commit(),
            "versions": machine.versions(), "parents": " ".join(p.id for p in parents(run))
        }
    _save_weights(run, model)
    if not store.has(run.id):  # a stored run keeps its map: this may be another machine
        store.write_map(run.id, (scores.argmax(1) + 1).reshape(scene.labels.shape))
        store.log(run.id, task.history)
        store.note(run.id, task.notes)
        store.append(about.family, row)  # last: a row promises its map
    return row, model
