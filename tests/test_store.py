"""Published rows, and one's own beside them."""

import json
import os
import stat
import subprocess

import numpy as np
import pandas as pd
import pytest
from hsilib.__main__ import main
from hsilib.data.scenes import load_scene
from hsilib.errors import HsiError
from hsilib.files import project, write_atomically
from hsilib.study import merge
from hsilib.study.execute import execute
from hsilib.study.runs import make_run, plan
from hsilib.study.store import Store, published
from hsilib.study.sweep import collect

SMALL = "synthetic_urban_small"


def run(seed=0, method="mlp"):
    return make_run(SMALL, "random", method, seed=seed, epochs=1)


def full(*_):
    raise OSError(28, "No space left on device")


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A folder of published rows that nobody may write."""
    folder = tmp_path / "published"
    execute(run(0), Store(folder))
    merge.pack(Store(folder))
    Store(folder).card(SMALL)
    monkeypatch.setenv("HSILIB_PUBLISHED", str(folder))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    yield folder
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_reading_is_a_union_and_writing_is_mine(shared, tmp_path):
    said = []
    rows = collect([run(0), run(1)], say=said.append)
    assert "1 run to train" in said[0] and len(rows) == 2
    mine = Store(tmp_path / "store")
    execute(run(0), Store())  # for its weights, as what another run starts from is
    assert list(mine.rows()["seed"]) == [1] and len(Store().rows()) == 2
    assert Store().read_map(run(0).id).shape == Store().read_map(run(1).id).shape == (64, 48)
    assert not mine.map_path(run(0).id).exists() and Store().card(SMALL)[0].name == SMALL
    assert not (tmp_path / "store" / "scenes").exists()  # the published card is of the same scene


def test_without_a_checkout_there_are_only_mine(tmp_path, monkeypatch):
    monkeypatch.delenv("HSILIB_PUBLISHED")
    monkeypatch.delenv("HSILIB_RESULTS")
    assert published() == project() / "book" / "results" and Store().folder != published()
    monkeypatch.setenv("HSILIB_PROJECT", str(tmp_path / "site-packages"))
    monkeypatch.chdir(tmp_path)
    assert published() is None and Store().folders == [tmp_path / "results"]


def test_in_a_checkout_mine_lie_where_git_does_not_look(monkeypatch):
    monkeypatch.delenv("HSILIB_RESULTS")
    for folder in ("", "notebooks"):
        monkeypatch.chdir(project() / folder)
        assert Store().folder == project() / "results"
    if (project() / ".git").exists():
        asked = ["git", "check-ignore", "-q", str(project() / "results" / "baselines.csv")]
        assert subprocess.run(asked, cwd=project()).returncode == 0


def test_an_unusable_folder_is_found_before_training(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HSILIB_RESULTS", str(tmp_path / "file" / "store"))
    with pytest.raises(HsiError, match="rows cannot be kept here .*; set HSILIB_RESULTS to another folder"):
        collect([run(0)], say=lambda text: pytest.fail("it began"))
    if os.getuid():  # root may write everywhere
        locked = tmp_path / "locked"
        locked.mkdir()
        locked.chmod(stat.S_IREAD | stat.S_IEXEC)
        with pytest.raises(HsiError, match="rows cannot be kept here"):
            collect([run(0)], Store(locked))


@pytest.mark.parametrize("part, read", [("map.png", "read_map"), ("log.csv", "read_log")])
def test_what_is_missing_beside_a_row_says_how_to_mend_it(part, read):
    store = Store()
    execute(run(0), store)
    file = store.folder / run(0).id / part
    for damage in (lambda: file.write_bytes(b""), file.unlink):
        damage()
        with pytest.raises(HsiError, match=f"delete .*{run(0).id}, and it is trained again"):
            getattr(store, read)(run(0).id)


def test_another_store_is_taken_over_and_contradictions_are_refused(tmp_path, shared, capsys):
    other = Store(tmp_path / "colleague")
    collect(plan(SMALL, ["random"], ["mlp"], seeds=4, epochs=1), other, say=lambda text: None)
    path = other.folder / run(0).id / "run.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"row": said["row"] | {"oa": 99.9}}))  # published otherwise
    other.map_path(run(3).id).unlink()
    assert main(["results", "--merge", str(other.folder)]) == 2
    said = capsys.readouterr()
    assert "2 runs taken over" in said.out and "seed 0): another oa than the row that is here" in said.out
    assert "seed 3): its map is missing" in said.out and "2 runs were refused" in said.err
    assert sorted(Store().rows()["seed"]) == [0, 1, 2] and Store().rows().set_index("seed").loc[0, "oa"] != 99.9
    assert Store().read_map(run(2).id).shape == (64, 48)
    assert main(["results", "--merge", str(tmp_path / "nowhere")]) == 2
    assert "no folder with the runs of a store" in capsys.readouterr().err
    assert main(["results"]) == 0
    assert capsys.readouterr().out.split("\n")[1].split() == [SMALL, "random", "baselines", "1", "2"]
    assert main(["results", "--export", str(tmp_path / "all.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "all.csv")) == 3


def test_a_study_is_published_on_purpose(tmp_path, monkeypatch, capsys):
    shared = tmp_path / "published"
    execute(run(0), Store(shared))  # as a killed --publish leaves it: a folder among the tables
    monkeypatch.setenv("HSILIB_PUBLISHED", str(shared))
    study = tmp_path / "study.toml"
    words = f'scenes = ["{SMALL}"]\nsplits = ["random"]\nmethods = ["mlp"]\nratios = [0]\nseeds = 1\nepochs = 1\n'
    study.write_text(f'[[part]]\ntitle = "one"\n{words}')
    assert main(["study", str(study), "--publish"]) == 0
    assert "1 of 1 runs stored" in capsys.readouterr().out
    assert not Store(shared).runs()
    two = study.read_text().replace("seeds = 1", "seeds = 2")
    study.write_text(two)
    before = (shared / "baselines.csv").read_text()
    assert main(["study", str(study), "--publish"]) == 0 and not Store(shared).runs()
    after = (shared / "baselines.csv").read_text()
    assert after.startswith(before) and len(after.splitlines()) == len(before.splitlines()) + 1
    assert Store(shared).read_map(run(1).id).shape == (64, 48) and len(Store(shared).rows()) == 2
    assert Store(shared).rows()["aa30"].notna().all()
    monkeypatch.setenv("HSILIB_PUBLISHED", "")
    assert main(["study", str(study), "--publish"]) == 2
    assert "--publish is for a checkout" in capsys.readouterr().err


def test_a_write_that_fails_leaves_nothing_and_names_the_file(tmp_path, monkeypatch, capsys):
    path = tmp_path / "map.npy"
    write_atomically(path, b"old")
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, full)
        with pytest.raises(OSError, match="No space left on device: .*map.npy"):
            write_atomically(path, b"new")
        monkeypatch.undo()
        assert path.read_bytes() == b"old" and [one for one in tmp_path.iterdir() if one.is_file()] == [path]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_run_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    """Wherever writing it fails, nothing of it is seen, and nothing lies about."""
    other, store = Store(tmp_path / "a"), Store(tmp_path / "b")
    execute(run(0), other)
    files = other.files(run(0).id)
    assert sorted(files) == ["log.csv", "map.png", "run.json"]
    for name in ("fsync", "rename"):
        monkeypatch.setattr(os, name, full)
        with pytest.raises(OSError, match=f"No space left on device: .*{run(0).id}"):
            store.take(run(0).id, files)
        monkeypatch.undo()
        assert not list(store.folder.iterdir()) and len(store.rows()) == 0
    store.take(run(0).id, files)
    store.take(run(0).id, {"run.json": b"of another machine"})
    assert store.files(run(0).id) == files


def test_what_killed_processes_left_goes_after_a_day(tmp_path):
    store = Store(tmp_path / "store")
    for name, age in (("new", 0), ("old", 90_000)):
        part = store.folder / f".{name}.0123.part"
        part.mkdir(parents=True)
        (part / "run.json").write_text("{}")
        os.utime(part, (part.stat().st_mtime - age,) * 2)
    assert len(store.rows()) == 0
    store.check()
    assert [path.name for path in store.folder.iterdir()] == [".new.0123.part"]


@pytest.mark.parametrize("column, value", [("oa", 4000), ("oa", "nan"), ("seed", -1), ("seed", 0.5), ("scene", ""), ("run", "x")])
def test_a_row_is_in_range(tmp_path, capsys, column, value):
    """A run that says what cannot be is named, counts no more, and is trained again."""
    store = Store(tmp_path / "mine")
    collect([run(0), run(1)], store, say=lambda text: None)
    path = store.folder / run(0).id / "run.json"
    said = json.loads(path.read_text())
    for text in (json.dumps(said | {"row": said["row"] | {column: value}}), path.read_text()[:-30]):
        path.write_text(text)
        assert list(store.rows()["seed"]) == [1] and str(path) in capsys.readouterr().err
    told = []
    collect([run(0)], store, say=told.append)
    assert "1 run to train" in told[0] and len(store.rows()) == 2
    assert sorted(path.name for path in store.folder.glob("[!.]*")) == sorted([*store.runs(), "scenes"])


def of_an_earlier_edition(folder):
    """A store as earlier editions wrote it: sealed lines, and what belongs to them in folders."""
    store = Store(folder)
    collect([run(seed) for seed in range(3)], store, say=lambda text: None)
    merge.pack(store)
    path = folder / "baselines.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{header},seal", *(f"{line},0123abcd" for line in lines)]) + "\n")
    return store, path


def test_a_store_of_an_earlier_edition_is_read_merged_and_converted(tmp_path, monkeypatch, capsys):
    store, path = of_an_earlier_edition(tmp_path / "store")
    before, files = store.rows(), {one: store.files(one) for one in store.rows()["run"]}
    assert len(before) == 3 and before["aa30"].notna().all() and store.runs() == []
    assert main(["results", "--convert"]) == 0 and "3 runs" in capsys.readouterr().out
    after = Store(store.folder)
    assert len(after.runs()) == 3 and not path.exists() and not list(store.folder.glob("maps/*"))
    columns = list(before)
    assert after.rows().sort_values("run")[columns].equals(before.sort_values("run", ignore_index=True)[columns])
    assert {one: after.files(one) for one in after.runs()} == files
    old, _ = of_an_earlier_edition(tmp_path / "old")
    assert merge.merge(Store(tmp_path / "new"), old.folder) == (3, 0, [])
    assert merge.merge(Store(tmp_path / "new"), store.folder) == (0, 3, [])
    table = pd.read_csv(old.folder / "baselines.csv", dtype=str)
    table.drop(columns="payload").to_csv(old.folder / "baselines.csv", index=False)  # of the first edition
    (old.folder / "measures" / "measures.csv").unlink()
    rows = old.rows().sort_values("run", ignore_index=True)
    assert rows["payload"].isna().all() and rows["oa"].equals(before.sort_values("run", ignore_index=True)["oa"])


def test_a_packed_map_of_a_large_scene_keeps_what_can_be_tested(tmp_path, monkeypatch):
    store, true = Store(tmp_path / "store"), load_scene(SMALL).labels > 0
    execute(run(0), store)
    monkeypatch.setattr(merge, "LARGE", true.size)
    drawn = store.read_map(run(0).id)
    assert merge.pack(store) == 1 and (drawn[~true] > 0).any()
    packed = store.read_map(run(0).id)
    assert not packed[~true].any() and np.array_equal(packed[true], drawn[true])


def test_packing_keeps_the_cells_of_a_table_as_they_are_written(tmp_path):
    """A damaged line of an old table goes; all others keep their text, and unknown columns are left out."""
    store, path = of_an_earlier_edition(tmp_path / "store")
    text = path.read_text()
    collect([run(7)], store, say=lambda text: None)
    assert merge.pack(store) == 1 and store.runs() == []
    kept = path.read_text().splitlines()
    assert kept[:4] == [line.rpartition(",")[0] for line in text.splitlines()] and len(kept) == 5
    assert sorted(store.rows()["seed"]) == [0, 1, 2, 7] and len(store.read_log(run(7).id)) == 1
