"""The registry of methods.

A method is a function ``train(task) -> model``.  Once registered, it appears in the store, the tables and the
plots.  Its own hyper-parameters are keyword arguments of the decorator, each with its default.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hsilib.data.described import plain
from hsilib.errors import HsiError, known, shown
from hsilib.models.networks import NETWORKS
from hsilib.source import stamp

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
    # raise it when the code changes what it computes: old rows then no longer count; of code from outside of
    # the library it is what the code says, unless one is given
    version: int | str = 1
    # whether the version follows the code; None: it is a method of the library
    live: bool | None = field(default=None, compare=False)
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
OURS = "hsilib."

# what hyper-parameters of the library's methods may be; of any other method a number must only be finite
WEIGHT, SHARE, COUNT = (0, 1e6), (0, 1), (1, 100_000)
LIMITS = {
    **dict.fromkeys("attention congruence decay feature features hard hint kl".split(), WEIGHT),
    **dict.fromkeys("others soft sparsity target".split(), WEIGHT),
    **dict.fromkeys("average balance correct last share smoothing warm_up".split(), SHARE),
    **dict.fromkeys("draws images max_depth max_features rank samples".split(), COUNT),
    "C": (1e-6, 1e6), "gamma": (1e-9, 1e6), "temperature": (0.01, 1e4), "rate": (1e-6, 1e3),
    "finetune": (0, 100), "width": (0.01, 10_000), "centre": (0, 10_000), "components": (1, 10_000),
    "after": (1, 19), "before": (0, 19), "vote": (1, 19), "window": (3, 19), "cut": (0, 98),
    "bits": (2, 8), "branches": (2, 64), "heads": (2, 64), "member": (0, 10_000), "size": (8, 4096),
    "hidden": (1, 10_000), "min_samples_split": (2, 100_000),
}


def within(method: str, name: str, value: Any) -> None:
    """Refuse a value of a hyper-parameter that nothing can be trained with.

    >>> within("soft_targets", "temperature", 4.0)
    """
    if isinstance(value, str) and not (value.isprintable() and len(value) <= 1000):
        raise HsiError(f"{method}: {name} must be a text of one line, not {shown(value)}")  # a row is a line
    if isinstance(value, (bool, str)):
        return
    ours = name in LIMITS and METHODS[method].live is None
    low, high = LIMITS[name] if ours else (-1e300, 1e300)
    if not low <= value <= high:
        allowed = f"from {low:g} to {high:g}" if ours else "finite"
        raise HsiError(f"{method}: {name} must be {allowed}, not {shown(value, 20)}")


def method(
    name: str, family: str, title: str, *, mark: str = "", version: int | str | None = None,
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
        own = inspect.unwrap(train)
        there = inspect.unwrap(METHODS[name].train).__module__ if name in METHODS else own.__module__
        if there != own.__module__ and there.startswith(OURS):
            raise HsiError(f"the name {name} is taken by a method of {there}; choose another")
        if plain(name) != name:
            raise HsiError(f"the name of a method is one of plain letters, such as {plain(name)!r}")
        ours = all(str(getattr(part, "__module__", OURS)).startswith(OURS) for part in (own, network or own))
        METHODS[name] = Method(
            name=name, family=family, title=plain(title), train=train, options=options,
            by_scene=by_scene or {},
            version=_stamp(name, train, network) if version is None and not ours else version or 1,
            ratios=tuple(ratios), epochs=epochs, paper=paper, live=None if ours else version is None,
            about=" ".join((train.__doc__ or "").split()), parents=parents, prepare=prepare, network=network,
            config=config, mark=mark, sees=sees, least=least, recipe=recipe or {},
        )
        return train

    return register


def _stamp(name, train, network):
    """The version of a method whose code is not this library's is what its code says."""
    return f"1-{stamp((train, network) if network else train, name)}"


def get(name: str) -> Method:
    """Return the method of that name; an unknown name is an error that lists the close ones.

    Code in a notebook changes while it is at hand, so a method from outside is read again each time.
    """
    method = METHODS[known("method", name, METHODS)]
    if method.live:
        version = _stamp(name, method.train, method.network)
        if version != method.version:
            method = METHODS[name] = replace(method, version=version)
    return method


def mine() -> list[Method]:
    """Return the methods from outside of the library, as another process may be given them."""
    return [replace(method, live=False) for method in METHODS.values() if method.live is not None]


def adopt(methods: Iterable[Method]) -> None:
    """Register methods that another process sent, and their networks."""
    for method in methods:
        METHODS[method.name] = method
        if isinstance(method.network, type):
            NETWORKS[method.network.__name__] = method.network


def family(name: str, asked: Iterable[str] = ()) -> list[str]:
    """Return the names of a family's methods in the order of the tables, or of those asked for."""
    names = [m.name for m in METHODS.values() if m.family == name]
    return [known(f"method of the family {name}", method, names) for method in asked] or names


def title(method: str, ratio: int = 0, options: str = "") -> str:
    """Return what a method, a size of it, or a variant is called in tables and plots."""
    name = get(method).title + (f" {int(ratio)} %" if ratio else "")
    return f"{name}, {plain(options)}" if options else name


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
