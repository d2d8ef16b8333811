"""Chapter 05, quantization: eight-bit arithmetic, the integer network, and three ways to it."""

from hsilib.registry import rooms

rooms(__name__, "modes")
