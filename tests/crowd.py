"""Four writers and four readers on one store: no run is lost or double, and nobody sees half of one.

The suite does it for seconds (test_kills.py); ``make kills`` for five minutes: ``python tests/crowd.py [seconds]``.
"""

import contextlib
import io
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

MANY = 4


def row(writer, number):
    """A row of a run that never was."""
    from hsilib.study.rows import COLUMNS, EMPTY

    return dict.fromkeys(COLUMNS, 1) | dict.fromkeys(EMPTY, "") | {"run": f"{writer:04x}{number:08x}", "seed": number}


def write(folder, writer, until):
    """Keep rows until the time is over; return what they were."""
    from hsilib.study.store import Store

    store, kept = Store(folder), []
    while time.time() < until:
        kept.append(row(writer, len(kept)))
        store.keep(kept[-1], "baselines")
    return [one["run"] for one in kept]


def read(folder, until):
    """Read until the time is over: there are ever more rows; return how often that was."""
    from hsilib.study.store import Store

    seen = looks = 0
    with contextlib.redirect_stderr(io.StringIO()) as said:
        while time.time() < until:
            rows = Store(folder).rows()
            assert len(rows) >= seen and rows["run"].is_unique
            seen, looks = len(rows), looks + 1
    assert not said.getvalue(), said.getvalue()[:300]
    return looks


def main(seconds=300):
    """Let them write and read, and count."""
    from hsilib.study.store import Store

    os.environ["HSILIB_PUBLISHED"] = ""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2 * MANY, context) as crowd:
        until = time.time() + float(seconds) + 5
        writers = [crowd.submit(write, folder, writer, until) for writer in range(MANY)]
        readers = [crowd.submit(read, folder, until) for _ in range(MANY)]
        wanted = {run for one in writers for run in one.result()}
        looks = sum(one.result() for one in readers)
        there = Store(folder).rows()["run"]
        left = [path.name for path in Path(folder).iterdir() if path.name not in wanted]
    right = set(there) == wanted and there.is_unique and not left
    print(f"{len(wanted)} rows by {MANY} writers, {looks} looks of {MANY} readers: {'all right' if right else 'WRONG'}")
    return not right


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
