"""Compact networks: small by design, from raw bands to classes."""

from hsilib.registry import rooms

rooms(__name__, "lens ghost spectral taught low_rank pruned")
