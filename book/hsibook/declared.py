"""What was declared before it was run: networks by division, questions between them, and answers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from hsibook import stats
from hsibook.apps import called
from hsibook.fields import Pair
from hsibook.text import signed
from hsilib.identity import changed_options
from hsilib.study.runs import declared
from hsilib.study.store import Store

DRAWS = 10_000
Pool = Callable[[str], bool]  # which networks it holds, by their names


class Declared:
    """The runs of a study file that the store holds; a network is there once all of its seeds are."""

    def __init__(self, path: Path, store: Store) -> None:
        self.store, rows, self.asked = store, store.rows(), {}
        for run in sum(declared(path).values(), []):
            name = called(run.method, run.ratio, changed_options(run))
            self.asked.setdefault(run.split, {}).setdefault(name, []).append(run.id)
        self.found = {}  # {division: {network: rows}}
        for split, networks in self.asked.items():
            parts = {name: rows[rows["run"].isin(ids)] for name, ids in networks.items()}
            whole = {name: part for name, part in parts.items() if len(part) == len(networks[name])}
            self.found[split] = whole
        self.answers = pd.DataFrame()

    @property
    def missing(self) -> list[str]:
        """The networks that lack a run in any division."""
        names = dict.fromkeys(name for networks in self.asked.values() for name in networks)
        return [name for name in names if any(name not in networks for networks in self.found.values())]

    def best(self, split: str, pool: Pool, metric: str) -> str:
        """The network of a pool with the highest mean of these very rows, which favours it."""
        names = filter(pool, self.found[split])
        return max(names, key=lambda name: self.found[split][name][metric].mean(), default="")

    def ask(self, questions: Sequence[tuple[int, str, str]], pools: Mapping[str, Pool]) -> pd.DataFrame:
        """A line for each question, division and measure: the difference with its interval over seeds and
        fields, which network is compared with, signs of fields, and their p after Holm over one question.

        A question is its number, a network, and the one that it is compared with, or a pool of them."""
        lines, pairs = [], {}
        for question, mine, other in questions:
            for split in self.found:
                for metric in ("oa", "aa30"):
                    against = self.best(split, pools[other], metric) if other in pools else other
                    if not {mine, against} <= set(self.found[split]):
                        continue
                    key = split, mine, against
                    if key not in pairs:
                        pairs[key] = Pair(self.store, *(self.found[split][name] for name in key[1:]))
                    ends, signs = pairs[key].interval(metric, DRAWS), pairs[key].signs()
                    lines.append([question, mine, other, split, metric, *ends, against, *signs])
        columns = "question mine other split metric difference low high against better worse p".split()
        self.answers = pd.DataFrame(lines, columns=columns)
        self.answers["p"] = self.answers.groupby("question")["p"].transform(stats.holm)
        return self.answers

    def everywhere(
        self, mine: str, other: str, names: Mapping[str, str], alone: str = "", level: bool = False
    ) -> dict:
        """Whether a network is ahead of another, or ``level`` or ahead, in all divisions that are named and
        in both measures, as ``claim`` takes it; in the division ``alone`` AA30 decides.  What is level is
        open while networks lack runs."""
        part = self.answers[(self.answers["mine"] == mine) & (self.answers["other"] == other)]
        part = part[part["split"].isin(names) & ((part["metric"] == "aa30") | (part["split"] != alone))]
        if part["split"].nunique() < len(names):
            return {"holds": None}
        holds = (part["high"] >= 0).all() if level else (part["low"] > 0).all()
        fails = (part["high"] < 0).any() if level else (part["high"] < 0).all()
        state = False if fails else bool(holds and not (level and self.missing)) or "open"
        each = part[["split", "metric", "difference", "low", "high"]].itertuples(index=False)
        told = (f"{names[split]} {metric.upper()} {signed(*ends)}" for split, metric, *ends in each)
        return {"holds": state, "evidence": "; ".join(told)}
