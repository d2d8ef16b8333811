"""Intervals over seeds and fields, the sign test, and where two networks differ."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hsibook import fields, stats
from hsilib import Store
from hsilib.files import project
from hsilib.study.runs import stored
from scipy import stats as reference


def test_fields_are_connected_pieces_of_one_class_and_corners_join():
    test = np.array([[1, 0, 2, 2], [0, 1, 2, 0], [0, 0, 0, 1]])
    assert stats.fields(test).tolist() == [[1, 0, 3, 3], [0, 1, 3, 0], [0, 0, 0, 2]]


def test_an_interval_over_fields_is_wider_where_one_field_carries_the_difference():
    sizes, classes = np.array([50, 50, 50, 50]), np.array([0, 0, 1, 1])
    even = [np.array([5, 5, 5, 5]) + noise for noise in (0, 1, -1, 0)]
    one = [np.array([20, 0, 0, 0]) + noise for noise in (0, 1, -1, 0)]
    same = [sizes] * 4, [classes] * 4
    mean, low, high, *corrected = stats.over_fields(even, *same)
    assert mean == pytest.approx(10) and 8 < low < 10 < high < 12
    assert corrected == pytest.approx([low, high], abs=0.3), "nothing is lopsided"
    mean, low, high, *_ = stats.over_fields(one, *same)
    assert mean == pytest.approx(10) and low < 0 < 25 < high, "the field may not be drawn, or often"
    assert [stats.over_fields(one, *same, least=least)[0] for least in (1, 90)] == pytest.approx([10, 10])
    rare = np.array([50, 50, 50, 2])
    gains, others = [np.array([0, 0, 0, 2])] * 3, ([rare] * 3, [np.array([0, 0, 0, 1])] * 3)
    assert stats.over_fields(gains, *others, least=1)[0] == pytest.approx(50), "average accuracy: half of two classes"
    assert stats.over_fields(gains, *others, least=30)[0] == 0
    assert stats.over_fields(gains, *others)[0] == pytest.approx(200 / 152)
    nested = stats.over_fields(even[:2], [sizes, sizes + 1], [classes] * 2)
    assert nested[1] < nested[0] < nested[2]


def test_the_interval_covers_what_a_new_scene_of_such_fields_would_have():
    rng, hits, mended = np.random.default_rng(0), 0, 0
    sizes = [np.full(40, 20)] * 5
    for _ in range(200):
        field = rng.normal(1, 4, 40)  # pixels; of this population 5 points are the truth
        gained = [field + rng.normal(0, 1) + rng.normal(0, 1, 40) for _ in range(5)]
        _, low, high, *corrected = stats.over_fields(gained, sizes, [np.zeros(40, int)] * 5, draws=400)
        hits += low <= 5 <= high
        mended += corrected[0] <= 5 <= corrected[1]
    assert 0.88 < hits / 200 <= 1 and 0.88 < mended / 200 <= 1


def test_an_interval_is_corrected_where_most_draws_lie_on_one_side():
    """Of two classes one is a large field, level, and a sliver that the first network has right."""
    sizes, classes = [np.array([50, 50, 50, 2])] * 5, [np.array([0, 0, 1, 1])] * 5
    gained = [np.array([1, 0, 0, 2]) + noise for noise in (0, 1, -1, 0, 0)]
    mean, low, high, *corrected = stats.over_fields(gained, sizes, classes, least=1)
    assert corrected[0] < low < mean < corrected[1] < high


def test_signs():
    assert stats.sign_test([1, 2, 3, -1, 0]) == (3, 1, pytest.approx(reference.binomtest(1, 4).pvalue))
    assert stats.sign_test([]) == (0, 0, 1)


def test_equal_means_have_one_rank_whatever_their_last_bit():
    index = pd.MultiIndex.from_product([["a", "b", "c"], [98]])
    split, tied = pd.Series([1.0, 2.0, 2.0 + 4e-16], index), pd.Series([1.0, 2.0, 2.0], index)
    other = pd.Series([1.0, 3.0, 2.0], index)
    assert stats.alike(split, other)[98] == stats.alike(tied, other)[98] == pytest.approx(0.866, abs=1e-3)


def test_a_published_pair_field_by_field():
    store = Store(project() / "book" / "results")
    recipe = dict(epochs=60, lr=2e-3, schedule="one_cycle")
    place = store, "indian_pines_8bit", ["disjoint"]
    mine, other = (stored(*place, [name], (0,), seeds=3, **recipe) for name in ("lens_taught", "cnn2d_taught"))
    pair = fields.Pair(store, stats.pick(mine), other)
    table = fields.table({"taught": pair}).set_index("metric")
    assert table["fields"].tolist() == ["64"] * 3 and table["seeds"].tolist() == [3] * 3
    for metric, line in table.iterrows():
        assert line["difference"] == pytest.approx((mine[metric].to_numpy() - other[metric].to_numpy()).mean(), abs=1e-3)
        assert pair.interval(metric)[0] == pytest.approx(line["difference"], abs=1e-3)
        assert line["low, fields"] < line["difference"] < line["high, fields"]
    assert sum(pair.signs()[:2]) <= 40, "fields of ten pixels"


def test_methods_are_held_against_others_at_the_sizes_and_seeds_that_both_have():
    store = Store(project() / "book" / "results")
    rows = stored(store, "indian_pines_8bit", ["disjoint"], ["scratch", "sfp", "l1", "cnn2d"], (0, 90, 98), seeds=3)
    less = fields.Less(SimpleNamespace(store=store, first="disjoint"), rows)
    both = [rows[(rows["method"] == name) & (rows["ratio"] > 0)].groupby("seed")["oa"].mean() for name in ("sfp", "scratch")]
    assert less("sfp", "scratch").both["oa"][0] == pytest.approx((both[0] - both[1]).mean(), abs=1e-3)
    assert less("sfp", "scratch") is less("sfp", "scratch") and less("sfp", "cnn2d").seeds == [], "no size in common"
    assert less(["sfp", "l1"], "scratch").better()["holds"] in (True, False, "open")
    assert less(["sfp", "nobody"], "scratch").better() == {"holds": None}, "a group that lacks a method is not here"
    lacking = rows[~((rows["method"] == "sfp") & (rows["ratio"] == 98) & (rows["seed"] == 2))]
    assert fields.Less(SimpleNamespace(store=store, first="disjoint"), lacking)("sfp", "scratch").seeds == [0, 1]
    found = less.gains(["sfp", "nobody"], "scratch")
    assert list(found) == ["oa", "aa30"] and list(found["oa"].index) == ["sfp"]
