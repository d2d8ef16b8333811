"""Compact networks: small by design, from raw bands to classes."""

from . import (
    lens, ghost, spectral, taught, low_rank, pruned, one, projected, learnt, narrow, rivals, filters,
    together,
)
