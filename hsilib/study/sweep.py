"""Runs, how one is executed, and how many are.

A `Run` is everything that decides a result.  Its identity is computed from all of it, so a changed default or a raised
method version is another run and never a stale hit.
"""

import hashlib
import json
import os
import random
import tempfile
import time
import tomllib
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from hsilib import methods, scenes
from hsilib.errors import HsiError, known
from hsilib.files import cache_folder, project, write_atomically
from hsilib.results import Store
from hsilib.splits import SPLITS, split_of
from hsilib.train import Recipe

PROTOCOL = 1  # part of every identity: raise it when splits, inputs, training loop or metrics change their numbers


@dataclass(frozen=True)
class Run:
    scene: str
    split: str
    method: str
    ratio: int = 0
    seed: int = 0
    options: tuple = ()  # all hyper-parameters of the method, as sorted (name, value) pairs
    recipe: Recipe = Recipe()
    content: str = ""  # of the scene: its name, and a digest where its files are not the published ones

    @property
    def id(self):
        """Twelve hexadecimal digits that change with everything that decides the result.  Nothing is read from disk."""
        parts = asdict(self)
        parts["scene"] = parts.pop("content") or self.scene
        parts["version"] = methods.get(self.method).version
        parts["protocol"] = PROTOCOL
        parts["parents"] = [parent.id for parent in parents(self)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def __str__(self):
        size = f"{self.ratio} %" if self.ratio else ""
        what = " ".join(filter(None, (self.method, size, changed_options(self))))
        return f"{what} · {self.scene} · {self.split} · seed {self.seed}"


def make_run(scene, split, method, ratio=0, seed=0, epochs=None, options=None, **recipe):
    """A run with every default filled in and every name checked."""
    return _run(scenes.place(scene), split, method, ratio, seed, epochs, options, **recipe)


def _run(place, split, method, ratio=0, seed=0, epochs=None, options=None, **recipe):
    scene = place.name
    known("split", split, SPLITS)
    about = methods.get(method)
    if ratio not in about.ratios:
        raise HsiError(f"method {method} has no size {ratio!r}; it has {', '.join(map(str, about.ratios))}")
    options = about.defaults(scene) | (options or {})
    for name, value in options.items():
        default = about.options[known(f"hyper-parameter of {method}", name, about.options)]
        fits = isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool)
        if not fits and not (isinstance(default, float) and type(value) is int):
            raise HsiError(f"{method}: {name} must be {type(default).__name__}, not {value!r}")
        options[name] = type(default)(value)
    for name in recipe:
        known("part of the recipe", name, Recipe.__dataclass_fields__)
    recipe = Recipe(**{"lr": place.lr, "epochs": Recipe.epochs if epochs is None else epochs} | recipe)
    recipe = replace(recipe, epochs=max(1, round(recipe.epochs * about.epochs)))
    return Run(scene, split, method, ratio, seed, tuple(sorted(options.items())), recipe, place.content)


def plan(scene, splits, names, ratios=(0,), seeds=3, **common):
    """Runs of a grid.  A method runs at those of ``ratios`` it has, or at all its sizes if it has none of them.  ``seeds`` is
    the number of repetitions, or {split: number}."""
    for name in names:
        methods.get(name)
    for ratio in ratios:
        known("size", str(ratio), {str(r) for m in methods.METHODS.values() for r in m.ratios})
    runs, place = [], scenes.place(scene)
    for split in splits:
        many = seeds[split] if isinstance(seeds, dict) else seeds
        if many < 1:
            raise HsiError(f"nothing to run: the number of seeds must be at least 1, not {many}")
        for seed in range(many):
            for name in names:
                sizes = [r for r in methods.get(name).ratios if r in ratios] or list(methods.get(name).ratios)
                runs += [_run(place, split, name, ratio, seed, **common) for ratio in sizes]
    if names and not runs:
        raise HsiError("nothing to run: no split is left")
    return list(dict.fromkeys(runs))


def stored(store, scene, splits, names, ratios, seeds=20, **common):
    """What the store holds of a grid, as far as it got: for pages that read and train nothing."""
    rows = store.rows()
    return rows[rows["run"].isin([run.id for run in plan(scene, splits, names, ratios, seeds, **common)])]


def changed_options(run):
    """The options that are not the method's defaults, as text: how the store and the tables name a variant."""
    defaults = methods.get(run.method).defaults(run.scene)
    changed = {k: v for k, v in run.options if v != defaults.get(k)}
    return " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in changed.items())


def parents(run):
    """Runs whose trained models this one starts from (a teacher, the dense net)."""
    return methods.get(run.method).parents(run)


PART = dict(title=str, scenes=list, splits=list, methods=list, ratios=list, seeds=int, epochs=int, batch=int, options=dict)


def declared(path):
    """{title of a part: its runs} of a study file: TOML, a ``[[part]]`` for every grid; methods are names or families."""
    try:
        parts = tomllib.loads(Path(path).read_text())["part"]
        [[part[key] for key in list(PART)[:6]] for part in parts]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HsiError(f"{path}: not a study file ({error}); book/study.toml is one") from None
    found = {}
    for part in parts:
        for key, value in part.items():
            if not isinstance(value, PART[known(f"entry of a part in {path}", key, PART)]):
                raise HsiError(f"{path}: {key} must be {PART[key].__name__}, not {value!r}")
        names = [name for entry in part["methods"] for name in methods.family(entry) or [entry]]
        common = {key: part[key] for key in ("epochs", "batch", "options") if key in part}
        grids = (plan(scene, part["splits"], names, part["ratios"], part["seeds"], **common) for scene in part["scenes"])
        found[part["title"]] = sum(grids, [])
    return found


# ---------------------------------------------------------------------------------------------- one run


@contextmanager
def one_thread():
    """One thread per run: results do not depend on how many cores there are, and processes fill the cores better."""
    import torch
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

    from hsilib.models import NETWORKS

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
        raise HsiError(f"{path}: not a stored model ({str(error).splitlines()[0]}); delete it to train again") from None
    return model.to(device).eval()


def _save_weights(run, model):
    """Networks of the library only: another one could not be built again from a file."""
    from safetensors.torch import save

    from hsilib.models import NETWORKS

    if type(model) in NETWORKS.values():
        about = json.dumps({"network": type(model).__name__, "config": model.config, "run": asdict(run)})
        state = {k: v.contiguous().cpu() for k, v in model.state_dict().items()}
        write_atomically(weights_path(run), save(state, {"hsilib": about}))


def task_of(run, store=None, device="cpu"):
    """What a method is given to train on: the scene, the split, the seeds, its parents' trained models."""
    scene = scenes.load_scene(run.scene)
    split = split_of(scene, run.split, run.seed)
    return methods.Task(run, scene, split, device, parent=lambda other: trained(other, store, device))


def execute(run, store, method=None, device="cpu"):
    """Train, evaluate, measure and store one run; return (row, model).

    ``method`` is given when the method lives in a notebook and the caller is another process.
    """
    import torch

    from hsilib import evaluate, machine, measure

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
            "run": run.id,
            **{k: getattr(run, k) for k in ("scene", "split", "method", "ratio", "seed")},
            "options": changed_options(run),
            **{k: round(float(v), 4) for k, v in figures.items()},
            "train": len(split.train),
            "test": len(split.test),
            "leakage": round(100 * split.leakage, 2),
            "params": measure.parameters(model),
            "macs": measure.macs(model, sample),
            "bytes": measure.bytes_on_disk(model),
            **asdict(run.recipe),
            "version": about.version,
            "device": torch.cuda.get_device_name() if task.device.type == "cuda" else machine.cpu_name(),
            "threads": 1,
            "seconds": round(seconds, 1),
            "commit": machine.commit(),
            "versions": machine.versions(),
            "parents": " ".join(p.id for p in parents(run)),
        }
    _save_weights(run, model)
    if not store.has(run.id):  # a stored run keeps its map: this may be another machine
        store.write_map(run.id, (scores.argmax(1) + 1).reshape(scene.labels.shape))
        store.log(run.id, task.history)
        store.note(run.id, task.notes)
        store.append(about.family, row)  # last: a row promises its map
    return row, model


# ---------------------------------------------------------------------------------------------- many runs


def lacking(runs, rows):
    """Those of the runs that the rows do not hold."""
    stored = set(rows["run"])
    return [run for run in dict.fromkeys(runs) if run.id not in stored]


def collect(runs, store=None, jobs=None, device="cpu", say=print):
    """The rows of ``runs``, in order; trains only what the store lacks, on all cores, and can be stopped at any time."""
    store = store or Store()
    rows = store.rows()
    missing = lacking(runs, rows)
    if missing:
        _sweep(missing, rows, store, jobs, device, say)
        rows = store.rows()
        for scene in sorted({run.scene for run in missing}):
            store.card(scene)  # what pages show of it without its files
    return rows.drop_duplicates("run").set_index("run", drop=False).loc[[run.id for run in runs]].reset_index(drop=True)


def check(runs, store, count, seed=None, say=print):
    """Train ``count`` stored runs anew, drawn by lot; True if each gives the stored accuracies.  The same machine does, to the
    last bit; another may differ in the last digits, and then says by how much."""
    rows = store.rows().drop_duplicates("run").set_index("run")
    stored = [r for r in runs if r.id in rows.index]
    if count < 1:
        raise HsiError(f"the number of runs to check must be at least 1, not {count}")
    if not stored:
        raise HsiError("no run of this study is stored yet: nothing to check")
    same = 0
    with tempfile.TemporaryDirectory() as folder:
        for run in random.Random(seed).sample(stored, min(count, len(stored))):
            row = execute(run, Store(folder))[0]
            far = max(abs(row[metric] - rows.loc[run.id, metric]) for metric in ("oa", "top5", "aa", "kappa", "f1"))
            same += far == 0
            there = rows.loc[run.id]
            found = "the same" if far == 0 else f"off by {far:.4f} points (stored on {there['device']}, {there['versions']})"
            say(f"{run}: OA {row['oa']:.4f} %, {found}")
    return same == min(count, len(stored))


def costs_of(runs, rows, load=scenes.load_scene):
    """{identity: seconds} expected of runs; a missing or broken file or an impossible split is one line."""
    known_rows, pixels = pd.concat([rows, Store(project() / "book" / "results").rows()]), {}
    for r in runs:
        if (r.scene, r.split) not in pixels:
            pixels[r.scene, r.split] = len(split_of(load(r.scene), r.split, r.seed).train)
    return {r.id: estimate(r, known_rows, pixels[r.scene, r.split]) for r in runs}


STARTING = 5  # seconds until a worker trains


def _sweep(runs, rows, store, jobs, device, say):
    from joblib import Parallel, delayed
    from tqdm import tqdm

    levels = _levels(runs)
    runs = sum(levels, [])
    costs = costs_of(runs, rows)  # before any worker starts
    left, start, numbers, took = sum(costs.values()), time.perf_counter(), count(1), []
    if not jobs and left < 2 * STARTING:
        jobs = 1  # here and now: workers would still be starting
    else:
        jobs = min(jobs or os.cpu_count(), len(runs))
        left += STARTING * jobs
    runs_text, cores = f"{len(runs)} run{'s' * (len(runs) > 1)}", f"{jobs} core{'s' * (jobs > 1)}"
    say(f"{runs_text} to train on {cores}, about {duration(left / jobs)}; stop and restart at will")
    warnings.filterwarnings("ignore", "A worker stopped")  # an idle worker ends by itself and is replaced
    bar = tqdm(total=left, disable=None, bar_format="{percentage:3.0f} %|{bar}|{postfix}", leave=False)  # on a terminal
    for level in levels:
        level.sort(key=lambda r: -costs[r.id])  # long ones first: the cores finish together
        names = {r.id: r for r in level}
        pool = Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=jobs)
        done = pool(delayed(_row)(r, store, methods.get(r.method), device) for r in level)
        for row, number in zip(done, numbers):
            left = max(left - costs[row["run"]], 0)
            took.append((row["seconds"], costs[row["run"]]))
            still = f"about {duration(left / jobs * pace(took))} left"
            with bar.external_write_mode():
                say(f"[{number}/{len(runs)}] {names[row['run']]}: OA {row['oa']:.2f} %, {row['seconds']:.0f} s; {still}")
            bar.set_postfix_str(still, refresh=False)
            bar.update(costs[row["run"]])
    bar.close()
    say(f"done in {duration(time.perf_counter() - start)}")


def pace(took, weight=60):
    """By what factor runs take longer than was estimated, from (seconds, estimate) of those that are done; the estimate
    itself counts as a minute of evidence."""
    seconds, costs = map(sum, zip(*took))
    return (seconds + weight) / (costs + weight)


def _row(run, store, method, device):
    return execute(run, store, method, device)[0]  # a model does not cross the process border


def _levels(runs):
    """Parents before children; a stored parent whose weights are cached needs no run."""
    pending, levels, placed = {r.id: r for r in runs}, [], set()
    stack = list(runs)
    while stack:
        for parent in parents(stack.pop()):
            if parent.id not in pending and not weights_path(parent).is_file():
                pending[parent.id] = parent
                stack.append(parent)
    while pending:
        level = [r for r in pending.values() if not any(p.id in pending for p in parents(r))]
        levels.append(level)
        placed |= {r.id for r in level}
        pending = {k: r for k, r in pending.items() if k not in placed}
    return levels


def estimate(run, rows, train):
    """Seconds of a run, from what the same method took per epoch and training pixel, in this store or the book's."""
    pool, usual = rows[(rows["method"] == run.method) & (rows["ratio"] == run.ratio)], methods.get(run.method).options
    if len(pool) == 0:  # a new method: as Scratch of the same size, or the dense net
        pool = rows[(rows["method"] == ("scratch" if run.ratio else "cnn2d")) & (rows["ratio"] == run.ratio)]
    each = float((pool["seconds"] / pool["epochs"] / pool["train"]).median()) if len(pool) else 2e-3
    larger = (dict(run.options)["size"] / usual["size"]) ** 2 if "size" in usual else 1  # images of another size
    return each * larger * run.recipe.epochs * train


def duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def settings(budget, **asked):
    """What a chapter runs on.  ``paper``: as asked, in the book's store.  ``smoke``: a small synthetic scene, two seeds,
    two epochs, in a scratch store, so that a chapter can be tried in seconds."""
    known("budget", budget, ("paper", "smoke"))
    store = Store()
    if budget == "smoke":
        store = Store(project() / "_build" / "smoke" / "results")
        small = dict(scene="synthetic_fields_small", images="synthetic_landuse", size=32, small_scenes=["synthetic_urban_small"])
        small |= dict(seeds=2, epochs=2, ratios=[98])
        asked |= {name: value for name, value in small.items() if name in asked}
    if not asked.get("splits", True):  # left empty
        scene = store.card(asked["scene"])[0]
        asked["splits"] = ["disjoint" if scene.train_map is not None else "blocks", "random"]
        try:
            split_of(scene, asked["splits"][0], 0)
        except HsiError:  # no leak-free blocks in this scene
            asked["splits"] = ["random"]
    if "further_seeds" in asked:  # repetitions of the splits after the first, if those are to be fewer
        fewer = min(asked["seeds"], asked.pop("further_seeds"))
        asked["each"] = {split: asked["seeds"] if split == asked["splits"][0] else fewer for split in asked["splits"]}
    return SimpleNamespace(store=store, budget=budget, **asked)
