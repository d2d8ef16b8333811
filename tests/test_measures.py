"""What lies beside rows: AA30 from maps, and costs from raw bands on."""

import json

import numpy as np
import pytest
from hsilib import HsiError, Store, execute, make_run, metrics, split_of
from hsilib.__main__ import main
from hsilib.files import project
from hsilib.models import measure
from hsilib.study import measures

SMALL = "synthetic_urban_small"


def published():
    return Store(project() / "book" / "results")


def test_aa30_is_the_mean_recall_of_classes_with_thirty_test_pixels():
    true = np.repeat([0, 1, 2], [30, 29, 60])
    guessed = true.copy()
    guessed[:3], guessed[30:59], guessed[59:89] = 1, 0, 0  # 90, 0 and 50 % are right
    figures = metrics(np.eye(6)[guessed], true)
    assert figures["aa30"] == pytest.approx(70) and figures["aa"] == pytest.approx(140 / 3)
    assert np.isnan(metrics(np.eye(6)[guessed[:20]], true[:20])["aa30"]), "no class is large enough"


def test_every_published_row_has_its_measures_and_some_are_recomputed():
    store = published()
    rows = store.rows()
    assert set(rows["run"]) == set(measures.held(store.folder).index)
    for row in rows[rows["split"] == "disjoint"].sample(12, random_state=0).to_dict("records"):
        card = store.card(row["scene"])[0]
        test = np.where(card.train_map > 0, 0, card.labels if card.test_map is None else card.test_map)
        drawn, recalls = store.read_map(row["run"]), []
        for number in range(1, len(card.classes) + 1):
            if (test == number).sum() >= 30:
                recalls.append(100 * (drawn[test == number] == number).mean())
        assert row["aa30"] == pytest.approx(np.mean(recalls), abs=1e-4), row["run"]
    ours = rows[(rows["scene"] == "indian_pines_8bit") & (rows["split"] == "disjoint")]
    assert set(ours["small"]) == {"2 10 25"}
    without = rows[(rows["scene"] == "samson") & (rows["split"] == "blocks")]
    assert (without["aa30"] - without["aa"]).abs().max() < 1e-4, "all classes are large there"


def test_multiply_adds_begin_at_the_raw_bands():
    rows = published().rows()
    rows = rows[(rows["scene"] == "indian_pines_8bit") & (rows["split"] == "disjoint")]
    taken = {key: part["macs"].unique() for key, part in rows.fillna({"options": ""}).groupby(["method", "ratio", "options"])}
    for key, millions in {
        ("cnn2d", 0, ""): 29.5146, ("scratch", 90, ""): 7.64723, ("scratch", 95, ""): 5.75332, ("scratch", 98, ""): 4.16691,
        ("static", 98, ""): 4.16691, ("projected", 98, ""): 4.16691, ("cnn3d", 0, ""): 275.5392, ("lens", 0, ""): 1.84162,
        ("static", 0, "of=lens"): 1.84162, ("cnn2d_c1", 0, ""): 15.73005, ("mlr", 0, ""): 0.0032,
    }.items():
        assert taken[key] == pytest.approx([1e6 * millions]), key
    written = published().written().set_index("run")["payload"]
    low = rows[rows["method"] == "low_rank"].set_index("run")["payload"]
    assert set(written[low.index] - low) == {24}, "six biases that the pair does not have"


def test_a_new_run_is_measured_from_its_map_and_keeps_what_else_is_measured(tmp_path, monkeypatch):
    store = Store()
    for name, words in {"mlp": {}, "scratch": {"ratio": 98}, "mlr": {}, "lens_2k": {}}.items():
        execute(make_run(SMALL, "random", name, epochs=1, **words), store)
    new = store.rows().set_index("run")
    card, _, spectra = store.card(SMALL)
    for run, row in new.iterrows():
        split = split_of(card, "random", 0)
        drawn = store.read_map(run).ravel()[split.test].astype(int) - 1
        assert row["aa30"] == pytest.approx(metrics(np.eye(9)[drawn], split.test_y)["aa30"], abs=1e-4)
    assert measure.of_components(len(spectra), 40) == (new["macs"] - store.written().set_index("run")["macs"]).max()
    first = store.folder / store.runs()[0] / "run.json"
    said = json.loads(first.read_text())
    said["measured"] |= {"energy": 1.5, "who": "me", "where": [1], "9 x": 2, "large": 10**400, "macs": "<b>"}
    first.write_text(json.dumps(said | {"more": {}}))
    rows = store.rows().set_index("run")
    assert rows.at[store.runs()[0], "energy"] == 1.5 and rows["energy"].isna().sum() == 3
    assert set(rows) - set(new) == {"energy", "who"} and rows["aa30"].equals(new["aa30"])
    monkeypatch.setenv("HSILIB_PUBLISHED", str(tmp_path / "published"))
    (tmp_path / "published").mkdir()
    assert main(["results", "--publish", str(store.folder)]) == 0
    packed = Store(tmp_path / "published")
    assert not packed.runs() and packed.rows().set_index("run").loc[rows.index, "energy"].equals(rows["energy"])
    measures.file(packed.folder).write_text("run,aa30\nx,1\n")
    with pytest.raises(HsiError, match="not the measures of a store"):
        packed.rows()


def test_a_network_costs_the_same_with_every_seed():
    """But for what is pickled."""
    rows = published().rows()
    rows = rows[~rows["method"].isin(["rf", "svm", "svm_mean", "mlr_mean"])].fillna({"macs": 0})
    same = ["scene", "split", "method", "ratio", "options", "epochs", "lr", "schedule", "batch"]
    apart = rows.groupby(same)[["payload", "macs"]].nunique().max(axis=1)
    assert apart[apart > 1].index.tolist() == []
