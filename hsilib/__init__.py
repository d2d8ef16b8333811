"""hsilib: how far can a land-cover network for hyperspectral images be compressed, and at what cost?

Every public name is here, and loads its module when it is first used: listing scenes loads no torch.

>>> from hsilib import load_scene, split_of, make_inputs, CNN2D, initialise, fit, Recipe
"""

import lazy_loader

_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name):
    if name == "__version__":
        from importlib.metadata import version  # here: it takes longer than all of the rest

        return version("hsilib")
    return _name(name)
