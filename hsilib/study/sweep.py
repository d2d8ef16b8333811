"""Many runs: what is missing, what it costs, and giving it to a pool."""

import os
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

import pandas as pd

from hsilib import methods
from hsilib.data.scenes import Scene, load_scene
from hsilib.data.splits import split_of
from hsilib.errors import HsiError, known
from hsilib.identity import Run, parents
from hsilib.study import machine
from hsilib.study.execute import execute, weights_path
from hsilib.study.pools import local_rows
from hsilib.study.rows import ACCURACIES, COSTS
from hsilib.study.store import Store


def lacking(runs: Iterable[Run], rows: pd.DataFrame) -> list[Run]:
    """Return those of the runs that the rows do not hold."""
    stored = set(rows["run"])
    return [run for run in dict.fromkeys(runs) if run.id not in stored]


def collect(
    runs: Sequence[Run], store: Store | None = None, jobs: int | None = None, device: str | None = None,
    say: Callable[[str], None] = print, on: str | None = None
) -> pd.DataFrame:
    """Return the rows of ``runs``, in order; what the store lacks is trained first.

    Training takes ``jobs`` processes, by default one for each core, on a ``device``, ``cpu`` or ``cuda``, and
    can be stopped at any time.  ``on`` is the address of a Dask scheduler whose workers train instead, or
    ``local:4`` for four workers here.

    >>> rows = collect(plan("synthetic_fields_small", ["disjoint"], ["scratch", "l1"], [98], epochs=5))
    >>> means = rows.groupby("method")["oa"].mean()
    """
    store = store or Store()
    rows = store.rows()
    missing = lacking(runs, rows)
    usual = machine.TRAINING
    jobs, device = jobs or usual["jobs"], usable(device or usual["device"])
    if missing:
        _sweep(missing, rows, store, jobs, device, on or usual["on"], say)
        rows = store.rows()
    rows = rows.set_index("run", drop=False)
    return rows.loc[[run.id for run in runs]].reset_index(drop=True)


def usable(device: str) -> str:
    """Return the device, and refuse one that is not there."""
    if known("device", device, ("cpu", "cuda")) != "cpu":
        from torch.cuda import is_available

        if not is_available():
            raise HsiError(f"device {device}: no GPU that this torch can use; leave it out")
    return device


def check(runs: Iterable[Run], store: Store, count: int) -> None:
    """Train ``count`` stored runs anew, drawn at random; other accuracies or costs than stored are an error.

    The same machine does, to the last bit, if it also trained what they start from; another may differ, and
    then says by how much.
    """
    rows = store.written().set_index("run")
    stored = [r for r in runs if r.id in rows.index]
    if count < 1:
        raise HsiError(f"the number of runs to check must be at least 1, not {count}")
    if not stored:
        raise HsiError("no run of this study is stored yet: nothing to check")
    drawn, same = random.sample(stored, min(count, len(stored))), 0
    with tempfile.TemporaryDirectory() as folder:
        for run in drawn:
            row, there = execute(run, Store(folder))[0], rows.loc[run.id]
            far = max(abs(row[metric] - there[metric]) for metric in ACCURACIES)
            dear = [name for name in COSTS if abs((row[name] or 0) - there[name]) > 0]  # not where it is NaN
            same += far == 0 and not dear
            off = f"off by {far:.4f} points (stored on {there['device']}, {there['versions']})"
            began = rows["device"].reindex([parent.id for parent in parents(run)]).dropna().unique()
            off += f"; it starts from runs of {', '.join(began)}" * bool(len(began))
            print(f"{run}: OA {row['oa']:.4f} %, {off if far else 'the same'}")
            for name in dear:
                print(f"  its {name} is {there[name]:.0f}, here it is {row[name]}")
    if same < len(drawn):
        says = "not every run gave its stored accuracies; on another processor or version that can be"
        raise HsiError(says)


def costs_of(
    runs: Iterable[Run], rows: pd.DataFrame, load: Callable[[str], Scene] = load_scene, device: str = "cpu"
) -> dict[str, float]:
    """Return {identity: seconds} expected of runs, from rows of the same kind of device.

    A missing or broken file or an impossible split is an error of one line, here and not in a worker.
    """
    held, pixels = [part for part in (rows, Store().rows()) if len(part)], {}
    rows = pd.concat(held) if held else rows
    rows = rows[rows["device"].astype(str).str.startswith("NVIDIA") == (device == "cuda")]
    for run in runs:
        if (run.scene, run.split) not in pixels:
            pixels[run.scene, run.split] = len(split_of(load(run.scene), run.split, run.seed).train)
    return {run.id: estimate(run, rows, pixels[run.scene, run.split]) for run in runs}


STARTING = 5  # seconds until a worker trains
DISK = 12_000  # bytes of a row, its log and its weights, beside the map


class Work:
    """Runs that are to be trained, with those they start from, and what that costs."""

    def __init__(self, runs: Iterable[Run], rows: pd.DataFrame, jobs: int | None, device: str) -> None:
        self.levels = levels(runs, rows)
        self.runs = sum(self.levels, [])
        self.costs = costs_of(self.runs, rows, device=device)  # before any worker starts
        self.left = sum(self.costs.values())
        here = not jobs and self.left < 2 * STARTING  # and now: workers would still be starting
        self.jobs = 1 if here else min(jobs or os.cpu_count(), len(self.runs))
        self.left += 0 if here else STARTING * self.jobs

    @property
    def seconds(self) -> float:
        """How long what is left will take."""
        return self.left / self.jobs

    def __str__(self) -> str:
        many, jobs = len(self.runs), self.jobs
        disk = max(1, sum(DISK + load_scene(run.scene).labels.size / 6 for run in self.runs) / 1e6)
        cores, runs = f"{jobs} core{'s' * (jobs > 1)}", f"{many} run{'s' * (many > 1)}"
        return f"{runs} to train on {cores}, about {duration(self.seconds)}, {disk:.0f} MB of disk"


def _sweep(runs, rows, store, jobs, device, on, say):
    from tqdm import tqdm

    store.check()
    for scene in sorted({run.scene for run in runs}):
        store.card(scene)  # what pages show of it without its files; first, for a row is what comes last
    warnings.filterwarnings("ignore", "A worker stopped")  # an idle worker ends by itself and is replaced
    with ExitStack() as stack:
        pool = None
        if on:
            try:
                from hsilib.study.dask_pool import DaskPool
            except ModuleNotFoundError:
                says = "training on other machines needs Dask: pip install 'hsilib[dask]'"
                raise HsiError(says) from None
            pool = DaskPool(stack, on, runs, store, device, say)
        work = Work(runs, rows, pool.jobs if pool else jobs, device)
        if 0 < machine.TRAINING["most"] < work.seconds:
            raise HsiError(f"{work}; nothing was trained: -y begins")
        names, start, took, failed = {run.id: run for run in work.runs}, time.perf_counter(), [], []
        say(f"{work}; stop and restart at will")
        look = dict(bar_format="{percentage:3.0f} %|{bar}|{postfix}", leave=False)
        bar = stack.enter_context(tqdm(total=work.left, disable=None, **look))  # on a terminal
        trained = pool.rows(work) if pool else local_rows(work, store, device)
        for number, row in enumerate(trained, 1):
            told = f"[{number}/{len(names)}]"
            if "failed" in row:  # the others go on
                failed.append(row["failed"])
                say(f"{told} not trained: {row['failed']}")
                continue
            cost, seconds = work.costs[row["run"]], row["seconds"]
            work.left = max(work.left - cost, 0)
            took.append((seconds, cost))
            still = f"about {duration(work.seconds * pace(took))} left"
            with bar.external_write_mode():
                say(f"{told} {names[row['run']]}: OA {row['oa']:.2f} %, {seconds:.0f} s; {still}")
            bar.set_postfix_str(still, refresh=False)
            bar.update(cost)
    if failed:
        told = "; ".join([*failed[:3], *["…"] * (len(failed) > 3)])
        raise HsiError(f"{len(failed)} of {len(names)} runs could not be trained: {told}")
    say(f"done in {duration(time.perf_counter() - start)}")


def pace(took: Sequence[tuple[float, float]], weight: float = 60) -> float:
    """Return by what factor runs take longer than was estimated.

    took: (seconds, estimate) of those that are done; the estimate itself counts as a minute of evidence.
    """
    seconds, costs = map(sum, zip(*took))
    return (seconds + weight) / (costs + weight)


def levels(runs: Iterable[Run], rows: pd.DataFrame) -> list[list[Run]]:
    """Return the runs and those they start from, parents before children; a stored parent whose weights are
    cached needs no run."""
    pending, stack, found, stored = {run.id: run for run in runs}, list(runs), [], set(rows["run"])
    while stack:
        for parent in parents(stack.pop()):
            done = parent.id in stored and weights_path(parent).is_file()
            if parent.id not in pending and not done:
                pending[parent.id] = parent
                stack.append(parent)
    while pending:
        found.append([run for run in pending.values() if not any(p.id in pending for p in parents(run))])
        for run in found[-1]:
            del pending[run.id]
    return found


def estimate(run: Run, rows: pd.DataFrame, train: int) -> float:
    """Return the expected seconds of a run on ``train`` pixels.

    They follow from what the same method took per epoch and training pixel, in this store or the book's.
    """
    size, usual = rows["ratio"] == run.ratio, methods.get(run.method).options
    pool = rows[size & (rows["method"] == run.method)]
    if len(pool) == 0:  # a new method: as Scratch of the same size, or the dense net
        pool = rows[size & (rows["method"] == ("scratch" if run.ratio else "cnn2d"))]
    each = float((pool["seconds"] / pool["epochs"] / pool["train"]).median()) if len(pool) else 2e-3
    if "size" in usual:  # images of another size
        each *= (dict(run.options)["size"] / usual["size"]) ** 2
    return each * run.recipe.epochs * train


def duration(seconds: float) -> str:
    """Return a time as text, in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
