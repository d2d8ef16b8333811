"""Training on other machines: the workers of a Dask scheduler, which need no folder in common.

A worker is sent the weights that a run starts from; it sends back the row, what belongs to it, and weights.
"""

import asyncio
import concurrent.futures
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from hsilib import methods
from hsilib.data import registry, scenes
from hsilib.errors import HsiError, reason, shown
from hsilib.files import write_atomically
from hsilib.identity import Run, parents
from hsilib.study import machine, rows
from hsilib.study.execute import execute, weights_path
from hsilib.study.store import PARTS, Store

if TYPE_CHECKING:
    from distributed import Client

    from hsilib.study.sweep import Work

ONE = {"hsilib": 1}  # what an approved worker has and a run takes: one run at a time in a process
PATIENCE = 10  # seconds in which a scheduler answers at first
LOOK = 5  # seconds after which workers that have come are looked at
SILENCE = 60  # seconds without a word, of a scheduler or a worker
LOADING = 180  # seconds in which a worker loads this package and the scenes
GOES_ON = "what came is stored, the same command goes on from there"


def _within(seconds: float, calls: dict[Any, Callable]) -> dict[Any, Any]:
    """Return what calls give, or the errors they end in, each in a thread; what takes longer lacks."""
    answers = {}

    def call(key):
        try:
            answers[key] = calls[key]()
        except BaseException as error:
            answers[key] = error

    threads = [threading.Thread(target=call, args=(key,), daemon=True) for key in calls]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    return dict(answers)


class DaskPool:
    """The workers of a Dask scheduler that have the same versions and the same scenes as this machine."""

    def __init__(
        self, stack: ExitStack, on: str, runs: Sequence[Run], store: Store, device: str, say: Callable
    ) -> None:
        self.on, self.store, self.device, self.say = on, store, device, say
        self.contents = {run.scene: run.content for run in runs}
        self.client, self.seen, self.approved = _client(on, stack), set(), []
        self.heard: dict[str, tuple] = {}  # worker -> its last sign, when that came, whether silence was said
        told = self._look()
        if not self.approved and not told:
            say(f"waiting for a worker of {on}")
        while not self.approved and (not told or set(self._workers()) - self.seen):
            time.sleep(1)  # none has come, or it went while it was asked
            told += self._look()
        if not self.approved:
            raise HsiError(f"{on}: no worker that can train this; {'; '.join(told)}")

    @property
    def jobs(self) -> int:
        """How many runs are trained at a time."""
        return len(self.approved)

    def _ask(self, call):
        """What the scheduler answers; one that is gone or silent ends the sweep."""
        found = _within(SILENCE, {"": call})
        if self.client.status != "running":
            raise HsiError(f"{self.on}: the scheduler is gone; {GOES_ON}")
        if not found:
            raise HsiError(f"{self.on}: the scheduler has said nothing for {SILENCE} s; {GOES_ON}")
        if isinstance(found[""], BaseException):
            raise found[""]
        return found[""]

    def _workers(self):
        return self._ask(lambda: self.client.scheduler_info(n_workers=-1))["workers"]

    def _listen(self, workers):
        """Say which workers are gone, or were not heard of for a minute."""
        now = time.monotonic()
        for worker in [worker for worker in self.approved if worker not in workers]:
            self.approved.remove(worker)
            self.heard.pop(worker, None)
            self.say(f"worker {worker} is gone; what it trained is trained by another, which is waited for")
        for worker in self.approved:
            sign = workers[worker].get("last_seen")
            last, since, said = self.heard.get(worker, (None, now, False))
            if sign != last:
                since, said = now, False
            elif now - since > SILENCE and not said:
                self.say(f"worker {worker} was not heard of for {now - since:.0f} s; it is waited for")
                said = True
            self.heard[worker] = sign, since, said

    def _look(self):
        """Take the workers that have come, or say why not."""
        workers, told = self._workers(), []
        self._listen(workers)
        new = sorted(set(workers) - self.seen)
        self.seen = set(workers)  # one that went is asked again if it returns
        names, ask = list(self.contents), self.client.run
        calls = {worker: lambda w=worker: ask(_told, names, workers=[w], on_error="return") for worker in new}
        found, here = _within(LOADING, calls), _versions()
        for worker in new:
            said = found.get(worker, "")
            said = said.get(worker, OSError()) if isinstance(said, dict) else said
            if isinstance(said, OSError):  # it went while it was asked
                self.seen.discard(worker)
                continue
            if isinstance(said, BaseException):
                raise said
            versions, contents = said or ("", {})
            other = [name for name, content in self.contents.items() if contents.get(name) != content]
            lacks = f"it has {versions}, here are {here}" if versions != here else ""
            lacks = lacks or (_why_not(other[0], contents[other[0]]) if other else "")
            lacks = lacks if said else f"it gave no answer in {LOADING} s"
            if lacks:
                told.append(f"worker {worker} is left out: {lacks}")
                self.say(told[-1])
            else:
                self._ask(lambda taken=[worker]: self.client.run(_take, workers=taken))
                self.approved.append(worker)
        return told

    def rows(self, work: "Work") -> Iterator[dict[str, Any]]:
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
        ends = Later, asyncio.CancelledError, concurrent.futures.CancelledError
        while pending:
            with self.client.as_current(), suppress(*ends):
                wait(list(pending), timeout=LOOK, return_when="FIRST_COMPLETED")
            self._look()  # at the scheduler first, for a lost one takes all tasks along
            done = {future for future in pending if future.status != "pending"}
            pending -= done
            for future in done:
                run = runs[future.key]
                if future.status not in ("finished", "error", "cancelled"):
                    pending.add(future)  # it was lost with its worker, and is trained again
                    continue
                if future.status != "finished":
                    why = self._ask(lambda ended=future: [ended.exception()])
                    yield {"run": run.id, "failed": f"{run}: {reason(why[0])}"}
                    continue
                yield self._keep(run, self._ask(future.result))

    def _held(self, parent):
        """The weights of a run that is stored here, as what a worker is sent."""
        weights = {"weights": weights_path(parent).read_bytes()}
        return self._ask(lambda: self.client.scatter(weights, hash=False))

    def _keep(self, run, found):
        if "failed" in found:
            return found
        other = set(found["files"]) - {"run.json", *PARTS}
        table = rows.of_json_files([found["files"].get("run.json", b"")])[0]
        if other or list(table["run"]) != [run.id]:  # nothing else is written, wherever it would lie
            return {"run": run.id, "failed": f"{run}: a worker sent {shown(min(other or ['another run']))}"}
        if found["weights"]:
            write_atomically(weights_path(run), found["weights"])
        self.store.take(run.id, found["files"])  # last: a run that others start from has its weights
        return table.iloc[0].to_dict()


def _client(on, stack) -> "Client":
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise HsiError("training on other machines needs Dask: pip install 'hsilib[dask]'") from None
    if not re.fullmatch(r"(tcp|tls|ws|wss|ucx)://\S+:\d+|local:.*", on):
        says = "the address of a Dask scheduler is like tcp://host:8786; local:4 starts four workers here"
        raise HsiError(f"{on}: {says}")

    class Quiet(Client):
        def __del__(self):  # it would wait for what does not answer, and print that
            pass

    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they meet is told in one line
    if not on.startswith("local:"):
        words = dict(timeout=PATIENCE / 2, set_as_default=False)
        found = _within(PATIENCE, {"": lambda: Quiet(on, **words)})
        client = found.get("", TimeoutError(f"nothing in {PATIENCE} s"))
        if isinstance(client, BaseException):
            raise HsiError(f"{on}: no Dask scheduler answers there ({reason(client)})") from None
    else:
        count = on.removeprefix("local:")
        if not count.isdigit() or not 1 <= int(count) <= 1000:
            raise HsiError(f"{on}: local: is followed by a number of workers, such as local:4")
        words = dict(threads_per_worker=1, dashboard_address=None, silence_logs=50)
        try:
            cluster = stack.enter_context(LocalCluster(n_workers=int(count), **words))
            client = Client(cluster, set_as_default=False)
        except RuntimeError:
            says = "a script must call it under if __name__ == '__main__':"
            raise HsiError(f"{on}: the workers could not be started; {says}") from None
    stack.callback(_within, PATIENCE, {"": client.close})  # a lost scheduler is not waited for
    return client


def _versions():
    """The versions that decide a number, without what says for which processor torch was built."""
    return re.sub(r"\+\w+", "", f"hsilib {version('hsilib')} {machine.versions()}")


def _told(names):
    """What a worker says of itself: its versions, and what its scenes contain, or why it has none."""
    contents = {}
    for name in names:
        try:
            scenes.load_scene(name)
            contents[name] = registry.place(name).content
        except HsiError as error:
            contents[name] = str(error)
    return _versions(), contents


def _why_not(name, content):
    """Say what is wrong with a worker's scene, from its identity on that worker, or why it has none."""
    if content.partition("@")[0] == name:
        return f"its files of the scene {name} are not those that are here"
    return f"{name}: {content}"


async def _take(dask_worker):
    await dask_worker.set_resources(**ONE)


def far_row(run: Run, sent: list, device: str, *starts: dict) -> dict[str, Any]:
    """Train one run on another machine; return the files of its folder and its weights."""
    if any("failed" in start for start in starts):
        return {"run": run.id, "failed": f"{run}: what it starts from could not be trained"}
    methods.adopt(sent)
    for start, parent in zip(starts, parents(run)):
        if start["weights"] and not weights_path(parent).is_file():
            write_atomically(weights_path(parent), start["weights"])
    with tempfile.TemporaryDirectory() as folder:
        try:
            execute(run, store := Store(folder), device)
        except HsiError as error:
            return {"run": run.id, "failed": str(error)}
        files = store.files(run.id)
    path = weights_path(run)
    weights = path.read_bytes() if path.is_file() else b""
    return {"files": files, "weights": weights}
