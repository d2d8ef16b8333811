"""The book's own code by its old name, which goes with the next edition: it is ``hsibook`` now."""

import sys
import warnings
from importlib import import_module
from pkgutil import iter_modules

warnings.warn("hsilib.pages is called hsibook now; its old name goes with the next edition", FutureWarning, 2)
for _found in iter_modules(import_module("hsibook").__path__):
    _module = import_module(f"hsibook.{_found.name}")
    globals()[_found.name] = sys.modules[f"{__name__}.{_found.name}"] = _module
