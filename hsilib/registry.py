"""The registry of methods.

A method is a function ``train(task) -> model``.  Registering it is all it takes to appear in the store, the tables and
the plots.  Its own hyper-parameters are the keyword arguments of the decorator, each with a default.
"""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module

from hsilib.errors import HsiError, known

METHODS = {}


@dataclass(frozen=True)
class Method:
    name: str
    family: str  # names the CSV file in the store and the chapter
    title: str  # in tables and plots
    train: Callable = field(compare=False)
    options: dict = field(default_factory=dict, compare=False)  # hyper-parameters and defaults
    by_scene: dict = field(default_factory=dict, compare=False)  # scene -> its own defaults
    version: int | str = 1  # raise it when the code changes what it computes: old rows then no longer count
    ratios: tuple = (0,)
    epochs: float = 1.0  # share of the recipe's epochs
    paper: str = ""  # the name in the paper's tables
    about: str = ""
    parents: Callable = field(
        default=lambda run: (), compare=False
    )  # run -> the runs whose trained models it needs
    prepare: Callable | None = field(
        default=None, compare=False
    )  # task -> student, loss, what trains along, teachers
    network: Callable | None = field(
        default=None, compare=False
    )  # of images: (bands, classes, **options) -> module
    config: tuple = ()  # the options that are arguments of the network
    mark: str = ""  # hue and marker in plots, such as "blue o" (`pages/colours.py`)

    def defaults(self, scene):
        return self.options | self.by_scene.get(scene, {})


def method(
    name: str, family: str, title: str, *, mark: str = "", version: int | str = 1,
    ratios: tuple[int, ...] = (0,), epochs: float = 1.0, paper: str = "", parents: Callable = lambda run: (),
    by_scene: dict | None = None, prepare: Callable | None = None, network: Callable | None = None,
    config: tuple[str, ...] = (), **options
) -> Callable:
    """Register ``train(task) -> model`` under ``name``: the words are the fields of ``Method``, all others are
    hyper-parameters with their defaults.

    >>> @method("wide_mlp", "mine", "Wide MLP", width=500)
    ... def wide_mlp(task):
    ...     return task.fit(task.network(MLP, width=task.options.width))
    """

    def register(train):
        stamp, own = version, inspect.unwrap(train)
        there = inspect.unwrap(METHODS[name].train).__module__ if name in METHODS else own.__module__
        if there != own.__module__ and there.startswith("hsilib."):
            raise HsiError(f"the name {name} is taken by a method of {there}; choose another")
        if not own.__module__.startswith(
            "hsilib."
        ):  # in a notebook the code is the version: an edit is another run
            stamp = f"{version}-{hashlib.sha256(_code(own).encode()).hexdigest()[:8]}"
        METHODS[name] = Method(
            name=name, family=family, title=title, train=train, options=options, by_scene=by_scene or {},
            version=stamp, ratios=tuple(ratios), epochs=epochs, paper=paper,
            about=" ".join((train.__doc__ or "").split()), parents=parents, prepare=prepare, network=network,
            config=config, mark=mark
        )
        return train

    return register


def _code(function, seen=()):
    """What a function does, as text: its instructions, names and constants, and those of the functions and plain values it
    uses from around it."""
    codes, text = [function.__code__], [repr(function.__defaults__)]
    for code in codes:  # inner functions join the list
        codes += [c for c in code.co_consts if hasattr(c, "co_code")]
        plain = [
            sorted(map(repr, c)) if isinstance(c, frozenset) else c for c in code.co_consts
        ]  # a set has no order
        text += [code.co_code.hex(), *code.co_names, *(repr(c) for c in plain if not hasattr(c, "co_code"))]
        for name in code.co_names:
            used = function.__globals__.get(name)
            if _plain(used):
                text.append(repr(used))
            elif (
                inspect.isfunction(used)
                and used.__module__ == function.__module__
                and used not in (function, *seen)
            ):
                text.append(_code(used, (function, *seen)))
    return " ".join(text)


def _plain(value):
    """Whether a value reads the same in every process: numbers, texts, and lists and tables of them."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return (
        all(map(_plain, value))
        if isinstance(value, tuple | list)
        else isinstance(value, bool | int | float | str)
    )


def get(name):
    return METHODS[known("method", name, METHODS)]


def family(name, asked=()):
    """The methods of a family in the order of the tables, or those asked for."""
    names = [m.name for m in METHODS.values() if m.family == name]
    return [known(f"method of the family {name}", method, names) for method in asked] or names


def title(method, ratio=0, options=""):
    """What a method, a size of it, or a variant is called in tables and plots."""
    name = get(method).title + (f" {int(ratio)} %" if ratio else "")
    return f"{name}, {options}" if options else name


def dense(run, name="cnn2d", **options):
    """The dense CNN2D of the same scene, split, seed and recipe: what is pruned, quantized, and taught by."""
    options = get(name).defaults(run.scene) | options
    return replace(run, method=name, ratio=0, options=tuple(sorted(options.items())))


def rooms(package, files):
    """Import the files of a room, which register their methods in the order of the tables."""
    for file in files.split():
        import_module(f"{package}.{file}")
