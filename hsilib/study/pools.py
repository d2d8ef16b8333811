"""Where runs are trained: on the cores of this machine (joblib), or on the workers of a Dask scheduler.

Both give the rows as they come.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from hsilib import methods
from hsilib.errors import HsiError
from hsilib.identity import Run, parents
from hsilib.study.dask_pool import DaskPool
from hsilib.study.execute import execute
from hsilib.study.store import Store

if TYPE_CHECKING:
    from hsilib.study.sweep import Work

Row = dict[str, Any]  # of the store; or {"run": identity, "failed": why}


@contextmanager
def engine(
    on: str, runs: Sequence[Run], store: Store, jobs: int | None, device: str, say: Callable[[str], None]
) -> Iterator["LocalPool | DaskPool"]:
    """Open the place where runs are to be trained: ``on`` is empty for this machine, the address of a Dask
    scheduler, or ``local:4`` for four workers that are started here."""
    with ExitStack() as stack:
        yield DaskPool(stack, on, runs, store, device, say) if on else LocalPool(store, jobs, device)


def _orphans(level, failed):
    """Take those runs out of a level that start from one that failed; return rows that say so."""
    lost = [run for run in level if any(parent.id in failed for parent in parents(run))]
    for run in lost:
        level.remove(run)
        failed.add(run.id)
        yield {"run": run.id, "failed": f"{run}: what it starts from could not be trained"}


class LocalPool:
    """The cores of this machine."""

    def __init__(self, store: Store, jobs: int | None, device: str) -> None:
        self.store, self.jobs, self.device = store, jobs, device

    def rows(self, work: "Work") -> Iterator[Row]:
        """Train; parents before children, long runs first, so that the cores finish together."""
        from joblib import Parallel, delayed
        from joblib.externals.loky import BrokenProcessPool

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
                says += "stored; with fewer processes (--jobs) each has more memory"
                raise HsiError(says) from None


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
