"""Compact networks: small by design, from raw bands to classes."""

from hsilib.registry import rooms

rooms("hsilib", "baselines")  # whose networks learn here too
rooms(__name__, "lens ghost spectral taught low_rank pruned one projected learnt narrow rivals filters pools")
