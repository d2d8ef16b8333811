"""What lies on the ground: ENVI and GeoTIFF images, and polygons, burnt into their grid as labels."""

import json
import os
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from hsilib.data.formats import SIGNATURES, Image, first_bytes, needs
from hsilib.errors import HsiError
from hsilib.files import readable


def image_file(path: Path) -> Path:
    """Return the image that an ENVI header belongs to; any other file stands for itself."""
    if not first_bytes(path).startswith(b"ENVI"):
        return path
    for suffix in ("", ".bsq", ".bil", ".bip", ".img", ".dat", ".raw"):
        if path.with_suffix(suffix).is_file():
            return path.with_suffix(suffix)
    raise HsiError(f"{path}: the image that belongs to this header is not beside it")


def open_geo(path: Path) -> Image:
    """Open an ENVI or GeoTIFF file and keep what it says of its bands, its pixels and its place."""
    rasterio = needs("rasterio", f"{path}: an image with a place on the ground")
    path = image_file(path)
    # named, or GDAL opens whatever it takes the file for: VRT, addresses
    driver = "GTiff" if SIGNATURES.get(first_bytes(path)[:4]) == "geo" else "ENVI"

    @contextmanager
    def opened():
        with readable(f"{path}: cannot be read, perhaps truncated"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has no place
            with rasterio.open(os.path.abspath(path), driver=driver) as file:
                yield file

    def read(top, bottom):
        with opened() as file:
            window = rasterio.windows.Window(0, top, file.width, bottom - top)
            return np.moveaxis(file.read(window=window), 0, 2)

    with opened() as file:
        said = file.tags(ns="ENVI")
        if driver == "ENVI":
            _as_its_header_says(file, path, said)
        flags = said.get("bbl", "").strip("{} ").split(",")
        bad = tuple(i for i, flag in enumerate(flags) if flag.strip() and float(flag) == 0)
        waves = _wavelengths([(file.tags(i), file.tags(i, ns="IMAGERY")) for i in file.indexes])
        transform = () if file.transform.is_identity else tuple(file.transform)[:6]
        size, crs = (*file.shape, file.count), file.crs.to_wkt() if file.crs else ""
        return Image(str(path), size, read, waves, bad, file.nodata, crs, transform)


def _as_its_header_says(file, path, said):
    """Refuse an ENVI file of another size than its header asks for: every row would be skewed."""
    each, size = np.dtype(file.dtypes[0]).itemsize, path.stat().st_size
    wanted = int(said.get("header_offset", 0)) + file.width * file.height * file.count * each
    if said.get("file_compression", "0").strip() == "1":
        with open(path, "rb") as raw:
            raw.seek(-4, os.SEEK_END)  # where gzip notes the size of what it packed
            size, wanted = int.from_bytes(raw.read(), "little"), wanted % 2**32
    if size != wanted:
        says = "samples, lines, bands, offset, data type or compression are not those of the file"
        raise HsiError(f"{path}: holds {size:,} bytes, and its header asks for {wanted:,}: {says}")


def _wavelengths(bands):
    """The wavelengths of bands in nm, from their tags of two kinds; none where one of them is missing."""
    values = []
    with suppress(TypeError, ValueError):
        values = [float(own.get("wavelength", image.get("CENTRAL_WAVELENGTH_UM"))) for own, image in bands]
    if not values or not all(0 < value < 1e6 for value in values):
        return ()
    first = bands[0][0]
    unit = first.get("wavelength_units", "" if "wavelength" in first else "Micrometers").lower()
    micro = unit.startswith(("micro", "um", "µm")) or (not unit.startswith("nano") and max(values) < 100)
    return tuple(round(1000 * value if micro else value, 3) for value in values)


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
