"""hsilib: how far can a land-cover network for hyperspectral images be compressed, and at what cost?

Imports follow one direction (``book/design.md``): errors -> scenes -> splits -> inputs -> models -> train ->
evaluate/measure -> results -> registry -> prune -> methods -> study -> report -> runner.  Nothing here is imported eagerly,
so that reading the results never loads torch.
"""

__version__ = "0.1.0"
