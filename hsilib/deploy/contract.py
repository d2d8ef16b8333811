"""What an exported file asks of a scene, so that a scene of another kind is refused and not mapped.

A network learnt the values of one scene.  Values of another scale (sixteen bits for eight, reflectances for
counts) or bands at other wavelengths give a map that looks like one.
"""

from pathlib import Path
from typing import Any

import numpy as np

from hsilib.data import registry
from hsilib.data.formats import Image
from hsilib.data.scenes import Scene
from hsilib.errors import HsiError

NARROW = 20  # values that span less than this part of what was learnt are on another scale
APART = 10  # nm between bands that are not the same


def of_scene(scene: Scene) -> dict[str, Any]:
    """Return what a file is to say of the scene that its network learnt."""
    values = scene.spectra if scene.of_spectra else scene.cube
    if values is None:
        from hsilib.data.inputs import moments  # here, for it loads torch

        seen = moments(scene)
        low, high = seen.low.min(), seen.high.max()
    else:
        values = values[scene.there] if scene.there is not None and not scene.of_spectra else values
        low, high = values.min(), values.max()
    content = registry.place(scene.name).content if scene.name in registry.names() else scene.name
    said = {"low": float(low), "high": float(high), "digest": content}
    return said | ({"wavelengths": list(scene.wavelengths)} if scene.wavelengths else {})


def hold(path: Path | str, asked: dict[str, Any], image: Image) -> None:
    """Refuse a scene whose bands lie at other wavelengths than those that were learnt."""
    learnt, here = asked.get("wavelengths"), image.wavelengths
    if learnt and here:
        apart = np.abs(np.subtract(learnt, here))
        band = int(apart.argmax())
        if apart[band] > APART:
            where = f"band {band + 1} lies at {here[band]:.0f} nm, it learnt one at {learnt[band]:.0f}"
            raise HsiError(f"{path} was made for other bands: {where}")


def hold_values(path: Path | str, asked: dict[str, Any], values: np.ndarray) -> None:
    """Refuse values (N, B), some rows of a scene, that are not on the scale of those that were learnt."""
    if "high" not in asked or not values.size:
        return
    low, high = asked["low"], asked["high"]
    span, least, most = high - low, float(values.min()), float(values.max())
    far = np.mean((values < low - span) | (values > high + span)) > 0.01
    if far or most - least < span / NARROW:
        says = f"the scene has {least:g} to {most:g}, it learnt {low:g} to {high:g}"
        raise HsiError(f"{path} was made for values of another scale: {says}")
