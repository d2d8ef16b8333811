"""The registry of methods, functions ``train(task) -> model``.  Once registered, a method appears in the
store, the tables and the plots.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from hsilib.data.described import plain
from hsilib.errors import HsiError, known, shown
from hsilib.identity import METHODS, Method, Run, get, version_of
from hsilib.models.networks import NETWORKS
from hsilib.source import of_module

OURS = "hsilib."

# what hyper-parameters of the library's methods may be; of any other method a number must only be finite
LIMITS = {
    **dict.fromkeys("attention congruence decay feature features hard hint kl".split(), (0, 1e6)),
    **dict.fromkeys("others soft sparsity target".split(), (0, 1e6)),
    **dict.fromkeys("average balance correct last share smoothing warm_up".split(), (0, 1)),
    **dict.fromkeys("draws images max_depth max_features rank samples".split(), (1, 100_000)),
    "C": (1e-6, 1e6), "gamma": (1e-9, 1e6), "temperature": (0.01, 1e4), "rate": (1e-6, 1e3),
    "finetune": (0, 100), "width": (0.01, 10_000), "centre": (0, 10_000), "components": (1, 10_000),
    "after": (1, 19), "before": (0, 19), "vote": (1, 19), "window": (3, 19), "cut": (0, 98),
    "bits": (2, 8), "branches": (2, 64), "heads": (2, 64), "member": (0, 10_000), "size": (32, 4096),
    "min_samples_split": (2, 100_000),
}


def within(method: str, name: str, value: Any) -> None:
    """Refuse a value of a hyper-parameter that nothing can be trained with."""
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
            version=version_of(name, train, network) if version is None and not ours else version or 1,
            ratios=tuple(ratios), epochs=epochs, paper=paper, live=None if ours else version is None,
            about=" ".join((train.__doc__ or "").partition(">>>")[0].split()), parents=parents,
            prepare=prepare, network=network, config=config, mark=mark, sees=sees, least=least,
            recipe=recipe or {},
        )
        return train

    return register


def code(name: str) -> str:
    """Return the version of a method with digits of the file that it stands in, which tell when that was
    changed under the same version."""
    chosen = get(name)
    own = inspect.unwrap(chosen.train).__module__
    return f"{chosen.version}-{of_module(own)}" if own.startswith(OURS) else str(chosen.version)


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
    """Return the names of a family's methods in the order of the tables, or of those asked for.

    >>> family("baselines")[:2]
    ['rf', 'mlr']
    """
    names = [m.name for m in METHODS.values() if m.family == name]
    return [known(f"method of the family {name}", method, names) for method in asked] or names


def title(method: str, ratio: int = 0, options: str = "") -> str:
    """Return what a method, a size of it, or a variant is called in tables and plots.

    >>> title("scratch", 98)
    'Scratch 98 %'
    """
    name = get(method).title + (f" {int(ratio)} %" if ratio else "")
    return f"{name}, {plain(options)}" if options else name


def dense(run: Run, name: str = "cnn2d", **options: Any) -> Run:
    """Return the run of the dense CNN2D on the same scene, split, seed and recipe.

    That network is what is pruned and quantized, and what teaches.

    >>> run = make_run("synthetic_fields_small", "disjoint", "scratch", ratio=98)
    >>> print(dense(run))
    cnn2d · synthetic_fields_small · disjoint · seed 0
    """
    options = get(name).defaults(run.scene) | options
    return replace(run, method=name, ratio=0, options=tuple(sorted(options.items())))
