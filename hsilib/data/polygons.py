"""Label maps from polygons (GeoPackage, shapefile, GeoJSON), burnt into the grid of an image."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np

from hsilib.data.formats import Image, needs
from hsilib.errors import HsiError
from hsilib.files import readable


def burn(path: Path, field: str, image: Image) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the labels (H, W) that polygons give to the pixels whose centres they hold, and the class names.

    ``field`` is the attribute that names the class.  A later polygon lies on top of an earlier one.
    """
    what = f"{path}: polygons"
    pyogrio, shapely, affine = (needs(package, what) for package in ("pyogrio", "shapely", "affine"))
    features, warp = (needs(f"rasterio.{part}", what) for part in ("features", "warp"))
    if not image.transform:
        raise HsiError(f"{what} need an image with a place on the ground, which the cube has not")
    _alone(path)
    with readable(f"{path}: cannot be read as polygons"):
        about, _, shapes, columns = pyogrio.raw.read(path)
        outlines, fields = shapely.from_wkb(shapes), dict(zip(about["fields"], columns))
    if not field and len(fields) == 1:
        field = next(iter(fields))
    if field not in fields:
        says = f"no attribute {field!r}" if field else "the class is one of several attributes"
        raise HsiError(f"{path}: {says}; name it with --label-key: {', '.join(fields) or 'there are none'}")
    values = fields[field].tolist()
    if not all(isinstance(value, str | int | float | None) for value in values):
        raise HsiError(f"{path}: attribute {field!r} holds other than texts and numbers")
    values = [None if value != value or value == "" else value for value in values]
    names = sorted(set(values) - {None})
    if not 1 <= len(names) <= 255:
        raise HsiError(f"{path}: attribute {field!r} has {len(names)} values, expected 1 to 255 classes")
    burnt, number = [], {name: i for i, name in enumerate(names, 1)}
    with readable(f"{path}: not in the reference system it names, GeoJSON without one in degrees"):
        for shape, value in zip(outlines, values):
            if shape is not None and not shape.is_empty and value is not None:
                outline = shapely.geometry.mapping(shape)
                if about["crs"] and image.crs:
                    outline = warp.transform_geom(about["crs"], image.crs, outline)
                burnt.append((outline, number[value]))
        transform = affine.Affine(*image.transform)
        labels = features.rasterize(burnt, image.shape[:2], transform=transform, dtype="uint8")
    if not labels.any():
        raise HsiError(f"{path}: no polygon lies on the image; do both have the same reference system?")
    return labels, tuple(map(str, names))


def _alone(path):
    """Refuse GeoJSON whose reference system lies at an address, of which GDAL would ask the network."""

    def look(pairs):
        crs = [value for name, value in pairs if name == "crs" and isinstance(value, dict)]
        if any(str(value.get("type", "name")).lower() != "name" for value in crs):
            raise HsiError(f"{path}: its reference system lies elsewhere; name it (crs of type name)")
        return dict(pairs)

    data = path.read_bytes()
    if data.startswith(b"{"):
        with suppress(ValueError, RecursionError):  # what is no JSON is read no further
            json.loads(data, object_pairs_hook=look)
