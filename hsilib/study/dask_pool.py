"""Training on other machines: the workers of a Dask scheduler, which need no folder in common.

A worker is sent the weights that a run starts from; it sends back the row, what belongs to it, and weights.
This module needs Dask: pip install 'hsilib[dask]'.
"""

import asyncio
import concurrent.futures
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from distributed import Client, LocalCluster, WorkerPlugin, wait
from distributed.core import rpc
from distributed.protocol.pickle import dumps

from hsilib import methods
from hsilib.data import registry, scenes
from hsilib.errors import HsiError, reason, shown
from hsilib.files import write_atomically
from hsilib.identity import Run, parents
from hsilib.study import machine, rows
from hsilib.study.execute import weights_path
from hsilib.study.pools import attempt
from hsilib.study.store import PARTS, Store

if TYPE_CHECKING:
    from hsilib.study.sweep import Work

PATIENCE = 10  # seconds in which a scheduler answers at first
LOOK = 5  # seconds after which workers that have come or gone are looked at
SILENCE = 60  # seconds without an answer of the scheduler
LOADING = 180  # seconds in which a worker loads this package and the scenes


def _versions():
    """The versions that decide a number, without what says for which processor torch was built."""
    return re.sub(r"\+\w+", "", f"hsilib {version('hsilib')} {machine.versions()}")


def _lacks(versions, contents):
    """Say what this worker lacks to train runs of these scenes, or nothing."""
    if (mine := _versions()) != versions:
        return f"it has {mine}, here are {versions}"
    for name, content in contents.items():
        try:
            scenes.load_scene(name)
            if registry.place(name).content != content:
                return f"its files of the scene {name} are not those that are here"
        except Exception as error:
            return f"{name}: {reason(error)}"
    return ""


class Approval(WorkerPlugin):
    """Gives a worker, now or when it joins, what a run takes, if it has the same versions and scenes."""

    def __init__(self, topic: str, contents: dict[str, str]) -> None:
        self.topic, self.versions, self.contents = topic, _versions(), contents

    def setup(self, worker: Any) -> None:
        self.task = asyncio.get_running_loop().create_task(self.look(worker))

    async def look(self, worker: Any) -> None:
        lacks = await asyncio.to_thread(_lacks, self.versions, self.contents)
        await worker.set_resources(hsilib=0 if lacks else 1)  # one run at a time in a process
        worker.log_event(self.topic, [worker.address, lacks])


class DaskPool:
    """The workers of a Dask scheduler that have the same versions and the same scenes as this machine."""

    def __init__(
        self, stack: ExitStack, on: str, runs: Sequence[Run], store: Store, device: str, say: Callable
    ) -> None:
        self.on, self.store, self.device, self.say = on, store, device, say
        self.client, self.topic = _client(on, stack), f"hsilib-{secrets.token_hex(4)}"
        self.lacks: dict[str, str] = {}  # of each worker that is there and has answered
        approval = dumps(Approval(self.topic, {run.scene: run.content for run in runs}))
        words = dict(plugin=approval, name="hsilib", idempotent=False)
        self._ask(self.client.scheduler.register_worker_plugin, **words)
        late = time.monotonic() + LOADING
        if not self._look() and not self.lacks:
            say(f"waiting for a worker of {on}")
        while self._look() or not self.lacks:  # one is still loading, or none has come
            if self.jobs and time.monotonic() > late:
                break
            time.sleep(0.2)
        if not self.jobs:
            told = "; ".join(f"worker {worker} is left out: {lacks}" for worker, lacks in self.lacks.items())
            raise HsiError(f"{on}: no worker that can train this; {told}")

    @property
    def jobs(self) -> int:
        """How many runs are trained at a time."""
        return sum(not lacks for lacks in self.lacks.values())

    def _ask(self, call, **words):
        """What the scheduler answers; one that is gone or silent ends the sweep."""
        try:
            if self.client.status == "running":
                return self.client.sync(call, callback_timeout=SILENCE, **words)
            says = "is gone"
        except OSError as error:
            says = f"has said nothing for {SILENCE} s" if isinstance(error, TimeoutError) else "is gone"
        goes_on = "what came is stored, the same command goes on from there"
        raise HsiError(f"{self.on}: the scheduler {says}; {goes_on}")

    def _look(self):
        """Say which workers are gone or left out; return those that have not answered."""
        workers = self._ask(self.client.scheduler.identity)["workers"].keys()
        answers = dict(answer for _, answer in self._ask(self.client.scheduler.events, topic=self.topic))
        known, self.lacks = self.lacks, {worker: answers[worker] for worker in workers & answers.keys()}
        for worker in known.keys() - workers:
            if not known[worker]:
                self.say(f"worker {worker} is gone; another trains what it trained, and is waited for")
        for worker in self.lacks.keys() - known:
            if self.lacks[worker]:
                self.say(f"worker {worker} is left out: {self.lacks[worker]}")
        return workers - answers.keys()

    def rows(self, work: "Work") -> Iterator[dict[str, Any]]:
        """Train: a run is a task that waits for those it starts from; only this process writes the store."""
        sent, futures = methods.mine(), {}
        for run in work.runs:  # parents first
            for parent in parents(run):
                if parent.id not in futures:  # it is stored here
                    weights = {"weights": weights_path(parent).read_bytes()}
                    futures[parent.id] = self.client.scatter(weights, hash=False, timeout=SILENCE)
            starts = [futures[parent.id] for parent in parents(run)]
            words = dict(key=f"hsilib-{run.id}-{os.getpid()}", priority=work.costs[run.id])
            words["resources"] = {"hsilib": 1}
            futures[run.id] = self.client.submit(far_row, run, sent, self.device, *starts, **words)
        pending = {futures[run.id]: run for run in work.runs}
        del futures  # a result that is kept here is forgotten there
        while pending:
            with self.client.as_current(), suppress(TimeoutError, concurrent.futures.CancelledError):
                wait(list(pending), timeout=LOOK, return_when="FIRST_COMPLETED")
            self._look()  # at the scheduler first, for a lost one takes all tasks along
            for future in [future for future in pending if future.done()]:
                try:
                    error = future.exception(timeout=SILENCE)
                    found = None if error else future.result(timeout=SILENCE)
                except TimeoutError:
                    continue  # it was lost with its worker just now, and is trained again
                run = pending.pop(future)
                found = {"run": run.id, "failed": f"{run}: {reason(error)}"} if error else found
                yield self._keep(run, found)

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


class Quiet(Client):
    """A client that does not wait, when it is forgotten, for what does not answer."""

    def __del__(self) -> None:
        pass


async def _answer(address):
    async with rpc(address) as scheduler:
        await scheduler.identity()


def _client(on, stack):
    local = re.fullmatch(r"local:([1-9]\d{0,2})", on)
    if not local and not re.fullmatch(r"(tcp|tls|ws|wss|ucx)://\S+:\d+", on):
        says = "the address of a Dask scheduler is like tcp://host:8786; local:4 starts four workers here"
        raise HsiError(f"{on}: {says}")
    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they meet is told in one line

    try:
        if local:
            words = dict(threads_per_worker=1, dashboard_address=None, silence_logs=50)
            on = stack.enter_context(LocalCluster(n_workers=int(local[1]), **words))
        else:  # a client would wait for what listens there and says nothing
            asyncio.run(asyncio.wait_for(_answer(on), PATIENCE))
        client = Quiet(on, timeout=PATIENCE, set_as_default=False)
    except RuntimeError:
        says = "a script must call it under if __name__ == '__main__':"
        raise HsiError(f"{on}: the workers could not be started; {says}") from None
    except Exception as error:  # another program may answer anything
        raise HsiError(f"{on}: no Dask scheduler answers there ({reason(error)})") from None

    @stack.callback
    def close():
        with suppress(OSError):  # a lost scheduler is not waited for
            client.close(timeout=PATIENCE)

    return client


def far_row(run: Run, sent: list, device: str, *starts: dict) -> dict[str, Any]:
    """Train one run on another machine; return the files of its folder and its weights."""
    if any("failed" in start for start in starts):
        return {"run": run.id, "failed": f"{run}: what it starts from could not be trained"}
    methods.adopt(sent)
    for start, parent in zip(starts, parents(run)):
        if start["weights"] and not weights_path(parent).is_file():
            write_atomically(weights_path(parent), start["weights"])
    with tempfile.TemporaryDirectory() as folder:
        row = attempt(run, store := Store(folder), device)
        if "failed" in row:
            return row
        files = store.files(run.id)
    path = weights_path(run)
    return {"files": files, "weights": path.read_bytes() if path.is_file() else b""}
