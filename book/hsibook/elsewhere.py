"""The same methods elsewhere: on other scenes, in other recipes, after a longer training.  All of it is read
from the store."""

from collections.abc import Sequence

import pandas as pd

from hsibook import paper, stats
from hsibook.chapter import Chapter
from hsibook.evidence import DESIGNED
from hsibook.fields import Less
from hsibook.tables import METRICS
from hsibook.text import brief, mean_sd, number, signed
from hsilib.data.scenes import entry
from hsilib.methods import get, title
from hsilib.study.runs import stored
from hsilib.study.store import Store

NEAR = "pavia_university_visible"  # the scene that chapters about one scene look at beside it
WHOLE = "pavia_university"  # the scene of the paper that it is a part of


def short(scene: str) -> str:
    """How a scene is called in a sentence."""
    return brief(entry(scene).title)


def held(scenes: dict, names: Sequence[str], ratios: Sequence[int] = (0,), **common) -> pd.DataFrame:
    """What the store holds of these methods on scenes, {scene: splits}, in this order."""
    places = [(scene, split) for scene, splits in scenes.items() for split in splits]
    parts = [stored(Store(), scene, [split], names, ratios, **common) for scene, split in places]
    return pd.concat(parts, ignore_index=True) if parts else Store().rows()[:0]


def designed(c: Chapter, names: Sequence[str], **common) -> pd.DataFrame:
    """What the store holds of these methods in the recipe of the compact networks, on the first split."""
    return stored(c.store, c.scene, [c.first], names, c.ratios, **DESIGNED, **common)


def gains(c: Chapter, less: Less, names: Sequence[str]) -> dict[str, dict[str, pd.DataFrame]]:
    """What methods change against Scratch on the chapter's scene, and on the scene beside it where the store
    has them: {scene: tables}, as ``figures.gains`` draws them."""
    scenes = {brief(c.card.title): less.gains(names, "scratch")}
    if not c.smoke and c.scene != NEAR:
        rows = held({NEAR: [c.first]}, [*names, "scratch"], [0, *c.ratios])
        scenes[short(NEAR)] = Less(c, rows).gains(names, "scratch")
    return {scene: tables for scene, tables in scenes.items() if tables.get("oa") is not None}


def recipes(c: Chapter, rows: pd.DataFrame, names: Sequence[str], more: Sequence = ()) -> pd.DataFrame:
    """OA and AA30 at each size, mean ± sd over seeds, of labels alone, of these methods and of ``more`` in
    the chapter's recipe, and of the same small networks in the recipe of the compact ones."""
    parts = [("Scratch (labels alone)", stats.pick(rows, method="scratch"))]
    parts += [*((title(name), stats.pick(rows, method=name)) for name in names), *more]
    parts = [(label, f"{part['epochs'].max()} epochs", part) for label, part in parts if len(part)]
    parts += [(title(name), "chapter 16", designed(c, [name])) for name in ("scratch_aug", "scratch_taught")]
    int8 = designed(c, ["static"], options={"of": "scratch_taught"})
    parts.append((f"{title('scratch_taught')}, in int8", "chapter 16", int8))
    lines = []
    for label, recipe, part in (one for one in parts if len(one[2])):
        cells = {f"{METRICS[metric]}, {size} %": mean_sd(part[metric][part["ratio"] == size])
                 for size in c.ratios for metric in ("oa", "aa30")}
        lines.append({"network": label, "recipe": recipe} | cells)
    return pd.DataFrame(lines)


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
    c: Chapter, rows: pd.DataFrame, other: str, table: int | dict, ratios: Sequence[int]
) -> pd.DataFrame:
    """What methods change against ``other`` on the chapter's scene and on the other one, and the paper's own
    difference there.  ``table``: the table of the paper, or {size: table}."""
    names = [name for name in c.names if name != other]
    far = held({NEAR: c.splits} if c.scene != NEAR and not c.smoke else {}, [*names, other], [0, *ratios])
    lines = []
    for split in c.splits:
        here, there = (differences(r, names, ratios, split, other) for r in (rows, far))
        for name, ratio in (key for key in here.index if key in there.index):
            place = table[ratio] if isinstance(table, dict) else table
            values = [paper.paper_value(place, get(who).paper, WHOLE, split, ratio=size)
                      for who, size in ((name, ratio), (other, _size(other, ratio)))]
            mine = [signed(*frame.loc[(name, ratio), m]) for m in ("oa", "aa") for frame in (here, there)]
            theirs = number(values[0] - values[1]).replace("-", "−")
            lines.append([title(name, ratio), split, *mine[:2], theirs, *mine[2:]])
    near = brief(c.card.title)
    columns = ["method", "split", f"OA, {near}", "OA, Pavia", "OA, paper, Pavia", f"AA, {near}", "AA, Pavia"]
    return pd.DataFrame(lines, columns=columns)
