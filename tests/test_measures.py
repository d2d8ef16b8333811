"""What lies beside rows: AA30 from maps, and costs from raw bands on."""

import numpy as np
import pytest
from hsilib import Store, family, make_run, metrics, split_of
from hsilib.__main__ import main
from hsilib.errors import HsiError
from hsilib.files import project
from hsilib.models import measure
from hsilib.study import measures
from hsilib.study.execute import execute

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
    assert set(rows["run"]) == set(measures.held(store.folder).index), "python -m hsilib results --measure book/results"
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


def test_a_new_run_is_measured_as_an_old_one_is(tmp_path):
    store = Store()
    for name, words in {"mlp": {}, "scratch": {"ratio": 98}, "mlr": {}, "lens_2k": {}}.items():
        row, model = execute(make_run(SMALL, "random", name, epochs=1, **words), store)
    new = store.rows().set_index("run")
    card, _, spectra = store.card(SMALL)
    for run, row in new.iterrows():
        split = split_of(card, "random", 0)
        drawn = store.read_map(run).ravel()[split.test].astype(int) - 1
        assert row["aa30"] == pytest.approx(metrics(np.eye(9)[drawn], split.test_y)["aa30"], abs=1e-4)
    own, card_bands = measures.file(store.folder), len(spectra)
    own.rename(tmp_path / "measures.csv")
    assert store.rows()["aa30"].isna().all(), "a store of an earlier edition is read"
    assert main(["results", "--measure", str(store.folder)]) == 0
    again = store.rows().set_index("run")
    assert again[["aa30", "small", "macs", "payload"]].equals(new[["aa30", "small", "macs", "payload"]])
    assert measure.of_components(card_bands, 40) == (new["macs"] - store.written().set_index("run")["macs"]).max()
    own.write_text("run,aa30\nx,1\n")
    with pytest.raises(HsiError, match="not the measures of a store .* delete it"):
        store.rows()


def test_methods_on_components_are_those_that_are_not_small_by_design():
    for name in family("compact"):
        assert measures.components_of(name, "", 200) == 0
    for name in (*family("pruning"), *family("offline"), "cnn2d_taught", "dynamic"):
        assert measures.components_of(name, "", 200) == 40 and measures.components_of(name, "", 9) == 9
    assert measures.components_of("static", "of=lens_taught", 200) == measures.components_of("qat", "of=projected", 200) == 0
    assert measures.components_of("somebody_elses", "", 200) == 0
