
import numpy as np
import pandas as pd
import pytest
from hsibook import elsewhere, stats
from hsibook.claims import by_seed, comparable, gains
from hsibook.paper import within
from hsibook.tables import as_html, summary
from hsibook.text import p_value, signed
from hsilib.errors import HsiError
from scipy import stats as reference


def test_spread_and_prediction_interval():
    values = [85.0, 86.0, 88.0]
    mean, sd, half = stats.spread(values)
    low, high = reference.t.interval(0.95, 2, mean, reference.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert stats.prediction_interval(values)[1] - mean == pytest.approx(half * 2)  # sqrt(1 + 1/3) : sqrt(1/3) = 2
    assert np.isnan(stats.spread([1.0])[1]) and np.isnan(stats.prediction_interval([1.0, 2.0])[0])


def test_paired_and_holm():
    a, b = [3.0, 4.0, 6.0], [1.0, 3.0, 4.0]
    mean, low, high, p = stats.paired(a, b)
    assert mean == pytest.approx(5 / 3) and p == pytest.approx(reference.ttest_rel(a, b).pvalue) and low < mean < high
    assert np.isnan(stats.paired([1, 2], [1, 2])[3])
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(stats.holm([0.01, np.nan])[1]) and stats.holm([0.01, np.nan])[0] == pytest.approx(0.01)


def test_components_of_a_made_up_table():
    rng = np.random.default_rng(0)
    shape, sds = (60, 80), (3.0, 1.0, 2.0)
    cells, seeds, rest = rng.normal(size=shape[1]), rng.normal(size=(shape[0], 1)), rng.normal(size=shape)
    found = stats.components(80 + sds[0] * cells + sds[1] * seeds + sds[2] * rest)
    assert found == pytest.approx((sds[0] * cells.std(ddof=1), sds[1] * seeds.std(ddof=1), sds[2]), rel=0.05)
    assert stats.components([[1.0, 1.0], [2.0, 2.0]]) == pytest.approx((0.0, 0.5**0.5, 0.0))


def test_seeds_needed_find_the_difference_as_often_as_promised():
    n = stats.seeds_needed(2.0, 2.0)
    draws = np.random.default_rng(0).normal(2.0, 2.0, (4000, n))
    assert n == 10 and (reference.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.03)
    assert stats.seeds_needed(0.2, 2.0) == pytest.approx(100 * (1.96 + 0.84) ** 2, abs=5)  # as the normal has it
    effect = stats.detectable(10, 3.0)
    assert stats.seeds_needed(1.001 * effect, 3.0) == 10 < stats.seeds_needed(0.9 * effect, 3.0)


def test_a_published_value_is_held_against_one_more_run():
    values = [85.0, 86.0, 88.0]
    low, high = stats.prediction_interval(values)
    assert within(values, low) == within(values, high + 0.04) == 1 and within(values, high + 0.06) == 0
    assert within([80.0, 80.0], 80.04) == 1 and within([80.0, 80.0], 80.1) == 0  # no randomness
    for values, value in (([85.0, 86.0], 85.0), ([85.0], 85.0), ([], 85.0), ([85.0, 86.0, 88.0], np.nan)):
        assert np.isnan(within(values, value))


def rows_of(oa, split="disjoint", scene="indian_pines_8bit"):
    """Rows of made-up runs: ``oa`` maps (method, size) to one value per seed; AA falls where OA rises."""
    lines = [(m, r, split, seed, value) for (m, r), values in oa.items() for seed, value in enumerate(values)]
    rows = pd.DataFrame(lines, columns=["method", "ratio", "split", "seed", "oa"])
    return rows.assign(aa=100 - rows["oa"], scene=scene)


def test_accuracies_by_seed_are_of_the_seeds_that_all_have():
    noise = np.array([0.0, 0.1, -0.1, 0.05])
    oa = {("scratch", 98): 70 + noise, ("dml", 98): 80 - noise, ("one", 98): [80.3, 79.0, 80.4, 79.6]}
    oa |= {("cs_kd", 98): [90.0, 90.0]}  # two seeds only
    table = by_seed(rows_of(oa), ["scratch", "dml", "one"], [98])
    assert len(table) == 4 and table["dml", 98].mean() > table["one", 98].mean()
    assert list(by_seed(rows_of(oa), ["scratch", "cs_kd"], [98]).index) == [0, 1]  # the seeds both have
    with pytest.raises(HsiError, match="fewer than two seeds"):
        by_seed(rows_of(oa), ["scratch", "slimming"], [98])


def test_gains_over_scratch_in_the_mean_over_sizes():
    noise = np.array([0.0, 0.1, -0.1])
    oa = {("scratch", r): 70 + noise for r in (90, 98)} | {("dml", 90): 72 + 2 * noise, ("dml", 98): 70 + noise}
    oa |= {("one", r): 69 - noise for r in (90, 98)}
    found = gains(by_seed(rows_of(oa), ["scratch", "dml", "one"], [90, 98]))
    assert list(found.index) == ["dml", "one"] and found.difference.tolist() == pytest.approx([1, -1])
    over = gains(by_seed(rows_of(oa), ["scratch", "dml", "one"], [90, 98]), "one")
    assert over["difference"].to_dict() == pytest.approx({"dml": 2, "scratch": 1})
    assert found.loc["dml", "p"] < 0.05 and found.loc["dml", "low"] > 0 > found.loc["one", "high"]


def runs_of(order, seeds=4, shift=0.0):
    """Runs of Scratch and of methods that lie ``order`` points above it, at two sizes."""
    rng, oa = np.random.default_rng(0), {}
    for ratio in (90, 98):
        base = 80 + shift + rng.normal(size=seeds)
        for name, more in {"scratch": 0, **order}.items():
            oa[name, ratio] = base + more + 0.01 * rng.normal(size=seeds)
    return rows_of(oa)


def test_differences_are_paired_by_seed_and_orders_are_compared_over_methods():
    order = {"l1": 1.0, "one": 2.0, "dml": 3.0, "ddgsd": 4.0}
    names = list(order)
    here = elsewhere.differences(runs_of(order), names, (90, 98), "disjoint", "scratch")
    there = elsewhere.differences(runs_of(order, seeds=3, shift=-30), names, (90, 98), "disjoint", "scratch")
    mean, low, high = here.loc[("one", 98), "oa"]
    assert abs(mean - 2) < 0.02 and low < 2 < high and high - low < 0.1  # the spread of Scratch itself is gone
    assert abs(here.loc[("one", 98), "aa"][0] + 2) < 0.02 and here.loc[("one", 98), "seeds"] == 4
    assert stats.alike(here["oa"].str[0], there["oa"].str[0]).mean() == 1
    turned = dict(zip(names, [4.0, 3.0, 2.0, 1.0]))
    other = elsewhere.differences(runs_of(turned), names, (90, 98), "disjoint", "scratch")
    assert stats.alike(here["oa"].str[0], other["oa"].str[0]).mean() == -1


def test_orders_of_few_seeds_are_unsure():
    rng = np.random.default_rng(0)
    columns = pd.MultiIndex.from_product([[f"m{i}" for i in range(12)], [98]])

    def table(noise, seeds=10):
        return pd.DataFrame(np.arange(12) + rng.normal(0, noise, (seeds, 12)), columns=columns)

    sure, unsure = (stats.alike_between(table(noise), table(noise), 98) for noise in (0.1, 20))
    assert sure[0] > 0.98 and sure[1] <= 1
    assert unsure[1] - unsure[0] > 0.5
    assert np.isnan(stats.alike_between(table(1, seeds=2), table(1), 98)[0])


def test_a_table_of_few_but_long_columns_is_cards_on_a_telephone():
    short = pd.DataFrame({"model": ["A", "B"], "OA %": ["1.0", "2.0"], "note": ["a", "b"]})
    long = short.assign(**{"OA %": ["+1.0 [−10.0, +12.0]"] * 2, "AA %": ["+2.0 [−10.0, +12.0]"] * 2})
    assert "hsi-wide" not in as_html(short) and "hsi-wide" in as_html(long) and "hsi-long" in as_html(long)


def test_sizes_of_forests_are_means_over_seeds():
    rows = rows_of({("rf", 0): [80.0, 81.0]}).assign(options="", aa30=70.0, bytes=[10e6, 20e6], payload=[30e3, 40e3])
    rows = rows.assign(**dict.fromkeys("top5 kappa f1 params macs leakage epochs train test".split(), 1))
    assert summary(rows)[["bytes", "payload"]].iloc[0].tolist() == [15e6, 35e3]


def test_a_sign_is_not_lost_in_rounding_and_a_small_p_is_not_zero():
    assert [p_value(p) for p in (0.0004, 0.0214, 1.0, np.nan)] == ["< 0.001", "0.021", "1.000", "–"]
    assert signed(1.9, 0.04, 3.9) == "+1.9 [+0.04, +3.9]" and signed(0.001, -0.04, 0.06) == "0.0 [−0.04, +0.1]"
    assert signed(-0.96, np.nan, np.nan) == "−1.0" and signed(np.nan, np.nan, np.nan) == "–"


def test_networks_that_may_be_held_against_each_other():
    names = comparable()
    assert {"scratch", "l1", "ca_mkd", "ddgsd", "l1_multipass"} <= set(names)
    assert not {"simkd", "l1_short", "lots", "cnn2d", "static"} & set(names)
