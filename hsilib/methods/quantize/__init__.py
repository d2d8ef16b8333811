"""Chapter 05, quantization: eight-bit arithmetic, the integer network, and three ways to it."""

from . import modes
