"""Kills: a small study is killed, again and again, and finished; it must equal the undisturbed one, file by file.

A process kills itself at a chosen place: before a file is opened, written, flushed, renamed, or after that; or its
parent kills it at a random moment.  The suite tries a few (test_kills.py); ``make kills`` tries many:
``python tests/kills.py [how many] [seed]``.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

SMALL = "synthetic_urban_small"
MEASURED = "run scene split method ratio seed options oa top5 aa kappa f1 train test leakage params macs bytes".split()


def study(folder, jobs=1):
    """Three runs, and the networks that two of them start from."""
    from hsilib import Store, collect, plan
    from hsilib.data.scenes import load_scene

    os.environ["HSILIB_CACHE"] = str(folder / "cache")
    load_scene.cache_clear()
    words = dict(ratios=[0], seeds=1, epochs=1)
    runs = plan(SMALL, ["random"], ["mlp"], **words)
    for source in ("perceptron", "lens_2k"):
        runs += plan(SMALL, ["random"], ["static"], options={"of": source}, **words)
    collect(runs, Store(folder / "store"), jobs=jobs, say=lambda text: None)


def armed(place):
    """Let this process end itself at one of the places where something is written; return what counts them."""
    from hsilib import files

    passed = [0]

    def here():
        if passed[0] == place:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        passed[0] += 1

    def around(owner, name):
        real = getattr(owner, name)

        def wrapped(*args, **words):
            here()
            try:
                return real(*args, **words)
            finally:
                here()

        setattr(owner, name, wrapped)

    for name in ("fsync", "replace", "rename", "unlink"):
        around(os, name)
    around(files.Path, "mkdir")
    return passed


def child(folder, place=None, jobs=1):
    """Run the study in a process of its own group, which ends itself at a place; return the process's number."""
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    passed = armed(place)
    code = 1
    try:
        study(folder, jobs)
        (folder / "places").write_text(str(passed[0]))
        code = 0
    finally:
        os._exit(code)


def ended(pid):
    """Wait for a process; return whether it came to its end."""
    return os.waitpid(pid, 0)[1] == 0


def alive(folder):
    """The processes that work for a folder still."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if str(folder).encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def state(folder):
    """All that a finished study leaves: its rows as far as they are decided, and its files, byte by byte.

    What a killed process was writing has a name with a dot, and is removed after a day.
    """
    files = [path for part in ("store", "cache") for path in (folder / part).rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    held = {name: path.read_bytes() for name, path in names.items() if "/." not in name}
    for name in [name for name in held if name.endswith("run.json")]:
        said = json.loads(held[name])
        held[name] = [said["row"][column] for column in MEASURED] + [said["measured"]]
    return held


def attempt(whole, place, seconds, jobs, temporary):
    """Kill a study at a place or after some seconds, twice, and finish it; say what is wrong, if anything."""
    folder = Path(tempfile.mkdtemp(dir=temporary))
    os.environ["HSILIB_KILLS"] = str(folder)  # by which its processes are known
    for _ in range(2):
        pid = child(folder, place, jobs)
        if seconds is not None:
            time.sleep(seconds)
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        ended(pid)
        if (folder / "store").is_dir():
            from hsilib import Store

            Store(folder / "store").rows()  # never torn
    late = time.time() + 10
    while (left := alive(folder)) and time.time() < late:
        time.sleep(0.2)
    if left:
        return f"alive after 10 s: {left}"
    if not ended(child(folder, None, jobs)):
        return "it could not be finished"
    here = state(folder)
    return ", ".join(sorted(key for key in {*here, *whole} if here.get(key) != whole.get(key))[:5])


def main(count=300, seed=None):
    """Try all places, then random moments; one kill in fifteen meets two workers."""
    for name in ("OWN", "DATA", "RESULTS"):
        os.environ[f"HSILIB_{name}"] = tempfile.mkdtemp()
    os.environ["HSILIB_PUBLISHED"] = ""
    import torch
    from hsilib.study import pools  # noqa: F401 - all of it is imported once, and not in each process

    torch.set_num_threads(1)
    count, draw = int(count), random.Random(seed := int(seed or time.time()))
    with tempfile.TemporaryDirectory() as temporary:
        first, start = Path(temporary) / "whole", time.time()
        first.mkdir()
        assert ended(child(first))
        took, places = time.time() - start, int((first / "places").read_text())
        whole = state(first)
        print(f"seed {seed}; {len(whole)} rows and files, {places} places, {took:.1f} s undisturbed", flush=True)
        step, wrong = max(1, places // max(1, count // 2)), 0
        todo = [(place, None, 1) for place in range(draw.randrange(step), places, step)][: count // 2]
        two = min(20, count // 10)
        todo += [(None, draw.uniform(0, 1.1 * took), 1) for _ in range(count - len(todo) - two)]
        todo += [(None, draw.uniform(0, 12), 2) for _ in range(two)]
        for number, (place, seconds, jobs) in enumerate(todo, 1):
            where = f"place {place}" if seconds is None else f"{seconds:.2f} s"
            if says := attempt(whole, place, seconds, jobs, temporary):
                wrong += 1
                print(f"killed at {where}, {jobs} jobs: {says}", flush=True)
            if number % 50 == 0:
                print(f"{number} of {len(todo)}", flush=True)
    print(f"{len(todo)} studies killed twice, {wrong} not as undisturbed")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
