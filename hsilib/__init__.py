"""hsilib: how far can a land-cover network for hyperspectral images be compressed, and at what cost?

Imports follow one direction, which ``book/design.md`` shows.  Nothing is imported here, so that reading the results never
loads torch.
"""

__version__ = "0.1.0"
