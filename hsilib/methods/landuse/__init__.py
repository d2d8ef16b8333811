"""Chapter 09, land use: two systems of the literature on RGB images."""

from . import systems
