"""The same methods elsewhere: on other scenes, as differences, for the inputs differ, and after a longer
training.  All of it is read from the store."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from hsibook import paper, stats
from hsibook.chapter import Chapter
from hsibook.claims import gained
from hsibook.tables import publish
from hsibook.text import brief, mean_sd, number, say, signed
from hsilib.data.scenes import entry
from hsilib.errors import joined
from hsilib.methods import get, title
from hsilib.study.runs import stored
from hsilib.study.store import Store

NEAR = "pavia_university_visible"  # the scene that chapters about one scene look at beside it
LEAST = 3  # methods and sizes that make an order
PAPER = {"pavia_university_visible": "pavia_university"}  # scenes that are a part of one of the paper's


def by_scene(rows: pd.DataFrame, names: Sequence[str], metric: str = "oa") -> pd.DataFrame:
    """One accuracy of these models, a line each, a column for each scene and split, mean ± sd over draws."""
    table = {"model": [title(name) for name in names]}
    for (scene, split), part in rows.groupby(["scene", "split"], sort=False):
        texts = [mean_sd(stats.pick(part, method=name)[metric]) for name in names]
        table[f"{short(scene)}, {split}"] = texts
    return pd.DataFrame(table)


def short(scene: str) -> str:
    """How a scene is called in a sentence."""
    return brief(entry(scene).title)


def held(scenes: dict, names: Sequence[str], ratios: Sequence[int] = (0,), **common) -> pd.DataFrame:
    """What the store holds of these methods on scenes, {scene: splits}, in this order."""
    places = [(scene, split) for scene, splits in scenes.items() for split in splits]
    parts = [stored(Store(), scene, [split], names, ratios, **common) for scene, split in places]
    return pd.concat(parts, ignore_index=True) if parts else Store().rows()[:0]


def far(c: Chapter, names: Sequence[str], asked: bool = True) -> pd.DataFrame:
    """What the store holds of these methods on the other scene, at the chapter's sizes on its first split;
    nothing where it is not asked for."""
    asked = asked and not c.smoke and c.scene != NEAR
    return held({NEAR: [c.first]} if asked else {}, names, c.ratios)


def changes(
    c: Chapter, rows: pd.DataFrame, there: pd.DataFrame, names: Sequence[str], other: str = "scratch"
) -> dict:
    """{scene: what methods change against ``other``, as ``claims.gained``} of the chapter's scene and of
    the rows of another one."""
    parts = {brief(c.card.title): rows} | ({short(NEAR): there} if len(there) else {})
    return {scene: gained(part, names, c.first, c.ratios, other) for scene, part in parts.items()}


def against_flips(c: Chapter, rows: pd.DataFrame, there: pd.DataFrame) -> str:
    """What the method with the highest mean changes against flips alone on both scenes, and for whom that
    is, as Markdown; nothing where there are no flips."""
    found = changes(c, rows, there, c.names, "scratch_aug")
    first = next(iter(found.values()))
    if not first:
        return ""
    best, told, shown = first["oa"]["difference"].idxmax(), [], {}
    for scene, tables in found.items():
        if all(best in table.index for table in tables.values()):
            lines = [table.loc[best, ["difference", "low", "high"]] for table in tables.values()]
            told.append(f"{' and '.join(signed(*line) for line in lines)} ({scene.partition(',')[0]})")
            shown[scene] = tuple(np.sign(low) if low * high > 0 else 0 for _, low, high in lines)
    verdicts = []
    for scene, ways in shown.items():
        names = {way: [n for n, w in zip(("overall", "average"), ways) if w == way] for way in (1, -1)}
        words = {"better": joined(names[1]), "worse": joined(names[-1])}
        some = [f"{word} {which} accuracy" for word, which in words.items() if which]
        verdicts.append(f"{joined(some) or 'no difference'} on {scene.partition(',')[0]}")
    advice = {
        (1, -1): "Take it where overall accuracy is what counts, flips where every class counts as much.",
        (-1, 1): "Take it where every class counts as much, flips where overall accuracy is what counts.",
    }.get(shown[next(iter(found))], "")
    return f"""
Flips need no other network. Against flips alone {title(best)} changes overall and average accuracy by
{joined(told)} points; the intervals show {"; ".join(verdicts)}. {advice}
"""


def _size(other, ratio):
    """The size at which a method is held against another: the same, if that has it."""
    return ratio if ratio in get(other).ratios else 0


def differences(
    rows: pd.DataFrame, names: Sequence[str], ratios: Sequence[int], split: str, other: str
) -> pd.DataFrame:
    """Both accuracies of every method and size less those of ``other``, paired by seed: OA and AA."""
    lines = {}
    for ratio in ratios:
        for name in names:
            mine = stats.pick(rows, method=name, ratio=ratio, split=split)
            base = stats.pick(rows, method=other, ratio=_size(other, ratio), split=split)
            both = mine.index.intersection(base.index)
            if len(both) > 1:
                pairs = [stats.paired(mine.loc[both, m], base.loc[both, m])[:3] for m in ("oa", "aa")]
                lines[name, ratio] = [len(both), *pairs]
    return pd.DataFrame(lines, index=["seeds", "oa", "aa"]).T


def beside(
    c: Chapter, rows: pd.DataFrame, other: str = "scratch", table: int | dict = 3,
    names: Sequence[str] | None = None, ratios: Sequence[int] | None = None,
) -> None:
    """Show what methods change against ``other`` on the chapter's scene and on the other one, beside the
    paper's own difference there, and say how alike the orders of methods are.

    ``table``: the table of the paper, or {size: table}.
    """
    names, ratios = names or c.names, c.ratios if ratios is None else ratios
    there_rows = held({NEAR: c.splits} if c.scene != NEAR else {}, [*names, other], [0, *ratios])
    lines, told = [], []
    for split in c.splits:
        here, there = (differences(r, names, ratios, split, other) for r in (rows, there_rows))
        both = [key for key in here.index if key in there.index]
        for name, ratio in both:
            place = table[ratio] if isinstance(table, dict) else table
            values = [
                paper.paper_value(place, get(who).paper, PAPER[NEAR], split, ratio=size)
                for who, size in ((name, ratio), (other, _size(other, ratio)))
            ]
            mine = [signed(*frame.loc[(name, ratio), m]) for m in ("oa", "aa") for frame in (here, there)]
            theirs = number(values[0] - values[1]).replace("-", "−")
            lines.append([title(name, ratio), split, *mine[:2], theirs, *mine[2:]])
        if len(both) >= LEAST:
            ranks = stats.alike(here["oa"].str[0], there["oa"].str[0], LEAST)
            sizes = joined(f"{size} %" if size else "dense" for size in ranks.index)
            told.append(f"{number(ranks.mean(), 2)} on the {split} split ({sizes})".replace("-", "−"))
    if not lines:
        return
    near, away = brief(c.card.title), "Pavia"
    columns = ["method", "split", near, away, "paper, Pavia", "AA here", "AA there"]
    rows = pd.DataFrame(lines, columns=columns)
    if rows["split"].nunique() == 1:
        rows = rows.drop(columns="split")
    if (rows["paper, Pavia"] == "–").all():
        rows = rows.drop(columns="paper, Pavia")
    overall = rows.drop(columns=["AA here", "AA there"])
    average = rows[[name for name in overall if name in ("method", "split")]]
    average = average.assign(**{near: rows["AA here"], away: rows["AA there"]})
    what = f"less that of {title(other)} in points, paired by seed, with 95 % intervals"
    where = f"Pavia: {entry(NEAR).title}, not the paper's input."
    single = " The paper's own difference is of single runs on 103 bands." if "paper, Pavia" in rows else ""
    publish(overall, "elsewhere-oa", f"Overall accuracy {what}. {where}{single}")
    publish(average, "elsewhere-aa", f"Average accuracy {what}. {where}")
    if told:
        say(
            "How alike the two scenes order the methods, by mean overall accuracy (rank correlation over "
            "methods, mean over the sizes named, which have enough of them; 1 is the same order, 0 none): "
            f"{joined(told)}."
        )


LONG = 120  # epochs


def longer(c: Chapter, names: Sequence[str]) -> None:
    """Show what the smallest networks reach on the random split when they are trained for longer."""
    if c.smoke or "random" not in c.splits or c.epochs >= LONG:
        return
    place, all_names = {c.scene: ["random"]}, ["scratch", *names]
    runs = {epochs: held(place, all_names, [c.small], epochs=epochs) for epochs in (c.epochs, LONG)}
    names = [n for n in all_names if all((part["method"] == n).sum() > 1 for part in runs.values())]
    if len(names) < 2 or names[0] != "scratch":
        return
    lines, base = {title(n): {} for n in names}, {}
    means, ahead = {epochs: [] for epochs in runs}, dict.fromkeys(runs, 0)
    for (epochs, part), metric in product(runs.items(), ("oa", "aa")):
        for name in names:
            mine = stats.pick(part, method=name)[metric]
            base[epochs, metric] = mine if name == "scratch" else base[epochs, metric]
            lines[title(name)][f"{metric.upper()} %, {epochs} epochs"] = mean_sd(mine, 2)
            if metric == "oa" and name != "scratch":
                both = mine.index.intersection(base[epochs, "oa"].index)
                gap = stats.paired(mine[both], base[epochs, "oa"][both])[:3]
                means[epochs].append(mine.mean())
                ahead[epochs] += gap[1] > 0
                lines[title(name)][f"OA less Scratch's, {epochs}"] = signed(*gap, 2)
    publish(
        pd.DataFrame(lines).T.rename_axis("method").reset_index().fillna("–"), "longer",
        f"Split random, {c.small} % size, mean ± sd over seeds, and differences in overall accuracy to "
        "Scratch of as many epochs, paired by seed, with 95 % intervals.",
    )
    went = [f"{number(base[epochs, 'oa'].mean(), 2)} % in {epochs} epochs" for epochs in runs]
    span = [f"from {number(min(m), 1)} to {number(max(m), 1)} %" for m in means.values()]
    say(f"""
Scratch has {went[0]} and {went[1]}. The means of the {len(names) - 1} other ways reach {span[0]}, and in the
longer training {span[1]}. The interval of their difference lies above zero for {ahead[c.epochs] or "none"} of
them, and in the longer training for {ahead[LONG] or "none"}.
""")
