"""What every room speaks of: a recipe, a method, a run and what identifies it, a model that is no network."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from hsilib.errors import HsiError, known
from hsilib.source import stamp

if TYPE_CHECKING:
    import numpy as np

# part of all identities: raise it when splits, inputs, training loop or metrics change their numbers
PROTOCOL = 1

LARGEST = 1_000_000  # number of epochs, and of pixels in a batch

SCHEDULES = "cosine", "constant", "one_cycle", "waves", "sgd_waves"


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; all networks and methods share the defaults (`book/design.md`, protocol).

    >>> Recipe(epochs=60, lr=2e-3, schedule="one_cycle").batch
    100
    """

    epochs: int = 30
    lr: float = 1e-3  # 8e-4 on Pavia, as in the paper
    batch: int = 100
    # of the rate: "cosine" to zero; "constant" is paper-like; "one_cycle": up, then to zero, with AdamW;
    # "waves": down and up again along a cosine, 15 epochs each way; "sgd_waves": that, with SGD
    schedule: str = "cosine"
    precision: str = "fp32"  # what is published; "bf16" for exploring

    def __post_init__(self) -> None:
        known("schedule", self.schedule, SCHEDULES)
        known("precision", self.precision, ("fp32", "bf16"))
        for name, least in (("epochs", 1), ("batch", 2)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not least <= value <= LARGEST:
                raise HsiError(f"{name} must be a whole number from {least} to {LARGEST}, not {value!r}")
        if not isinstance(self.lr, int | float) or not 0 < self.lr < 10:
            raise HsiError(f"lr must lie between 0 and 10, not {self.lr!r}")


@dataclass(frozen=True)
class Method:
    """A registered method: what it is called, how it trains, and what its runs need.

    >>> get("soft_targets").title
    'Soft targets'
    """

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
    # parts of the recipe in which the method differs from the study; a run may still set them
    recipe: dict[str, Any] = field(default_factory=dict, compare=False)
    paper: str = ""  # the name in the paper's tables
    about: str = ""  # the docstring, in one line
    parents: Callable = field(default=lambda run: (), compare=False)  # run -> the runs whose models it needs
    # task -> student, loss, what trains along, teachers
    prepare: Callable | None = field(default=None, compare=False)
    # of images: (bands, classes, **options) -> module
    network: Callable | None = field(default=None, compare=False)
    config: tuple[str, ...] = ()  # the options that are arguments of the network
    mark: str = ""  # hue and marker in plots, such as "blue o" (`hsibook/colours.py`)
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


def version_of(name, train, network):
    """The version of a method whose code is not this library's is what its code says."""
    return f"1-{stamp((train, network) if network else train, name)}"


def get(name: str) -> Method:
    """Return the method of that name; an unknown name is an error that lists the close ones.

    Code in a notebook changes while it is at hand, so a method from outside is read again each time.

    >>> get("soft_targets").family
    'offline'
    """
    method = METHODS[known("method", name, METHODS)]
    if method.live:
        version = version_of(name, method.train, method.network)
        if version != method.version:
            method = METHODS[name] = replace(method, version=version)
    return method


@dataclass(frozen=True, repr=False)
class Run:
    """All that decides a result; ``make_run`` fills in the defaults and checks the names.

    >>> make_run("synthetic_fields_small", "disjoint", "lens", epochs=12)
    Run(f35fb830189a: lens · synthetic_fields_small · disjoint · seed 0)
    """

    scene: str
    split: str
    method: str
    ratio: int = 0
    seed: int = 0
    options: tuple[tuple[str, Any], ...] = ()  # all hyper-parameters of the method, sorted by name
    recipe: Recipe = Recipe()
    content: str = ""  # of the scene: its name, and a digest where its files are not the published ones

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that change with all that decides the result; no disk is read."""
        parts = vars(self) | {"recipe": vars(self.recipe)}  # as asdict, which copies all of it
        parts["scene"] = parts.pop("content") or self.scene
        parts["version"] = get(self.method).version
        parts["protocol"] = PROTOCOL
        parts["parents"] = [parent.id for parent in parents(self)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"Run({self.id}: {self})"

    def __str__(self) -> str:
        size = f"{self.ratio} %" if self.ratio else ""
        what = " ".join(filter(None, (self.method, size, changed_options(self))))
        return f"{what} · {self.scene} · {self.split} · seed {self.seed}"


def parents(run: Run) -> tuple[Run, ...]:
    """Return the runs whose trained models this one starts from: a teacher, or the dense network."""
    return get(run.method).parents(run)


def changed_options(run: Run) -> str:
    """Return the options that are not the method's defaults, as the store and the tables name a variant."""
    defaults = get(run.method).defaults(run.scene)
    changed = {k: v for k, v in run.options if v != defaults.get(k)}
    return " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in changed.items())


class Classical(Protocol):
    """What a trained model that is no network offers to those who evaluate and measure it."""

    kind: str  # which inputs it sees
    estimator: Any  # what is pickled

    def scores(self, pixels: "np.ndarray") -> "np.ndarray":
        """Return the class scores (N, K)."""

    def parameters(self) -> int | None:
        """Count its numbers; None where it has none."""
