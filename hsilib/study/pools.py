"""Training on the cores of this machine, by joblib.  What gives rows from other machines is ``dask_pool``."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hsilib import methods
from hsilib.errors import HsiError, starved
from hsilib.identity import Method, Run, parents
from hsilib.study.execute import execute
from hsilib.study.store import Store

if TYPE_CHECKING:
    from hsilib.study.sweep import Work

Row = dict[str, Any]  # of the store; or {"run": identity, "failed": why}


def local_rows(work: "Work", store: Store, device: str) -> Iterator[Row]:
    """Train, and give the rows as they come: parents before children, long runs first, so that the cores
    finish together."""
    from joblib import Parallel, delayed
    from joblib.externals.loky import BrokenProcessPool

    sent = methods.mine() if work.jobs > 1 else []  # what lives in a notebook, other processes are given
    failed = set()
    for level in work.levels:
        lost = [run for run in level if any(parent.id in failed for parent in parents(run))]
        failed |= {run.id for run in lost}
        yield from ({"run": r.id, "failed": f"{r}: what it starts from could not be trained"} for r in lost)
        level = sorted((run for run in level if run not in lost), key=lambda run: -work.costs[run.id])
        words = dict(return_as="generator_unordered", pre_dispatch=work.jobs)
        pool = Parallel(work.jobs, **words, initializer=_watch, initargs=(os.getpid(),))
        try:
            for row in pool(delayed(attempt)(run, store, device, sent) for run in level):
                failed |= {row["run"]} if "failed" in row else set()
                yield row
        except BrokenProcessPool:
            says = "a process that trains was killed, perhaps for want of memory; what is finished is stored"
            raise HsiError(f"{says}; with fewer processes (--jobs) each has more memory") from None


def attempt(run: Run, store: Store, device: str, sent: Sequence[Method] = ()) -> Row:
    """Train one run; what cannot be trained comes back as a text, so that the others go on."""
    methods.adopt(sent)
    try:
        return execute(run, store, device)[0]  # a model does not cross the process border
    except HsiError as error:
        return {"run": run.id, "failed": str(error)}
    except (MemoryError, RuntimeError) as error:
        if not starved(error):
            raise
        return {"run": run.id, "failed": f"{run}: it needs more memory than there is"}


def _watch(parent):
    """Let a worker end when the process that started it is gone; on Windows a process does not see that."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.name != "nt":
        threading.Thread(target=watch, daemon=True).start()
