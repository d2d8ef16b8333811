"""Chapter 03, baselines: classical models, the networks of the paper, and the controls of later chapters."""

from . import classical, networks
