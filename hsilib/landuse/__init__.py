"""Chapter 09, land use: two systems of the literature on RGB images."""

from hsilib.registry import rooms

rooms(__name__, "systems")
