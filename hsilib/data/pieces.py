"""How the files of a published scene become its cube, or the spectra of those pixels that are at hand."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsilib.data import damage
from hsilib.data.formats import Image, check_cube, of_array, open_image, read_array
from hsilib.errors import HsiError

if TYPE_CHECKING:
    from hsilib.data.scenes import Entry


def read(listing: "Entry", paths: Sequence[Path]) -> Image | tuple[np.ndarray, np.ndarray]:
    """Return the image; or of a set of spectra (N, B) them and a map that is True where they belong."""
    made = FORMS[listing.form](listing, paths)
    return made if isinstance(made, (Image, tuple)) else of_array(made, paths[0])


def _cube(listing, paths):
    """One array: rows, columns, bands; bands that are called bad are left out."""
    key = listing.cube[0].key
    image = replace(open_image(paths[0], key), bad=listing.bad, nodata=listing.nodata)
    if image.shape != listing.shape:
        raise HsiError(f"{paths[0]}: array {key!r} has shape {image.shape}, expected {listing.shape}")
    return image


def _columns(listing, paths):
    """One array, a column for each pixel, column by column of the scene."""
    h, w, bands = listing.shape
    key = listing.cube[0].key
    cube = read_array(paths[0], key)
    if cube.shape != (bands, h * w):
        raise HsiError(f"{paths[0]}: array {key!r} has shape {cube.shape}, expected {(bands, h * w)}")
    return cube.reshape(bands, w, h).transpose(2, 1, 0)


def _pictures(listing, paths, turns=0):
    """Colour pictures, each of three bands, stacked in the order of the wavelengths, after quarter turns."""
    cube = np.rot90(np.concatenate([read_array(path, "") for path in paths], 2), turns)
    if cube.shape != listing.shape:
        raise HsiError(f"{paths[0]}: the pictures have shape {cube.shape}, expected {listing.shape}")
    return cube[..., np.argsort(listing.bands)]


def _spectra(listing, paths):
    """A list of spectra with the places of their pixels, and crops of the cube."""
    h, w, bands = listing.shape
    rows = json.loads(paths[1].read_text())["rows"]
    places = np.array([row["xy"] for row in rows])
    values = np.frombuffer(paths[0].read_bytes(), "<f4")
    if values.size != len(rows) * bands:
        raise HsiError(f"{paths[0]}: {values.size} values, expected {len(rows)} spectra of {bands} bands")
    cube, there = np.zeros(listing.shape, np.float32), np.zeros((h, w), bool)
    cube[places[:, 0], places[:, 1]], there[places[:, 0], places[:, 1]] = values.reshape(-1, bands), True
    for file, path, (row, column) in zip(listing.cube[2:], paths[2:], listing.corners):
        crop = read_array(path, file.key)
        place = np.s_[row : row + crop.shape[0], column : column + crop.shape[1]]
        cube[place], there[place] = crop, True
    return check_cube(cube[there], paths[0]), there


def _undamaged(listing, paths):
    """The 8-bit copy on the scale of the crop."""
    copy, crop = (read_array(path, file.key) for path, file in zip(paths, listing.cube))
    return damage.rebuild(copy, crop, listing.corners[0])


def _damaged(listing, paths):
    """The same, and every byte 13 turned to 10."""
    return damage.text_mode(_undamaged(listing, paths))


FORMS = {
    "cube": _cube, "columns": _columns, "pictures": _pictures, "spectra": _spectra,
    "turned": partial(_pictures, turns=1), "undamaged": _undamaged, "damaged": _damaged,
}
