"""Where runs are trained: on the cores of this machine (joblib), or on the workers of a Dask scheduler.

Both give the rows as they come.  A worker elsewhere needs this package and the scene files, and no folder in
common: it is sent the weights that a run starts from; it sends back the row, what belongs to it, and weights.
"""

import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsilib import methods
from hsilib.data import scenes
from hsilib.errors import HsiError
from hsilib.files import lives, write_atomically
from hsilib.study import machine
from hsilib.study.execute import execute, weights_path
from hsilib.study.runs import Run, parents
from hsilib.study.store import Store

if TYPE_CHECKING:
    from distributed import Client

    from hsilib.study.sweep import Work

Row = dict[str, Any]  # of the store; or {"run": identity, "failed": why}


@contextmanager
def engine(
    on: str, runs: Sequence[Run], store: Store, jobs: int | None, device: str, say: Callable[[str], None]
) -> Iterator["Here | There"]:
    """Open the place where runs are to be trained: ``on`` is empty for this machine, the address of a Dask
    scheduler, or ``local:4`` for four workers that are started here."""
    with ExitStack() as stack:
        yield There(stack, on, runs, store, device, say) if on else Here(store, jobs, device)


def _orphans(level, failed):
    """Take those runs out of a level that start from one that failed; return rows that say so."""
    lost = [run for run in level if any(parent.id in failed for parent in parents(run))]
    for run in lost:
        level.remove(run)
        failed.add(run.id)
        yield {"run": run.id, "failed": f"{run}: what it starts from could not be trained"}


class Here:
    """The cores of this machine."""

    def __init__(self, store: Store, jobs: int | None, device: str) -> None:
        self.store, self.jobs, self.device = store, jobs, device

    def rows(self, work: "Work") -> Iterator[Row]:
        """Train; parents before children, long runs first, so that the cores finish together."""
        from joblib import Parallel, delayed
        from joblib.externals.loky import BrokenProcessPool

        _sweep_shared()
        sent = methods.mine() if work.jobs > 1 else []  # what lives in a notebook, other processes are given
        failed = set()
        for level in work.levels:
            yield from _orphans(level, failed)
            level.sort(key=lambda run: -work.costs[run.id])
            pool = Parallel(n_jobs=work.jobs, return_as="generator_unordered", pre_dispatch=work.jobs)
            tasks = (delayed(_row)(run, self.store, sent, self.device, os.getpid()) for run in level)
            try:
                for row in pool(tasks):
                    failed |= {row["run"]} if "failed" in row else set()
                    yield row
            except BrokenProcessPool:
                says = "a process that trains was killed, perhaps for want of memory; what is finished is "
                says += "stored; with fewer processes (HSILIB_JOBS) each has more memory"
                raise HsiError(says) from None


def _sweep_shared():
    """Remove what workers that were killed with all that belongs to them left in shared memory."""
    for kind, process in (("joblib_memmapping_folder_", 3), ("sem.loky-", 1)):
        for path in Path("/dev/shm").glob(f"{kind}*"):
            number = re.split("[_-]", path.name)[process]
            with suppress(OSError):
                if not lives(number) and path.stat().st_uid == os.getuid():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _row(run, store, sent, device, parent):
    """Train one run in a worker.  What cannot be trained comes back as a text, so that the others go on."""
    alone = os.name == "nt" or os.getpid() == parent  # on Windows a process does not see its parent end
    if not alone and WATCH not in {thread.name for thread in threading.enumerate()}:
        threading.Thread(target=_end_with, args=(parent,), name=WATCH, daemon=True).start()
    methods.adopt(sent)
    try:
        return execute(run, store, device)[0]  # a model does not cross the process border
    except HsiError as error:
        return {"run": run.id, "failed": str(error)}
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "allocate" in str(error) or "out of memory" in str(error):
            return {"run": run.id, "failed": f"{run}: it needs more memory than there is"}
        raise


WATCH = "ends with its parent"


def _end_with(parent):
    """End this worker when the process that started it is gone: nobody waits for its row."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


# ------------------------------------------------------------------------------------------- other machines

ONE = {"hsilib": 1}  # what an approved worker has and a run takes: one run at a time in a process
PATIENCE = 10  # seconds in which a scheduler answers
LOOK = 5  # seconds after which workers that have come are looked at


class There:
    """The workers of a Dask scheduler that have the same versions and the same scenes as this machine."""

    def __init__(
        self, stack: ExitStack, on: str, runs: Sequence[Run], store: Store, device: str, say: Callable
    ) -> None:
        self.store, self.device, self.say = store, device, say
        self.contents = {run.scene: run.content for run in runs}
        self.client, self.seen, self.approved = stack.enter_context(_client(on, stack)), set(), []
        told = self._look()
        if not self.approved and not told:
            say(f"waiting for a worker of {on}")
        while not self.approved and (not told or self._workers() - self.seen):
            time.sleep(1)  # none has come, or it went while it was asked
            told += self._look()
        if not self.approved:
            raise HsiError(f"{on}: no worker that can train this; {'; '.join(told)}")

    @property
    def jobs(self) -> int:
        """How many runs are trained at a time."""
        return len(self.approved)

    def _workers(self):
        return set(self.client.scheduler_info(n_workers=-1)["workers"])

    def _look(self):
        """Take the workers that have come, or say why not."""
        new, told = sorted(self._workers() - self.seen), []
        self.seen |= set(new)
        words = dict(workers=new, on_error="return")
        found = self.client.run(_told, list(self.contents), **words) if new else {}
        here = _versions()
        for worker, said in found.items():
            if isinstance(said, OSError):  # it went while it was asked, and is asked again if it returns
                self.seen.discard(worker)
                continue
            if isinstance(said, Exception):
                raise said
            versions, contents = said
            other = [name for name, content in self.contents.items() if contents[name] != content]
            reason = f"it has {versions}, here are {here}" if versions != here else ""
            reason = reason or (_apart(other[0], contents[other[0]]) if other else "")
            if reason:
                told.append(f"worker {worker} is left out: {reason}")
                self.say(told[-1])
            else:
                self.client.run(_take, workers=[worker])
                self.approved.append(worker)
        return told

    def rows(self, work: "Work") -> Iterator[Row]:
        """Train: a run is a task that waits for those it starts from; only this process writes the store."""
        from distributed import TimeoutError as Later
        from distributed import wait

        sent, futures, runs = methods.mine(), {}, {}
        for run in work.runs:  # parents first
            starts = [futures.get(parent.id) or self._held(parent) for parent in parents(run)]
            words = dict(key=f"hsilib-{run.id}-{os.getpid()}", resources=ONE, priority=work.costs[run.id])
            futures[run.id] = self.client.submit(far_row, run, sent, self.device, *starts, **words)
            runs[futures[run.id].key] = run
        pending = set(futures.values())
        del futures
        while pending:
            done = set()
            with self.client.as_current(), suppress(Later):
                done = wait(list(pending), timeout=LOOK, return_when="FIRST_COMPLETED").done
            self._look()
            pending -= done
            for future in done:
                run = runs[future.key]
                if future.status not in ("finished", "error", "cancelled"):
                    pending.add(future)  # it was lost with its worker, and is trained again
                    continue
                if future.status != "finished":
                    reason = str(future.exception()).splitlines()[0]
                    yield {"run": run.id, "failed": f"{run}: {reason}"}
                    continue
                yield self._keep(run, future.result())

    def _held(self, parent):
        """The weights of a run that is stored here, as what a worker is sent."""
        return self.client.scatter({"weights": weights_path(parent).read_bytes()}, hash=False)

    def _keep(self, run, found):
        if "row" not in found:
            return found
        for name, data in found["files"].items():
            write_atomically(self.store.folder / name, data)
        if found["weights"]:
            write_atomically(weights_path(run), found["weights"])
        self.store.append(methods.get(run.method).family, found["row"])  # last: a row promises its files
        return found["row"]


def _client(on, stack) -> "Client":
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise HsiError("training on other machines needs Dask: pip install 'hsilib[dask]'") from None
    if not re.fullmatch(r"(tcp|tls|ws|wss|ucx)://\S+:\d+|local:.*", on):
        says = "the address of a Dask scheduler is like tcp://host:8786; local:4 starts four workers here"
        raise HsiError(f"{on}: {says}")
    try:
        if not on.startswith("local:"):
            return Client(on, timeout=PATIENCE, set_as_default=False)
        count = on.removeprefix("local:")
        if not count.isdigit() or not 1 <= int(count) <= 1000:
            raise HsiError(f"{on}: local: is followed by a number of workers, such as local:4")
        words = dict(threads_per_worker=1, dashboard_address=None, silence_logs=50)
        cluster = stack.enter_context(LocalCluster(n_workers=int(count), **words))
        return Client(cluster, set_as_default=False)
    except RuntimeError:
        says = "a script must call it under if __name__ == '__main__':"
        raise HsiError(f"{on}: the workers could not be started; {says}") from None
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise HsiError(f"{on}: no Dask scheduler answers there ({reason})") from None


def _versions():
    """The versions that decide a number, without what says for which processor torch was built."""
    return re.sub(r"\+\w+", "", f"hsilib {version('hsilib')} {machine.versions()}")


def _told(names):
    """What a worker says of itself: its versions, and what its scenes contain, or why it has none."""
    contents = {}
    for name in names:
        try:
            scenes.load_scene(name)
            contents[name] = scenes.place(name).content
        except HsiError as error:
            contents[name] = str(error)
    return _versions(), contents


def _apart(name, there):
    """What is wrong with a worker's scene, from its identity there, or why it has none."""
    if there.partition("@")[0] == name:
        return f"its files of the scene {name} are not those that are here"
    return f"{name}: {there}"


async def _take(dask_worker):
    await dask_worker.set_resources(**ONE)


def far_row(run: Run, sent: list, device: str, *starts: dict) -> dict[str, Any]:
    """Train one run on another machine; return its row, its files and its weights."""
    if any("failed" in start for start in starts):
        return {"run": run.id, "failed": f"{run}: what it starts from could not be trained"}
    methods.adopt(sent)
    for start, parent in zip(starts, parents(run)):
        if start["weights"] and not weights_path(parent).is_file():
            write_atomically(weights_path(parent), start["weights"])
    with tempfile.TemporaryDirectory() as folder:
        try:
            row = execute(run, Store(folder), device)[0]
        except HsiError as error:
            return {"run": run.id, "failed": str(error)}
        kept = [path for part in ("maps", "logs", "notes") for path in Path(folder).glob(f"{part}/*")]
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}
    path = weights_path(run)
    return {"row": row, "files": files, "weights": path.read_bytes() if path.is_file() else b""}
