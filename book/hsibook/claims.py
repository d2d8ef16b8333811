"""What the rows come to: comparisons that several pages make in the same way."""

from collections.abc import Sequence

import pandas as pd

from hsibook import stats
from hsibook.text import signed
from hsilib.errors import HsiError
from hsilib.methods import family


def comparable() -> list[str]:
    """Methods that end in the same small network and may be held against each other.  Not SimKD, which
    deploys more, and not what was trained for a third of the time or cut by lot."""
    scratch = ["scratch", "scratch_b", "scratch_aug", "scratch_crops", "label_smoothing"]
    taught = [*family("offline"), *family("online"), *family("self")]
    cut = [*family("pruning"), "l1_iterative", "l1_multipass"]
    return [*scratch, *cut, *(name for name in taught if name != "simkd")]


def by_seed(
    rows: pd.DataFrame, names: Sequence[str], ratios: Sequence[int], metric: str = "oa"
) -> pd.DataFrame:
    """One accuracy, seeds × (method, size): the seeds that have them all, of which there must be two."""
    table = rows.pivot_table(index="seed", columns=["method", "ratio"], values=metric)
    table = table.reindex(columns=pd.MultiIndex.from_product([names, ratios])).dropna()
    if len(table) < 2:
        says = "see hsilib study --list"
        raise HsiError(f"the store holds fewer than two seeds of every small network; {says}")
    return table


def gains(table: pd.DataFrame, other: str = "scratch") -> pd.DataFrame:
    """Every method of ``by_seed`` against one of them in the mean over the sizes: difference, interval, p
    after Holm."""
    mean = table.T.groupby(level=0).mean().T
    pairs = {name: mean[[name, other]].dropna() for name in mean if name != other}
    gains = {name: stats.paired(pair[name], pair[other]) for name, pair in pairs.items()}
    gains = pd.DataFrame(gains, index=["difference", "low", "high", "p"]).T
    return gains.assign(p=stats.holm(gains["p"])).sort_values("difference", ascending=False)


def gain(gained: pd.DataFrame, name: str) -> str:
    """One line of ``gains`` as text; a dash where a method would be held against itself."""
    return signed(*gained.reindex([name])[["difference", "low", "high"]].iloc[0])


SEPARATE = ("salinas_a", "jasper_ridge", "samson")  # scenes that can be divided without leakage
