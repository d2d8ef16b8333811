import numpy as np
import pandas as pd
import pytest
from scipy import stats as reference

from hsilib import stats


def test_spread_and_prediction_interval():
    values = [85.0, 86.0, 88.0]
    mean, sd, half = stats.spread(values)
    low, high = reference.t.interval(0.95, 2, mean, reference.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert stats.prediction_interval(values)[1] - mean == pytest.approx(half * 2)  # sqrt(1 + 1/3) : sqrt(1/3) = 2
    assert np.isnan(stats.spread([1.0])[1]) and np.isnan(stats.prediction_interval([1.0, 2.0])[0])


def test_prediction_interval_covers_the_next_run():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        *seen, new = rng.normal(size=4)
        low, high = stats.prediction_interval(seen)
        hits += low <= new <= high
    assert 0.935 < hits / 2000 < 0.965


def test_paired_and_holm():
    a, b = [3.0, 4.0, 6.0], [1.0, 3.0, 4.0]
    mean, low, high, p = stats.paired(a, b)
    assert mean == pytest.approx(5 / 3) and p == pytest.approx(reference.ttest_rel(a, b).pvalue) and low < mean < high
    assert np.isnan(stats.paired([1, 2], [1, 2])[3])
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(stats.holm([0.01, np.nan])[1]) and stats.holm([0.01, np.nan])[0] == pytest.approx(0.01)


def test_paired_table_uses_common_seeds_only():
    rows = pd.DataFrame({"method": list("aaabb"), "seed": [0, 1, 2, 1, 2], "oa": [1.0, 2.0, 4.0, 1.0, 2.0]})
    table = stats.paired_table(rows, {"a - b": (rows["method"] == "a", rows["method"] == "b")})
    assert table.loc[0, "seeds"] == 2 and table.loc[0, "difference"] == pytest.approx(1.5)
