"""hsilib: how far can a land-cover network for hyperspectral images be compressed, and at what cost?

Every public name is here, and loads its module when it is first used: listing scenes loads no torch.

>>> from hsilib import load_scene, split_of, make_inputs, CNN2D, initialise, fit, Recipe
"""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

_stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
_modules = {name.name: "hsilib." * line.level + line.module for line in _stub.body for name in line.names}
_book = [name for name, module in _modules.items() if module.startswith("hsibook.")]
__all__ = sorted(_modules if find_spec("hsibook") else _modules.keys() - _book)


def __dir__():
    return __all__


def __getattr__(name):
    if name == "__version__":
        from importlib.metadata import version  # here: it takes longer than all of the rest

        return version("hsilib")
    if name not in __all__:
        brings = ", which comes with the book: pip install hsibook (in a clone: ./book)"
        says = brings if name in _book else ""
        raise AttributeError(f"module 'hsilib' has no attribute {name!r}{says}")
    return getattr(import_module(_modules[name]), name)
