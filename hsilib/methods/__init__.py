"""All methods: importing this package registers those of every room in it."""

from hsilib.methods import baselines, compact, distill, landuse, prune, quantize
from hsilib.methods.registry import (
    METHODS,
    Method,
    adopt,
    code,
    dense,
    family,
    get,
    method,
    mine,
    title,
    within,
)

__all__ = [
    "METHODS", "Method", "adopt", "baselines", "code", "compact", "dense", "distill", "family", "get",
    "landuse", "method", "mine", "prune", "quantize", "title", "within",
]
