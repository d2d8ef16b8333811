"""Runs and plans of runs.

A `Run` is all that decides a result.  Its identity is computed from all of it, so a changed default or a
raised method version is another run and never a stale hit.
"""

import itertools
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsilib import methods
from hsilib.data import described, registry
from hsilib.data.own import named
from hsilib.data.scenes import Scene
from hsilib.data.splits import SPLITS
from hsilib.errors import HsiError, known, shown
from hsilib.files import outside, readable
from hsilib.identity import Recipe, Run

if TYPE_CHECKING:
    import pandas as pd

    from hsilib.study.store import Store

MOST_SEEDS, MOST_RUNS = 10_000, 50_000  # of a plan, and of a study


def make_run(
    scene: str | Scene | registry.Place, split: str, method: str, ratio: int = 0, seed: int = 0,
    epochs: int | None = None, options: dict[str, Any] | None = None, **recipe: Any
) -> Run:
    """Return a run with all defaults filled in and all names checked.

    ratio: the size of a small network (90, 95 or 98), or 0; recipe: ``lr``, ``batch``, ``schedule`` or
    ``precision``, where they are to differ.

    >>> run = make_run("synthetic_fields_small", "disjoint", "scratch", ratio=98, epochs=2)
    >>> print(run)
    scratch 98 % · synthetic_fields_small · disjoint · seed 0
    """
    place = scene if isinstance(scene, registry.Place) else registry.place(named(scene))
    known("split", split, SPLITS)
    chosen = methods.get(method)
    if ratio not in chosen.ratios:
        raise HsiError(f"method {method} has no size {ratio!r}; it has {', '.join(map(str, chosen.ratios))}")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise HsiError(f"the seed must be a whole number of at least 0, not {seed!r}")
    options = chosen.defaults(place.name) | (options or {})
    for name, value in options.items():
        default = chosen.options[known(f"hyper-parameter of {method}", name, chosen.options)]
        fits = isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool)
        if not fits and not (isinstance(default, float) and type(value) is int):
            raise HsiError(f"{method}: {name} must be {type(default).__name__}, not {shown(value)}")
        methods.within(method, name, value)
        options[name] = type(default)(value)
    for name in recipe:
        known("part of the recipe", name, Recipe.__dataclass_fields__)
    # what is made of another method's network is trained as that is
    source = known("method for the hyper-parameter of", options.get("of", method), methods.METHODS)
    usual = methods.get(source).recipe
    recipe |= {} if epochs is None else {"epochs": epochs}
    recipe = Recipe(**{"lr": place.lr} | usual | recipe)
    recipe = replace(recipe, epochs=max(1, round(recipe.epochs * chosen.epochs)))
    return Run(place.name, split, method, ratio, seed, tuple(sorted(options.items())), recipe, place.content)


def plan(
    scene: str | Scene, splits: Iterable[str] | str, names: Sequence[str] | str,
    ratios: Sequence[int] | int = (0,), seeds: int | dict[str, int] = 3, **common: Any
) -> list[Run]:
    """Return the runs of a grid.

    scene: its name, or a scene from arrays, which is kept among your own under its name;

    names: the methods; each runs at those of ``ratios`` it has, or at all its sizes if it has none of them;
    one split, method or ratio need not be in a list; seeds: the number of repetitions, or {split: number};
    common: what ``make_run`` is to give all of them.

    >>> len(plan("synthetic_fields_small", ["disjoint"], ["cnn2d", "scratch"], [0, 98], seeds=2))
    4
    """
    splits, names = ([given] if isinstance(given, str) else given for given in (splits, names))
    ratios = [ratios] if isinstance(ratios, int) else ratios
    for ratio in ratios:
        known("size", str(ratio), {str(r) for m in methods.METHODS.values() for r in m.ratios})
    sizes = {name: methods.get(name).ratios for name in names}
    sizes = {name: [r for r in has if r in ratios] or has for name, has in sizes.items()}
    runs, place = [], registry.place(named(scene))
    for split in splits:
        many = seeds[split] if isinstance(seeds, dict) else seeds
        if not 1 <= many <= MOST_SEEDS:
            most = f"at least 1 and at most {MOST_SEEDS}"
            raise HsiError(f"nothing to run: the number of seeds must be {most}, not {many}")
        grid = itertools.product(range(many), names)
        runs += [make_run(place, split, name, r, seed, **common) for seed, name in grid for r in sizes[name]]
    if names and not runs:
        raise HsiError("nothing to run: no split is left")
    return list(dict.fromkeys(runs))


def stored(
    store: "Store", scene: str, splits: Iterable[str], names: Sequence[str], ratios: Sequence[int],
    seeds: int | dict[str, int] = 20, **common
) -> "pd.DataFrame":
    """Return the rows that the store holds of a grid, for pages that read and train nothing."""
    rows = store.rows()
    return rows[rows["run"].isin([run.id for run in plan(scene, splits, names, ratios, seeds, **common)])]


def declared(path: Path | str) -> dict[str, list[Run]]:
    """Return {title of a part: its runs} of a study file.

    That is a TOML file with a ``[[part]]`` for each grid; its methods are names or families.
    """
    with readable(f"{path}: not a study file, as book/study.toml is one"):
        text = outside(path, 1_000_000).decode()
        if max(map(len, text.splitlines()), default=0) > 10_000:
            raise ValueError("a line is longer than 10,000 characters")
        said = tomllib.loads(text)
        if list(said) != ["part"] or not isinstance(said["part"], list):
            raise ValueError("it has other than [[part]]")
    runs, many = {}, 0
    for part in said["part"]:
        try:
            described.held("part", part)
        except HsiError as error:
            raise HsiError(f"{path}: {error}") from None
        if part["title"] in runs:
            raise HsiError(f"{path}: two parts are called {part['title']!r}")
        names = [name for entry in part["methods"] for name in methods.family(entry) or [entry]]
        sized = [name for name in names if methods.get(name).ratios != (0,)]
        if "ratios" not in part and sized:
            sizes = ", ".join(map(str, methods.get(sized[0]).ratios))
            raise HsiError(f"{path}: {part['title']!r} has no ratios; {sized[0]} has the sizes {sizes}")
        ratios = part.get("ratios", [0])
        common = {key: part[key] for key in ("epochs", "batch", "lr", "schedule", "options") if key in part}
        grid = part["splits"], names, ratios, part["seeds"]
        many += len(part["scenes"]) * len(part["splits"]) * len(names) * len(ratios) * part["seeds"]
        if many > MOST_RUNS:
            raise HsiError(f"{path}: more than {MOST_RUNS:,} runs")
        scenes = dict.fromkeys(part["scenes"])
        runs[part["title"]] = sum((plan(scene, *grid, **common) for scene in scenes), [])
    return runs
