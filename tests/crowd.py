"""Four writers and four readers on one store: no run is lost or double, and nobody sees half of one.

The suite does it for seconds (test_kills.py); ``make kills`` for five minutes: ``python tests/crowd.py [seconds]``.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

MANY = 4


def row(writer, number):
    """A row of a run that never was."""
    from hsilib.study.rows import COLUMNS, EMPTY

    return dict.fromkeys(COLUMNS, 1) | dict.fromkeys(EMPTY, "") | {"run": f"{writer:04x}{number:08x}", "seed": number}


def write(folder, writer, until, done):
    from hsilib.study.store import Store

    store, number = Store(folder), 0
    while time.time() < until:
        store.keep(row(writer, number), "baselines")
        number += 1
    done.put((writer, number))


def read(folder, until, done):
    import contextlib
    import io

    from hsilib.study.store import Store

    seen = looks = 0
    with contextlib.redirect_stderr(io.StringIO()) as said:
        while time.time() < until:
            rows = Store(folder).rows()
            assert len(rows) >= seen and rows["run"].is_unique
            seen, looks = len(rows), looks + 1
    assert not said.getvalue(), said.getvalue()[:300]
    done.put((-1, looks))


def main(seconds=300):
    """Let them write and read, and count."""
    from hsilib.study.store import Store

    os.environ["HSILIB_PUBLISHED"] = ""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        until, done = time.time() + float(seconds) + 5, context.Queue()
        crowd = [context.Process(target=write, args=(folder, writer, until, done)) for writer in range(MANY)]
        crowd += [context.Process(target=read, args=(folder, until, done)) for _ in range(MANY)]
        for one in crowd:
            one.start()
        told = [done.get(timeout=float(seconds) + 300) for _ in crowd]
        for one in crowd:
            one.join()
        wanted = {row(writer, number)["run"] for writer, count in told if writer >= 0 for number in range(count)}
        there = Store(folder).rows()["run"]
        left = [path.name for path in Path(folder).iterdir() if path.name not in wanted]
        looks = sum(count for writer, count in told if writer < 0)
    right = set(there) == wanted and there.is_unique and not left and not any(one.exitcode for one in crowd)
    print(f"{len(wanted)} rows by {MANY} writers, {looks} looks of {MANY} readers: {'all right' if right else 'WRONG'}")
    return not right


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
