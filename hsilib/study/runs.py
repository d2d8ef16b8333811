"""Runs and plans of runs.

A `Run` is everything that decides a result.  Its identity is computed from all of it, so a changed default or a raised
method version is another run and never a stale hit.
"""

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hsilib import methods
from hsilib.data import scenes
from hsilib.data.splits import SPLITS
from hsilib.errors import HsiError, known
from hsilib.models.train import Recipe

PROTOCOL = (
    1  # part of every identity: raise it when splits, inputs, training loop or metrics change their numbers
)


@dataclass(frozen=True)
class Run:
    scene: str
    split: str
    method: str
    ratio: int = 0
    seed: int = 0
    options: tuple = ()  # all hyper-parameters of the method, as sorted (name, value) pairs
    recipe: Recipe = Recipe()
    content: str = ""  # of the scene: its name, and a digest where its files are not the published ones

    @property
    def id(self):
        """Twelve hexadecimal digits that change with everything that decides the result.  Nothing is read from disk."""
        parts = asdict(self)
        parts["scene"] = parts.pop("content") or self.scene
        parts["version"] = methods.get(self.method).version
        parts["protocol"] = PROTOCOL
        parts["parents"] = [parent.id for parent in parents(self)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def __str__(self):
        size = f"{self.ratio} %" if self.ratio else ""
        what = " ".join(filter(None, (self.method, size, changed_options(self))))
        return f"{what} · {self.scene} · {self.split} · seed {self.seed}"


def make_run(scene, split, method, ratio=0, seed=0, epochs=None, options=None, **recipe):
    """A run with every default filled in and every name checked."""
    return _run(scenes.place(scene), split, method, ratio, seed, epochs, options, **recipe)


def _run(place, split, method, ratio=0, seed=0, epochs=None, options=None, **recipe):
    scene = place.name
    known("split", split, SPLITS)
    about = methods.get(method)
    if ratio not in about.ratios:
        raise HsiError(f"method {method} has no size {ratio!r}; it has {', '.join(map(str, about.ratios))}")
    options = about.defaults(scene) | (options or {})
    for name, value in options.items():
        default = about.options[known(f"hyper-parameter of {method}", name, about.options)]
        fits = isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool)
        if not fits and not (isinstance(default, float) and type(value) is int):
            raise HsiError(f"{method}: {name} must be {type(default).__name__}, not {value!r}")
        options[name] = type(default)(value)
    for name in recipe:
        known("part of the recipe", name, Recipe.__dataclass_fields__)
    recipe = Recipe(**{"lr": place.lr, "epochs": Recipe.epochs if epochs is None else epochs} | recipe)
    recipe = replace(recipe, epochs=max(1, round(recipe.epochs * about.epochs)))
    return Run(scene, split, method, ratio, seed, tuple(sorted(options.items())), recipe, place.content)


def plan(scene, splits, names, ratios=(0,), seeds=3, **common):
    """Runs of a grid.  A method runs at those of ``ratios`` it has, or at all its sizes if it has none of them.  ``seeds`` is
    the number of repetitions, or {split: number}."""
    for name in names:
        methods.get(name)
    for ratio in ratios:
        known("size", str(ratio), {str(r) for m in methods.METHODS.values() for r in m.ratios})
    runs, place = [], scenes.place(scene)
    for split in splits:
        many = seeds[split] if isinstance(seeds, dict) else seeds
        if many < 1:
            raise HsiError(f"nothing to run: the number of seeds must be at least 1, not {many}")
        for seed in range(many):
            for name in names:
                sizes = [r for r in methods.get(name).ratios if r in ratios] or list(methods.get(name).ratios)
                runs += [_run(place, split, name, ratio, seed, **common) for ratio in sizes]
    if names and not runs:
        raise HsiError("nothing to run: no split is left")
    return list(dict.fromkeys(runs))


def stored(store, scene, splits, names, ratios, seeds=20, **common):
    """What the store holds of a grid, as far as it got: for pages that read and train nothing."""
    rows = store.rows()
    return rows[rows["run"].isin([run.id for run in plan(scene, splits, names, ratios, seeds, **common)])]


def changed_options(run):
    """The options that are not the method's defaults, as text: how the store and the tables name a variant."""
    defaults = methods.get(run.method).defaults(run.scene)
    changed = {k: v for k, v in run.options if v != defaults.get(k)}
    return " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in changed.items())


def parents(run):
    """Runs whose trained models this one starts from (a teacher, the dense net)."""
    return methods.get(run.method).parents(run)


PART = dict(
    title=str, scenes=list, splits=list, methods=list, ratios=list, seeds=int, epochs=int, batch=int,
    options=dict
)


def declared(path):
    """{title of a part: its runs} of a study file: TOML, a ``[[part]]`` for every grid; methods are names or families."""
    try:
        parts = tomllib.loads(Path(path).read_text())["part"]
        [[part[key] for key in list(PART)[:6]] for part in parts]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HsiError(f"{path}: not a study file ({error}); book/study.toml is one") from None
    found = {}
    for part in parts:
        for key, value in part.items():
            if not isinstance(value, PART[known(f"entry of a part in {path}", key, PART)]):
                raise HsiError(f"{path}: {key} must be {PART[key].__name__}, not {value!r}")
        names = [name for entry in part["methods"] for name in methods.family(entry) or [entry]]
        common = {key: part[key] for key in ("epochs", "batch", "options") if key in part}
        grids = (
            plan(scene, part["splits"], names, part["ratios"], part["seeds"], **common)
            for scene in part["scenes"]
        )
        found[part["title"]] = sum(grids, [])
    return found
