"""Training on other machines: real schedulers and workers, each worker with folders of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import jupytext
import pytest
from hsilib.__main__ import main
from hsilib.errors import HsiError
from hsilib.identity import parents
from hsilib.study.execute import weights_path
from hsilib.study.runs import make_run, plan
from hsilib.study.store import Store
from hsilib.study.sweep import collect

pytest.importorskip("distributed", reason="needs Dask: pip install 'hsilib[dask]'")
from distributed import Client  # noqa: E402
from hsilib.study import dask_pool  # noqa: E402

SMALL, MACHINES = "synthetic_urban_small", Path(__file__).parents[1] / "notebooks" / "19-machines.md"
STUDY = f"""
[[part]]
title = "one"
scenes = ["{SMALL}"]
splits = ["random"]
methods = ["mlp"]
seeds = 10
epochs = 3
"""
OTHER = """
import hsilib.study.machine as machine
machine.versions = lambda: "python 3.11.7 torch 1.0.0 numpy 2.0.0 scikit-learn 1.0.0"
"""


def start(stack, *words, folder=None):
    """A process of Dask's, with folders of its own, that ends with the test."""
    own = {f"HSILIB_{part}": str(folder / part.lower()) for part in ("CACHE", "RESULTS", "DATA", "OWN")} if folder else {}
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    command = [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]]
    process = subprocess.Popen(command, env=os.environ | own, cwd=folder, **quiet, start_new_session=True)

    def end():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    stack.callback(end)
    return process


@pytest.fixture
def scheduler(monkeypatch):
    """(address, function that starts a worker in a folder)."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "60 s")  # torch may be long to import
    with contextlib.ExitStack() as stack, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        process = start(stack, "dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        address = f"tcp://127.0.0.1:{port}"

        def worker(folder, *words):
            folder.mkdir(exist_ok=True)
            usual = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder)]
            return start(stack, "dask_worker", address, *usual, *words, folder=folder)

        worker.scheduler = process
        yield address, worker


@pytest.mark.nightly
def test_workers_without_a_common_folder_give_the_rows_of_this_machine(scheduler, tmp_path):
    """Forty runs with teachers, on two workers; one is killed in the middle, and one of another torch is left out."""
    address, worker = scheduler
    (tmp_path / "other.py").write_text(OTHER)
    lost = worker(tmp_path / "one")
    worker(tmp_path / "two")
    worker(tmp_path / "three", "--preload", str(tmp_path / "other.py"))
    names = ["mlp", "scratch", "l1", "soft_targets"]
    runs = plan(SMALL, ["disjoint"], names, [98], seeds=4, epochs=1) + plan(SMALL, ["random"], ["mlp"], seeds=24, epochs=1)
    said = []

    def say(text):
        said.append(text)
        if text.startswith("[12/"):
            os.killpg(lost.pid, signal.SIGKILL)

    with Client(address, timeout=30, set_as_default=False) as client:
        client.wait_for_workers(3, timeout=60)
    there = collect(runs, Store(tmp_path / "far"), on=address, say=say)
    assert len(runs) == 40 and any("left out: it has hsilib" in text and "torch 1.0.0" in text for text in said)
    assert any(text.startswith("[12/44]") for text in said), "four dense networks are taught from"
    for folder in ("one", "two"):
        assert not (tmp_path / folder / "results").exists(), "only the client keeps rows"
    for path in weights_path(runs[0]).parent.glob("*"):
        path.unlink()
    here = collect(runs, Store(tmp_path / "near"), say=lambda text: None)
    assert there.drop(columns="seconds").equals(here.drop(columns="seconds"))
    far, near = (Store(tmp_path / side) for side in ("far", "near"))
    for run in runs:
        assert far.files(run.id) | {"run.json": b""} == near.files(run.id) | {"run.json": b""}, run


@pytest.mark.parametrize(
    "on, says",
    [("local:none", "local:4 starts four workers"), ("local:0", "is like tcp://host:8786"),
     ("tcp://127.0.0.1:1", "no Dask scheduler"), ("nonsense://x", "is like tcp://host:8786")],
)  # fmt: skip
def test_what_cannot_be_is_one_line(on, says, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(dask_pool, "PATIENCE", 1)
    (tmp_path / "part.toml").write_text(STUDY)
    assert main(["study", str(tmp_path / "part.toml"), "--on", on]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1


def test_a_study_is_reckoned_for_any_number_of_workers():
    runs = plan(SMALL, ["disjoint"], ["mlp", "soft_targets"], [98], seeds=2, epochs=1)
    mlps, students = [r for r in runs if r.method == "mlp"], [r for r in runs if r.method == "soft_targets"]
    seconds = dict.fromkeys(mlps, 1.0) | dict.fromkeys(students, 2.0) | {parents(r)[0]: 5.0 for r in students}
    (cell,) = (cell.source for cell in jupytext.read(MACHINES).cells if "def reckoned" in cell.source)
    exec(cell, names := {})
    reckoned = names["reckoned"]
    assert reckoned(seconds, 1) == sum(seconds.values()) == 16
    assert reckoned(seconds, 2) == 8 and reckoned(seconds, len(seconds)) == 7, "a student waits for its teacher"


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_that_is_no_scheduler_is_said_in_one_line(says, tmp_path, monkeypatch):
    """A web server waits to be asked, or answers something else; so does the dashboard."""
    monkeypatch.setattr(dask_pool, "PATIENCE", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def greet():
            held.append(server.accept()[0])
            held[0].sendall(says)

        threading.Thread(target=greet, daemon=True).start()
        on, start = f"tcp://127.0.0.1:{server.getsockname()[1]}", time.monotonic()
        with pytest.raises(HsiError, match="no Dask scheduler answers there"), contextlib.ExitStack() as stack:
            dask_pool._client(on, stack)
        assert time.monotonic() - start < 10
        held[0].close()


class Scheduled:
    """A client whose scheduler knows of two workers, or is gone, or silent."""

    scheduler, workers = SimpleNamespace(identity="identity", events="events"), {"tcp://a:1": {}, "tcp://b:1": {}}

    def __init__(self, status="running", error=None):
        self.status, self.error = status, error

    def sync(self, call, callback_timeout, topic=""):
        if self.error:
            raise self.error
        said = [(0, ["tcp://a:1", ""]), (1, ["tcp://b:1", "its files are others"])]
        return {"workers": self.workers} if call == "identity" else said


def lone(client, said=None, store=None):
    pool, say = object.__new__(dask_pool.DaskPool), None if said is None else said.append
    vars(pool).update(on="tcp://a:8786", client=client, say=say, store=store, topic="x", lacks={})
    return pool


@pytest.mark.parametrize(
    "status, error, says",
    [("connecting", None, "is gone"), ("running", OSError(), "is gone"), ("running", TimeoutError(), "has said nothing")],
)
def test_a_lost_or_silent_scheduler_ends_in_one_line(status, error, says):
    with pytest.raises(HsiError, match=f"the scheduler {says}.*; what came is stored"):
        lone(Scheduled(status, error))._look()


def test_a_worker_that_is_left_out_or_gone_is_said_once():
    said, client = [], Scheduled()
    pool = lone(client, said)
    assert not pool._look() and not pool._look() and pool.jobs == 1
    assert said == ["worker tcp://b:1 is left out: its files are others"]
    client.workers = {}
    assert not pool._look() and not pool._look() and pool.jobs == 0
    assert len(said) == 2 and "worker tcp://a:1 is gone" in said[1]


def test_a_worker_of_other_versions_or_files_says_so():
    here, content = dask_pool._versions(), make_run(SMALL, "disjoint", "mlp").content
    assert dask_pool._lacks(here, {SMALL: content}) == ""
    assert dask_pool._lacks("torch 1.0.0", {}) == f"it has {here}, here are torch 1.0.0"
    assert f"its files of the scene {SMALL} are not those that are here" == dask_pool._lacks(here, {SMALL: "x@7489"})
    assert dask_pool._lacks(here, {"nowhere": "x"}).startswith("nowhere: unknown scene")


@pytest.mark.parametrize("name", ["../../stolen", "maps/other.png", "/etc/cron.d/x", "run.json"])
def test_only_files_of_the_run_are_taken_from_a_worker(name, tmp_path):
    run = make_run(SMALL, "disjoint", "mlp", epochs=1)
    got = lone(None, store=Store(tmp_path / "a" / "b"))._keep(run, {"files": {name: b"x"}, "weights": b""})
    assert "a worker sent" in got["failed"] and not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.nightly
def test_a_scheduler_that_is_killed_is_one_line_and_what_came_is_stored(scheduler, tmp_path):
    address, worker = scheduler
    worker(tmp_path / "one")
    Client(address, timeout=60, set_as_default=False).close()  # it has started
    runs, told = plan(SMALL, ["random"], ["mlp"], seeds=12, epochs=3), []

    def say(text):
        told.append(text)
        if text.startswith("[2/"):
            os.killpg(worker.scheduler.pid, signal.SIGKILL)

    with pytest.raises(HsiError, match="the scheduler is gone; what came is stored"):
        collect(runs, Store(tmp_path / "far"), on=address, say=say)
    assert len(Store(tmp_path / "far").rows()) >= 2


@pytest.mark.nightly
def test_a_client_that_is_stopped_goes_on_and_one_that_is_killed_is_begun_again(scheduler, tmp_path):
    """The first is silent for longer than the scheduler looks; what the second had stored is not trained twice."""
    address, worker = scheduler
    worker(tmp_path / "one")
    (tmp_path / "study.toml").write_text(STUDY)
    own = os.environ | {"HSILIB_RESULTS": str(tmp_path / "far"), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "hsilib", "study", str(tmp_path / "study.toml"), "--on", address]

    def client():
        return subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def until(process, start):
        return next((line for line in process.stdout if line.startswith(start)), "")

    first = client()
    assert until(first, "[2/10]")
    first.send_signal(signal.SIGSTOP)
    time.sleep(5)
    first.send_signal(signal.SIGCONT)
    assert until(first, "[4/10]"), "it goes on"
    with first:
        first.kill()
    kept = len(Store(tmp_path / "far").rows())
    assert kept >= 4
    second = client()
    said = second.communicate(timeout=300)[0]
    assert second.returncode == 0 and f"{kept} of 10 runs stored" in said and "Traceback" not in said, said
    assert len(Store(tmp_path / "far").rows()) == 10
