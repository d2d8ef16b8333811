"""All methods: importing this module registers those of every package that has some."""

from hsilib import baselines, compact, distill, landuse, prune, quantize
from hsilib.registry import METHODS, Method, adopt, dense, family, get, method, mine, title, within

ROOMS = baselines, prune, quantize, distill, landuse, compact
__all__ = ["METHODS", "ROOMS", "Method", "adopt", "dense", "family", "get", "method", "mine", "title"]
__all__ += ["within"]
