import dataclasses
import itertools
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hsibook.chapter import chapter
from hsilib import methods
from hsilib.data import own as own_scene
from hsilib.data.scenes import load_scene
from hsilib.data.splits import seed_of, split_of
from hsilib.errors import HsiError
from hsilib.files import project
from hsilib.identity import Recipe
from hsilib.methods import METHODS
from hsilib.methods.task import Task
from hsilib.models.evaluate import scene_scores
from hsilib.models.networks import LSTM, MLP, Outputs, initialise
from hsilib.models.train import fit
from hsilib.study.execute import execute, trained, weights_path
from hsilib.study.rows import COLUMNS
from hsilib.study.runs import declared, make_run, plan
from hsilib.study.store import Store
from hsilib.study.sweep import collect, pace

import crowd

MEASURED = ["run", "oa", "top5", "aa", "kappa", "f1", "params", "macs", "bytes", "leakage", "train", "test"]
SMALL = "synthetic_urban_small"
SLOW = {"cnn3d"}  # for each change it is enough that .ci/nightly trains them


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.nightly] * (n in SLOW)) for n in METHODS])
def test_every_method_runs_through_two_epochs(name, shared):
    """A new method joins by being registered."""
    store = Store()
    on_images = methods.get(name).family == "landuse"
    scene, split, options = ("synthetic_landuse", "random", {"size": 32}) if on_images else (SMALL, "disjoint", None)
    for ratio in methods.get(name).ratios[-1:]:
        run = make_run(scene, split, name, ratio, epochs=2, options=options)
        row, model = execute(run, store)
        assert 0 < row["oa"] <= 100 and row["bytes"] > 0
        again = trained(run) if weights_path(run).exists() else model
        assert store.read_map(run.id).shape == ((96, 1) if on_images else (64, 48))
        assert type(again) is type(model)


def test_the_same_run_gives_the_same_row_and_weights_bit_for_bit(tmp_path):
    """Also dropout does not depend on what the process did before."""
    images = make_run("synthetic_landuse", "random", "mobilenet", epochs=2, options={"size": 32})
    for run in (make_run(SMALL, "random", "scratch", 98, epochs=2), images):
        (first, one), (second, other) = (execute(run, Store(tmp_path / name)) for name in "ab")
        assert str([first[k] for k in MEASURED]) == str([second[k] for k in MEASURED])  # a leakage may be NaN
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
        assert Store(tmp_path / "a").files(run.id)["map.png"] == Store(tmp_path / "b").files(run.id)["map.png"]
    other = execute(make_run(SMALL, "random", "scratch", 98, seed=1, epochs=2), Store(tmp_path / "c"))[0]
    assert other["oa"] != Store(tmp_path / "a").rows().set_index("method").at["scratch", "oa"]


DAMAGES = {"broken": "", "other": "of another run", "digit": "its checksum", "nan": "not finite"}


@pytest.mark.parametrize("damage, says", DAMAGES.items())
def test_weights_count_for_their_own_run_alone(damage, says):
    """A student would learn from another teacher without a word."""
    run, other = (make_run(SMALL, "disjoint", "scratch", 98, seed=seed, epochs=1) for seed in (0, 1))
    model = execute(run, Store())[1]
    inputs = Task(run, load_scene(SMALL), split_of(load_scene(SMALL), "disjoint")).inputs("patches")
    assert np.array_equal(scene_scores(model, inputs), scene_scores(trained(run), inputs))
    data = weights_path(run).read_bytes()
    run = other if damage == "other" else run
    flipped, nan = bytes([data[-4] ^ 1, *data[-3:]]), b"\x00\x00\xc0\x7f"
    written = {"broken": b"broken", "other": data, "digit": data[:-4] + flipped, "nan": data[:-4] + nan}
    weights_path(run).write_bytes(written[damage])
    with pytest.raises(HsiError, match=f"not a stored model of scratch.*delete it.*{says}") as caught:
        trained(run)
    assert "\n" not in str(caught.value)


def test_identity_changes_with_everything_that_decides_a_result(monkeypatch):
    base = dict(scene=SMALL, split="disjoint", method="scratch", ratio=90)
    others = [{"scene": "synthetic_fields_small"}, {"split": "random"}, {"ratio": 95}, {"seed": 1}, {"epochs": 3}]
    others += [{"schedule": "constant"}, {"options": {"batch_norm": False}}]
    found = {make_run(**base | other).id for other in [{}, *others]}
    monkeypatch.setitem(methods.METHODS, "scratch", dataclasses.replace(methods.get("scratch"), version=2))
    assert len(found) == 8 and make_run(**base).id not in found


def test_seeds_pair_the_methods():
    scene = load_scene(SMALL)
    a, b = (Task(make_run(SMALL, "random", m, r), scene, None).seed for m, r in (("cnn2d", 0), ("scratch", 90)))
    assert a("init") == b("init") and a("order") == b("order") and a("init") != a("order")
    assert seed_of("a", "b") != seed_of("b", "a")


def test_unknown_names_list_the_close_ones():
    for call, says in [
        (lambda: make_run("indian_pins", "random", "mlp"), "indian_pines"),
        (lambda: make_run(SMALL, "disjont", "mlp"), "disjoint"),
        (lambda: make_run(SMALL, "random", "scrach", 90), "scratch"),
        (lambda: make_run(SMALL, "random", "scratch", 91), "has no size 91; it has 90, 95, 98"),
        (lambda: make_run(SMALL, "random", "cnn2d", options={"batchnorm": True}), "batch_norm"),
        (lambda: make_run(SMALL, "random", "cnn2d", options={"batch_norm": "yes"}), "must be bool"),
        (lambda: plan(SMALL, [], ["mlp"]), "nothing to run"),
        (lambda: plan(SMALL, ["random"], ["scratch"], (50, 90)), "unknown size '50'"),
        (lambda: plan(SMALL, ["random"], ["mlp"], seeds=10**9), "seeds must be at least 1 and at most 10000"),
        (lambda: plan(SMALL, ["random", "blocks"], ["mlp"], seeds={"random": 3, "blocks": 0}), "at least 1 .* not 0"),
        (lambda: make_run(SMALL, "random", "mlp", epochs=0), "epochs must be"),
        (lambda: make_run(SMALL, "random", "mlp", epochs="3"), "epochs must be"),
        (lambda: make_run(SMALL, "random", "mlp", epochs=10**9), "epochs must be .* from 1 to 1000000"),
        (lambda: make_run(SMALL, "random", "mlp", schedule="cosin"), "cosine"),
        (lambda: make_run(SMALL, "random", "mlp", batch=0), "batch must be"),
        (lambda: make_run(SMALL, "random", "mlp", lr=-1.0), "lr must lie"),
        (lambda: make_run(SMALL, "random", "mlp", lrr=1.0), "lr"),
        (lambda: execute(make_run(SMALL, "random", "cnn2d", options={"components": 0}), None), "components must be from 1 to"),
        (lambda: execute(make_run(SMALL, "random", "cnn2d", options={"pca_fit": "trian"}), None), "train"),
    ]:
        with pytest.raises(HsiError, match=says):
            call()


def test_last_step_has_almost_no_rate_and_terms_are_logged():
    net, seen = torch.nn.Linear(2, 2), []
    data = SimpleNamespace(y=torch.zeros(10, dtype=torch.long), x=lambda index: torch.ones(len(index), 2))

    def loss(model, batch):
        seen.append(batch.progress)
        return {"a": model(batch.x).pow(2).mean(), "b": 0.5 * model(batch.x).abs().mean()}

    history = fit(net, data, Recipe(epochs=3, batch=4), 0, loss)
    assert len(history) == 3 and set(history[0]) == {"a", "b"} and len(seen) == 9
    assert seen == sorted(seen) and seen[-1] == pytest.approx(1.0)


# ------------------------------------------------------------------------------------------------ the store


def test_a_row_is_written_once(tmp_path):
    store = Store(tmp_path / "mine")
    for row in (crowd.row(1, 0), crowd.row(1, 0) | {"oa": 5}, crowd.row(2, 0)):
        store.keep(row, "f")
    assert store.rows()["run"].tolist() == ["000100000000", "000200000000"] and store.rows()["oa"].tolist() == [1, 1]
    assert sorted(os.listdir(store.folder)) == store.runs()


def test_a_broken_store_is_one_line(tmp_path, capsys):
    (tmp_path / "f.csv").write_text("run,oa\n1,2\n")
    with pytest.raises(HsiError, match="columns missing"):
        Store(tmp_path).rows()
    whole = pd.DataFrame([crowd.row(1, 0)], columns=COLUMNS).to_csv(index=False)
    (tmp_path / "f.csv").write_text(f"{whole}<<<<<<< HEAD\n")
    assert len(Store(tmp_path).rows()) == 1 and "line 3: cut off" in capsys.readouterr().err


def test_a_second_training_leaves_the_stored_pictures_alone(tmp_path):
    store, run = Store(), make_run(SMALL, "random", "mlp", epochs=1)
    execute(run, store)
    store.map_path(run.id).write_bytes(b"of another machine")
    weights_path(run).unlink()
    trained(run, store)
    assert store.map_path(run.id).read_bytes() == b"of another machine" and len(store.rows()) == 1


def test_a_card_follows_its_scene(tmp_path):
    cube, store = np.random.default_rng(0).normal(size=(30, 30, 8)), Store()
    for name, labels in (("a", np.ones((30, 30), int)), ("b", np.full((30, 30), 2))):
        np.save(tmp_path / f"cube{name}.npy", cube)
        np.save(tmp_path / f"labels{name}.npy", labels)
        own_scene.add_scene("mine", tmp_path / f"cube{name}.npy", tmp_path / f"labels{name}.npy", classes=["x", "y"])
        assert store.card("mine")[0].labels.max() == labels.max()
    (store.folder / "scenes" / "mine" / "card.json").write_text("{broken")
    assert store.card("mine")[0].labels.max() == 2


def test_divergence_is_one_line():
    def loss(model, batch):
        return {"bad": model(batch.x).logits.mean() * float("nan")}

    scene = load_scene(SMALL)
    task = Task(make_run(SMALL, "random", "mlp", epochs=1), scene, split_of(scene, "random"))
    with pytest.raises(HsiError, match="diverged in epoch 1"):
        task.fit(task.network(MLP), loss=loss)


def test_reading_the_store_needs_no_torch(tmp_path):
    code = "import sys; from hsilib.study.store import Store; Store().rows(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_collect_trains_only_what_is_missing_and_what_is_short_here(tmp_path):
    store, said = Store(tmp_path), []
    runs = plan(SMALL, ["random"], ["mlp"], seeds=3, epochs=1)
    assert len(collect(runs[:1], store, jobs=1, say=said.append)) == 1 and "1 run to train" in said[0]
    said.clear()
    assert collect(runs, store, say=said.append)["seed"].tolist() == [0, 1, 2]
    assert "2 runs to train on 1 core," in said[0] and len(said) == 4  # announced, two runs, done
    said.clear()
    collect(runs, store, say=said.append)
    assert said == []


class OwnNet(torch.nn.Module):
    """A patch network from a notebook: no dense form, not in the library."""

    kind = "patches"

    def __init__(self, bands, classes):
        super().__init__()
        self.head = torch.nn.Linear(bands, classes)

    def forward(self, x):
        return Outputs(self.head(x.mean((2, 3))), {})


def test_what_a_notebook_defines_runs_in_workers_and_is_evaluated_patch_by_patch(tmp_path):
    from hsilib.methods.distill.distillation import distillation

    try:

        @methods.method("own_net", "mine", "Own")
        def own(task):
            return task.fit(task.network(OwnNet))

        @distillation("taught", "Taught", "mine", teachers=1, taps=("e",))
        def taught(task, student, teacher):
            head = initialise(torch.nn.Linear(student.config["widths"][2], 100), task.seed("head"))

            def loss(model, batch):
                return {"feature": ((head(model(batch.x).taps["e"]) - teacher(batch.index).taps["e"]) ** 2).mean()}

            return loss, head

        runs, store = plan(SMALL, ["random"], ["own_net", "taught"], [98], seeds=2, epochs=1), Store(tmp_path)
        rows = collect(runs, store, jobs=2, say=lambda t: None)
        assert len(rows) == 4 and set(rows["run"]) <= set(store.runs()) and isinstance(trained(runs[0], store), OwnNet)

        @methods.method("own_net", "mine", "Own")
        def own(task):  # noqa: F811
            return task.fit(task.network(LSTM))

        assert make_run(SMALL, "random", "own_net", epochs=1).id not in set(rows["run"])  # edited code is another run
    finally:
        for name in ("own_net", "taught"):
            methods.METHODS.pop(name, None)


def test_splits_after_the_first_may_have_fewer_seeds():
    def seeds(splits, count):
        return chapter("", scene=SMALL, splits=splits, seeds=count, further_seeds=2, epochs=1).seeds

    assert (many := seeds(["blocks", "random"], 3)) == {"blocks": 3, "random": 2}
    assert seeds(["random"], 3) == {"random": 3} and seeds(["blocks", "random"], 1)["random"] == 1
    runs = [(run.split, run.seed) for run in plan(SMALL, many, ["mlp"], seeds=many)]
    assert runs == [("blocks", 0), ("blocks", 1), ("blocks", 2), ("random", 0), ("random", 1)]
    assert len(plan(SMALL, ["random", "random"], ["mlp", "mlp"], seeds=2)) == 2, "each run once"


def test_the_store_holds_the_declared_study():
    held = set(Store(project() / "book" / "results").rows()["run"])
    for title, runs in declared(project() / "book" / "study.toml").items():
        missing = [str(run) for run in runs if run.id not in held]
        assert not missing, f"{title}: {len(missing)} of {len(runs)} runs are missing, such as {missing[0]}"


def test_the_estimate_follows_what_runs_really_take():
    assert pace([(1.0, 1.0)]) == 1
    assert 1 < pace([(20.0, 10.0)]) < pace(60 * [(20.0, 10.0)]) < 2
    assert pace(60 * [(5.0, 10.0)]) < 0.6


NONSENSE = (-1, -1.0, 1e999, -1e999, float("nan"), 10**400, "x", None, [1], {})


def test_a_nonsense_value_of_any_hyper_parameter_is_one_line_before_anything_trains():
    for name, method in METHODS.items():
        for (option, usual), value in itertools.product(method.options.items(), NONSENSE):
            if value == "x" and isinstance(usual, str):  # texts are checked by those who read them
                continue
            with pytest.raises(HsiError, match=option) as error:
                make_run(SMALL, "random", name, method.ratios[0], options={option: value})
            assert "\n" not in str(error.value)
