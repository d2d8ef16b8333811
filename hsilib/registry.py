"""The registry of methods.

A method is a function ``train(task) -> model``.  Once registered, it appears in the store, the tables and the
plots.  Its own hyper-parameters are keyword arguments of the decorator, each with its default.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hsilib.errors import HsiError, known

if TYPE_CHECKING:
    from hsilib.study.runs import Run


@dataclass(frozen=True)
class Method:
    """A registered method: what it is called, how it trains, and what its runs need."""

    name: str
    family: str  # names the CSV file in the store and the chapter
    title: str  # in tables and plots
    train: Callable = field(compare=False)  # task -> model
    options: dict[str, Any] = field(default_factory=dict, compare=False)  # hyper-parameters and defaults
    by_scene: dict[str, dict] = field(default_factory=dict, compare=False)  # scene -> its own defaults
    version: int | str = 1  # raise it when the code changes what it computes: old rows then no longer count
    ratios: tuple[int, ...] = (0,)
    epochs: float = 1.0  # share of the recipe's epochs
    # parts of the recipe that are other than the study's unless a run says otherwise
    recipe: dict[str, Any] = field(default_factory=dict, compare=False)
    paper: str = ""  # the name in the paper's tables
    about: str = ""  # the docstring, in one line
    parents: Callable = field(default=lambda run: (), compare=False)  # run -> the runs whose models it needs
    # task -> student, loss, what trains along, teachers
    prepare: Callable | None = field(default=None, compare=False)
    # of images: (bands, classes, **options) -> module
    network: Callable | None = field(default=None, compare=False)
    config: tuple[str, ...] = ()  # the options that are arguments of the network
    mark: str = ""  # hue and marker in plots, such as "blue o" (`pages/colours.py`)
    sees: str = ""  # "patches": it needs windows, so it does not run on sets of spectra
    least: int = 1  # bands or components that it needs

    def lacks(self, bands: int, of_spectra: bool) -> str:
        """Say what a scene lacks that the method needs, or nothing."""
        if of_spectra and self.sees == "patches":
            return "it needs windows, of which a set of spectra has none"
        return f"it needs {self.least} bands, here are {bands}" if bands < self.least else ""

    def defaults(self, scene: str) -> dict[str, Any]:
        """Return the hyper-parameters that the method has on a scene unless a run says otherwise."""
        return self.options | self.by_scene.get(scene, {})


METHODS: dict[str, Method] = {}


def method(
    name: str, family: str, title: str, *, mark: str = "", version: int | str = 1,
    ratios: tuple[int, ...] = (0,), epochs: float = 1.0, paper: str = "", parents: Callable = lambda run: (),
    by_scene: dict | None = None, prepare: Callable | None = None, network: Callable | None = None,
    config: tuple[str, ...] = (), sees: str = "", least: int = 1, recipe: dict | None = None, **options: Any,
) -> Callable:
    """Register ``train(task) -> model`` under ``name``.

    The named arguments are the fields of ``Method``; all others are hyper-parameters with their defaults.

    >>> @method("wide_mlp", "mine", "Wide MLP", width=500)
    ... def wide_mlp(task):
    ...     return task.fit(task.network(MLP, width=task.options.width))
    """

    def register(train):
        stamp, own = version, inspect.unwrap(train)
        there = inspect.unwrap(METHODS[name].train).__module__ if name in METHODS else own.__module__
        if there != own.__module__ and there.startswith("hsilib."):
            raise HsiError(f"the name {name} is taken by a method of {there}; choose another")
        # in a notebook the code is the version: an edit is another run
        if not own.__module__.startswith("hsilib."):
            stamp = f"{version}-{hashlib.sha256(_code(own).encode()).hexdigest()[:8]}"
        METHODS[name] = Method(
            name=name, family=family, title=title, train=train, options=options, by_scene=by_scene or {},
            version=stamp, ratios=tuple(ratios), epochs=epochs, paper=paper,
            about=" ".join((train.__doc__ or "").split()), parents=parents, prepare=prepare, network=network,
            config=config, mark=mark, sees=sees, least=least, recipe=recipe or {},
        )
        return train

    return register


def _code(function, seen=()):
    """Return what a function does, as text.

    The text holds its instructions, names and constants, and those of the functions and plain values that it
    uses from its module.
    """
    codes, text = [function.__code__], [repr(function.__defaults__)]
    for code in codes:  # inner functions join the list
        codes += [c for c in code.co_consts if hasattr(c, "co_code")]
        # a set has no order
        plain = [sorted(map(repr, c)) if isinstance(c, frozenset) else c for c in code.co_consts]
        text += [code.co_code.hex(), *code.co_names, *(repr(c) for c in plain if not hasattr(c, "co_code"))]
        for name in code.co_names:
            used = function.__globals__.get(name)
            neighbour = inspect.isfunction(used) and used.__module__ == function.__module__
            if _plain(used):
                text.append(repr(used))
            elif neighbour and used not in (function, *seen):
                text.append(_code(used, (function, *seen)))
    return " ".join(text)


def _plain(value):
    """Tell whether a value reads the same in every process: a number, a text, or a list or table of them."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, tuple | list):
        return all(map(_plain, value))
    return isinstance(value, bool | int | float | str)


def get(name: str) -> Method:
    """Return the method of that name; an unknown name is an error that lists the close ones."""
    return METHODS[known("method", name, METHODS)]


def family(name: str, asked: Iterable[str] = ()) -> list[str]:
    """Return the names of a family's methods in the order of the tables, or of those asked for."""
    names = [m.name for m in METHODS.values() if m.family == name]
    return [known(f"method of the family {name}", method, names) for method in asked] or names


def title(method: str, ratio: int = 0, options: str = "") -> str:
    """Return what a method, a size of it, or a variant is called in tables and plots."""
    name = get(method).title + (f" {int(ratio)} %" if ratio else "")
    return f"{name}, {options}" if options else name


def dense(run: "Run", name: str = "cnn2d", **options: Any) -> "Run":
    """Return the run of the dense CNN2D on the same scene, split, seed and recipe.

    That network is what is pruned and quantized, and what teaches.
    """
    options = get(name).defaults(run.scene) | options
    return replace(run, method=name, ratio=0, options=tuple(sorted(options.items())))


def rooms(package: str, files: str) -> None:
    """Import the files of a package, which register their methods in the order of the tables."""
    for file in files.split():
        import_module(f"{package}.{file}")
