"""How a study grows with the number of workers: reckoned from what its runs took."""

import heapq
from collections.abc import Iterable

from hsilib.identity import Run, parents
from hsilib.study.store import Store


def reckoned(seconds: dict[Run, float], workers: int) -> float:
    """Seconds of a study on so many workers, when a run waits for those that it starts from, and the longest
    of the others comes first.

    >>> reckoned({run: 60.0 for run in plan("synthetic_fields_small", ["disjoint"], ["mlp"], seeds=4)}, 2)
    120.0
    """
    known = {run.id for run in seconds}
    waits = {run.id: {parent.id for parent in parents(run)} & known for run in seconds}
    costs = {run.id: cost for run, cost in seconds.items()}
    heirs = {identity: [] for identity in known}
    for identity, starts in waits.items():
        for start in starts:
            heirs[start].append(identity)
    ready = [(-costs[identity], identity) for identity, starts in waits.items() if not starts]
    heapq.heapify(ready)
    now, busy = 0.0, []  # (end, identity)
    while ready or busy:
        while ready and len(busy) < workers:
            cost, identity = heapq.heappop(ready)
            heapq.heappush(busy, (now - cost, identity))
        now, done = heapq.heappop(busy)
        for heir in heirs[done]:
            waits[heir].discard(done)
            if not waits[heir]:
                heapq.heappush(ready, (-costs[heir], heir))
    return now


def path_of(seconds: dict[Run, float]) -> float:
    """Seconds of the longest chain of runs that wait for each other: no number of workers is faster."""
    return reckoned(seconds, len(seconds))


def declared_seconds(runs: Iterable[Run], store: Store) -> dict[Run, float]:
    """What each of these runs took that the store holds, with those that they start from."""
    took = store.rows().drop_duplicates("run").set_index("run")["seconds"]
    found, stack = {}, list(runs)
    while stack:
        run = stack.pop()
        if run not in found and run.id in took:
            found[run] = float(took[run.id])
            stack += parents(run)
    return found
