"""Published rows, and one's own beside them."""

import os
import stat
import subprocess

import pandas as pd
import pytest
from hsilib.__main__ import main
from hsilib.errors import HsiError
from hsilib.files import project, write_atomically
from hsilib.study import rows
from hsilib.study.execute import execute
from hsilib.study.runs import make_run, plan
from hsilib.study.store import Store, published
from hsilib.study.sweep import collect

SMALL = "synthetic_urban_small"


def run(seed=0, method="mlp"):
    return make_run(SMALL, "random", method, seed=seed, epochs=1)


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A folder of published rows that nobody may write."""
    folder = tmp_path / "published"
    execute(run(0), Store(folder))
    Store(folder).card(SMALL)
    monkeypatch.setenv("HSILIB_PUBLISHED", str(folder))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    yield folder
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == {path: text for path, text in before.items() if path.name != ".lock"}


def test_reading_is_a_union_and_writing_is_mine(shared, tmp_path):
    said = []
    rows = collect([run(0), run(1)], say=said.append)
    assert "1 run to train" in said[0] and len(rows) == 2
    mine = Store(tmp_path / "store")
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


@pytest.mark.parametrize("part, read", [("maps", "read_map"), ("logs", "read_log")])
def test_what_is_missing_beside_a_row_says_how_to_mend_it(part, read):
    store = Store()
    execute(run(0), store)
    (file,) = (store.folder / part).glob(f"{run(0).id}.*")
    for damage in (lambda: file.write_bytes(b""), file.unlink):
        damage()
        with pytest.raises(HsiError, match=f"delete the line of {run(0).id} in .*baselines.csv, and it is trained again"):
            getattr(store, read)(run(0).id)


def test_another_store_is_taken_over_and_contradictions_are_refused(tmp_path, shared, capsys):
    other = Store(tmp_path / "colleague")
    collect(plan(SMALL, ["random"], ["mlp"], seeds=4, epochs=1), other, say=lambda text: None)
    path = other.folder / "baselines.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[table["seed"] == "0", "oa"] = "99.9"  # published otherwise
    path.write_text("\n".join([rows.HEADER, *map(rows.line_of, table.to_dict("records"))]) + "\n")
    other.map_path(run(3).id).unlink()
    assert main(["results", "--merge", str(other.folder)]) == 2
    said = capsys.readouterr()
    assert "2 runs taken over" in said.out and "seed 0): another oa than the row that is here" in said.out
    assert "seed 3): its map is missing" in said.out and "2 runs were refused" in said.err
    assert sorted(Store().rows()["seed"]) == [0, 1, 2] and Store().rows().set_index("seed").loc[0, "oa"] != 99.9
    assert Store().read_map(run(2).id).shape == (64, 48)
    assert main(["results", "--merge", str(tmp_path / "nowhere")]) == 2
    assert "no folder with the rows of a store" in capsys.readouterr().err
    assert main(["results"]) == 0
    assert capsys.readouterr().out.split("\n")[1].split() == [SMALL, "random", "baselines", "1", "2"]
    assert main(["results", "--export", str(tmp_path / "all.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "all.csv")) == 3


def test_a_study_is_published_on_purpose(shared, tmp_path, monkeypatch, capsys):
    study = tmp_path / "study.toml"
    words = f'scenes = ["{SMALL}"]\nsplits = ["random"]\nmethods = ["mlp"]\nratios = [0]\nseeds = 1\nepochs = 1\n'
    study.write_text(f'[[part]]\ntitle = "one"\n{words}')
    assert main(["study", str(study), "--publish"]) == 0
    assert "1 of 1 runs stored" in capsys.readouterr().out
    monkeypatch.setenv("HSILIB_PUBLISHED", "")
    assert main(["study", str(study), "--publish"]) == 2
    assert "--publish is for a checkout" in capsys.readouterr().err


def held(folder):
    """The text of a store with three rows, and its file."""
    store = Store(folder)
    collect(plan(SMALL, ["random"], ["mlp"], seeds=3, epochs=1), store, say=lambda text: None)
    return store, folder / "baselines.csv", (folder / "baselines.csv").read_text()


def test_a_write_that_fails_leaves_nothing_and_names_the_file(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

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


def test_a_row_is_believed_only_when_it_is_whole(tmp_path, capsys):
    """Wherever the last line is cut off, and whatever character of it is changed: the row counts no more."""
    _, _, text = held(tmp_path / "store")
    start = text.rindex("\n", 0, -1) + 1
    whole = rows.read(text)[0]
    for cut in range(start + 1, len(text) - 1):
        table, wrong = rows.read(text[:cut])
        assert len(table) == 2 and list(wrong) == [4], text[start:cut]
    changed = text[:start] + text[start:].replace(",0,", ",1,", 1)
    assert changed != text and len(rows.read(changed)[0]) == 2
    doubled = text + text[start:]
    assert len(rows.read(doubled)[0]) == len(whole) and list(rows.read(doubled)[1]) == [5]


@pytest.mark.parametrize("column, value", [("oa", 4000), ("oa", "nan"), ("seed", -1), ("seed", 0.5), ("scene", ""), ("run", "x")])
def test_a_sealed_row_is_in_range_too(tmp_path, column, value):
    _, _, text = held(tmp_path / "store")
    first = pd.read_csv(tmp_path / "store" / "baselines.csv", dtype=str, keep_default_na=False).iloc[0].to_dict()
    table, wrong = rows.read("\n".join([rows.HEADER, rows.line_of(first | {column: value})]) + "\n")
    assert len(table) == 0 and column in wrong[2]


def test_a_damaged_row_is_named_and_trained_again(tmp_path, capsys):
    store, path, text = held(tmp_path / "store")
    path.write_text(text[:-30])
    said = []
    collect(plan(SMALL, ["random"], ["mlp"], seeds=3, epochs=1), Store(store.folder), say=said.append)
    assert "1 run to train" in said[0]
    assert f"{path}, line 4: cut off or changed" in capsys.readouterr().err
    assert len(rows.read(path.read_text())[0]) == 3 and not rows.read(path.read_text())[1]


def test_rows_of_an_earlier_edition_are_read_and_sealed_at_the_next(tmp_path):
    store, path, text = held(tmp_path / "store")
    old = "\n".join(line.rpartition(",")[0] for line in text.splitlines()) + "\n"
    path.write_text(old)
    assert len(Store(store.folder).rows()) == 3
    collect([run(7)], Store(store.folder), say=lambda text: None)
    assert path.read_text().startswith(text.rstrip("\n")) and len(Store(store.folder).rows()) == 4
