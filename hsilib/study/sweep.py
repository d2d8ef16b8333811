"""Many runs: what is missing, what it costs, and training it on all cores."""

import os
import random
import tempfile
import time
import warnings
from itertools import count

import pandas as pd

from hsilib import methods
from hsilib.data.scenes import load_scene
from hsilib.data.splits import split_of
from hsilib.errors import HsiError
from hsilib.files import project
from hsilib.study.execute import execute, weights_path
from hsilib.study.runs import parents
from hsilib.study.store import Store


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
    return (
        rows.drop_duplicates("run")
        .set_index("run", drop=False)
        .loc[[run.id for run in runs]]
        .reset_index(drop=True)
    )


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
            far = max(
                abs(row[metric] - rows.loc[run.id, metric]) for metric in ("oa", "top5", "aa", "kappa", "f1")
            )
            same += far == 0
            there = rows.loc[run.id]
            found = (
                "the same"
                if far == 0
                else f"off by {far:.4f} points (stored on {there['device']}, {there['versions']})"
            )
            say(f"{run}: OA {row['oa']:.4f} %, {found}")
    return same == min(count, len(stored))


def costs_of(runs, rows, load=load_scene):
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
    bar = tqdm(
        total=left, disable=None, bar_format="{percentage:3.0f} %|{bar}|{postfix}", leave=False
    )  # on a terminal
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
                say(
                    f"[{number}/{len(runs)}] {names[row['run']]}: OA {row['oa']:.2f} %, {row['seconds']:.0f} s; {still}"
                )
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
    pool, usual = (
        rows[(rows["method"] == run.method) & (rows["ratio"] == run.ratio)], methods.get(run.method).options
    )
    if len(pool) == 0:  # a new method: as Scratch of the same size, or the dense net
        pool = rows[(rows["method"] == ("scratch" if run.ratio else "cnn2d")) & (rows["ratio"] == run.ratio)]
    each = float((pool["seconds"] / pool["epochs"] / pool["train"]).median()) if len(pool) else 2e-3
    larger = (
        (dict(run.options)["size"] / usual["size"]) ** 2 if "size" in usual else 1
    )  # images of another size
    return each * larger * run.recipe.epochs * train


def duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
