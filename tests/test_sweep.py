"""A sweep of runs: what cannot be trained does not block the rest, and workers end with their parent."""

import os
import subprocess
import sys
import time

import pytest
from hsilib.errors import HsiError
from hsilib.study.runs import make_run
from hsilib.study.store import Store
from hsilib.study.sweep import collect

from kills import alive

SMALL = "synthetic_urban_small"


def test_one_impossible_run_does_not_block_the_others(tmp_path, monkeypatch):
    from hsilib.study import pools

    def execute(run, store, device):
        if run.seed == 1:
            raise HsiError("there is no such thing")
        return real(run, store, device)

    real = pools.execute
    monkeypatch.setattr(pools, "execute", execute)
    names = {"mlp": 0, "soft_targets": 98}
    runs = [make_run(SMALL, "random", name, size, seed, epochs=1) for seed in range(3) for name, size in names.items()]
    store, said = Store(tmp_path), []
    with pytest.raises(HsiError, match="3 of 9 runs could not be trained: there is no such thing"):
        collect(runs, store, jobs=1, say=said.append)
    stored = {(row.method, row.seed) for row in store.rows().itertuples()}
    assert stored >= {(name, seed) for seed in (0, 2) for name in names}
    assert any("not trained: there is no such thing" in line for line in said)


@pytest.mark.skipif(not os.path.exists("/proc"), reason="needs /proc")
def test_workers_end_with_their_parent(tmp_path):
    code = f"from hsilib import collect, plan; collect(plan('{SMALL}', 'random', ['mlp', 'cnn1d'], epochs=3000), jobs=2)"
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parent = subprocess.Popen([sys.executable, "-c", code], **quiet)

    def until(right):
        return any(right(len(alive(tmp_path))) or time.sleep(0.5) for _ in range(120))

    assert until(lambda many: many > 2)
    time.sleep(6)  # until they train
    parent.kill()
    parent.wait()
    assert until(lambda many: many == 0), "workers outlive their parent"


def test_a_killed_worker_and_a_want_of_memory_are_one_line(tmp_path, monkeypatch):
    code = (
        "import os, signal\nfrom hsilib import collect, methods, plan\nfrom hsilib.errors import HsiError\n"
        "@methods.method('dies', 'mine', 'Dies')\ndef dies(task):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "@methods.method('eats', 'mine', 'Eats')\ndef eats(task):\n    raise MemoryError\n"
        "for name in ('eats', 'dies'):\n"
        "    try:\n"
        f"        collect(plan('{SMALL}', ['random'], [name], seeds=2, epochs=1), jobs=2, say=lambda text: None)\n"
        "    except HsiError as error:\n        print(error)\n"
    )
    (tmp_path / "mine.py").write_text(code)
    done = subprocess.run([sys.executable, tmp_path / "mine.py"], capture_output=True, text=True)
    eats, dies = done.stdout.splitlines()
    assert "2 of 2 runs could not be trained: eats" in eats and "it needs more memory than there is" in eats
    assert dies.startswith("a process that trains was killed, perhaps for want of memory; what is finished is stored")


def test_a_gpu_trains_to_the_same_accuracy_and_marks_its_rows(tmp_path):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU that this torch can use")
    grid = [(name, size, seed) for name, size in (("mlp", 0), ("l1", 98)) for seed in (0, 1, 2)]
    runs = [make_run(SMALL, "random", *one, epochs=20) for one in grid]
    there, here = (collect(runs, Store(tmp_path / device), jobs=2, device=device) for device in ("cuda", "cpu"))
    assert there["device"].str.startswith("NVIDIA").all() and not here["device"].str.startswith("NVIDIA").any()
    for name, mine in here.groupby("method"):
        other = there[there["method"] == name]["oa"]
        spread = max(mine["oa"].std(), other.std(), 1.0)
        assert abs(mine["oa"].mean() - other.mean()) < 3 * spread, name
