"""How files are read, by content and not by suffix.  Each failure is one line; no pickle is ever loaded.

Arrays: .npy, .npz, .mat up to 7.2 and 7.3.  Images on the ground: ENVI, also compressed by gzip, and GeoTIFF.
Pictures: PNG.  Those of MATLAB 7.3 need h5py, those on the ground rasterio: the extra ``geo``.
"""

import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsilib.data import matlab
from hsilib.data.described import plain
from hsilib.errors import HsiError, reason, starved
from hsilib.files import readable

SIGNATURES = {
    b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"MATLAB 5.0": "mat", b"MATLAB 7.3": "hdf", b"\x89HDF": "hdf",
    b"II*\0": "geo", b"MM\0*": "geo", b"II+\0": "geo", b"MM\0+": "geo", b"\x89PNG": "png",
    b"\0\0\x27\x0a": "polygons", b"SQLite format 3": "polygons", b"{": "polygons", b"ENVI": "geo",
}
MOST_LIGHT = 1e12  # larger values are none, and their squares have no place in 32 bits
LARGE, EMPTY = 1 << 27, 12  # values from which on an array of more values a byte of its file is refused


@dataclass(frozen=True)
class Image:
    """What a file holds of a cube, which is read by rows."""

    where: str  # it comes from
    size: tuple[int, int, int]  # rows, columns, bands
    read: Callable[[int, int], np.ndarray]  # (first row, row behind the last) -> (rows, columns, bands)
    waves: tuple[float, ...] = ()  # wavelengths of the bands, in nm
    bad: tuple[int, ...] = ()  # bands that the file calls bad, from 0
    nodata: float | None = None  # what pixels without data hold
    crs: str = ""  # where it lies: the reference system ...
    transform: tuple[float, ...] = ()  # ... and the six numbers from (column, row) to it

    @property
    def kept(self) -> list[int]:
        """The bands that are not bad."""
        return [band for band in range(self.size[2]) if band not in self.bad]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and bands without the bad ones."""
        return (*self.size[:2], len(self.kept))

    @property
    def wavelengths(self) -> tuple[float, ...]:
        """Of the bands that are not bad."""
        return tuple(self.waves[band] for band in self.kept) if self.waves else ()

    def rows(self, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        """Return some rows (h, W, B) as float32, and a map (h, W) that is True where they are data.

        Pixels without data hold zeros.  Any other value that is not finite is an error.
        """
        values = self.read(top, bottom)
        values = values[..., self.kept] if self.bad else values
        there = np.ones(values.shape[:2], bool)
        if self.nodata is not None:
            there = ~(np.isnan(values) if np.isnan(self.nodata) else values == self.nodata).any(2)
        values = values if there.all() else np.where(there[..., None], values, 0)
        return check_cube(values, self.where), there

    def strips(self, values: int = 1 << 21) -> Iterator[tuple[int, int]]:
        """Give first and last row of strips of at most so many values, which together are the image."""
        rows = max(1, values // (self.size[1] * self.size[2]))
        for top in range(0, self.size[0], rows):
            yield top, min(top + rows, self.size[0])


def _head(path):
    if not path.is_file():
        raise HsiError(f"{path}: no such file")
    with open(path, "rb") as file:
        return file.read(16)


def kind_of(path: Path) -> str:
    """Return what a file is by its first bytes: a kind of ``SIGNATURES``, or an empty text."""
    head, found = _head(path), ""
    for header in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")):
        if header.is_file() and _head(header).startswith(b"ENVI"):
            found = "geo"  # an ENVI image, which says nothing of itself
    return next((kind for start, kind in SIGNATURES.items() if head.startswith(start)), found)


def image_file(path: Path) -> Path:
    """Return the image that an ENVI header belongs to; any other file stands for itself."""
    if not _head(path).startswith(b"ENVI"):
        return path
    for suffix in ("", ".bsq", ".bil", ".bip", ".img", ".dat", ".raw"):
        if path.with_suffix(suffix).is_file():
            return path.with_suffix(suffix)
    raise HsiError(f"{path}: the image that belongs to this header is not beside it")


def needs(package: str, what: str) -> Any:
    """Import a package of an extra, or say in one line how to get it."""
    from importlib import import_module

    try:
        return import_module(package)
    except ModuleNotFoundError:
        name = package.partition(".")[0]
        raise HsiError(f"{what} needs {name}, which is not installed: pip install {name}") from None
    except ImportError as error:
        why = "there is too little memory" if starved(error) else reason(error)
        raise HsiError(f"{what} needs {package}, which cannot be loaded: {why}") from None


def open_image(path: Path, key: str = "") -> Image:
    """Open a cube of any format; ``key`` names the array of a file that holds several."""
    path, kind = Path(path), kind_of(Path(path))
    if kind == "geo":
        return _open_geo(path)
    array = _array(path, key, kind, axes=3)
    if len(array.shape) != 3 or 0 in array.shape:
        says = "it is empty" if 0 in array.shape else "expected (rows, columns, bands)"
        raise HsiError(f"{path}: array has shape {array.shape}, {says}")
    return of_array(array, path)


def of_array(array: np.ndarray, where: Path | str) -> Image:
    """Give an array in memory, or one that is read where it is sliced, the form of an image on disk."""
    return Image(str(where), array.shape, lambda top, bottom: np.asarray(array[top:bottom]))


def read_array(path: Path, key: str = "", axes: int = 0) -> np.ndarray:
    """Read one array of a file; an empty ``key`` takes the only one, or the only one of so many axes."""
    path, kind = Path(path), kind_of(Path(path))
    if kind != "geo":
        array = _array(path, key, kind, axes)
        with readable(f"{path}: cannot be read, perhaps truncated"):
            _bounded(path, array.shape)
            return array[:]
    image = _open_geo(path)
    values = image.read(0, image.size[0])
    if image.size[2] > 1:
        return values
    return np.where(values == image.nodata, 0, values)[..., 0]  # a map of classes


class _OnDisk:
    """An array of which rows are read where it is sliced."""

    def __init__(self, shape, rows):
        self.shape, self.rows = shape, rows

    def __getitem__(self, rows):
        return self.rows(rows)


def _array(path, key, kind, axes):
    """Return an array of a file, or what stands for one that is read where it is sliced."""
    if kind not in _FORMATS:
        raise HsiError(f"{path}: expected a .npy, .npz or .mat file, GeoTIFF, or ENVI with its header")
    with readable(f"{path}: cannot be read, perhaps truncated"):
        if kind in ("npy", "png"):
            return _FORMATS[kind](path)
        shapes, get = _FORMATS[kind](path)
        fitting = [name for name, shape in shapes.items() if len(shape) == axes] or list(shapes)
        name = fitting[0] if not key and len(fitting) == 1 else key
        if name in shapes:
            if kind != "hdf":
                _bounded(path, shapes[name])
            return get(name)
    content = ", ".join(f"{plain(name, 40)} {shape}" for name, shape in list(shapes.items())[:9]) or "nothing"
    which = (f"no usable array {key!r}" if key else "several arrays") if shapes else "no array"
    raise HsiError(f"{path}: {which} in it; it holds {content}; name one with --cube-key or --label-key")


def _bounded(path, shape):
    """Refuse an array of far more values than its file has bytes, before it is unpacked."""
    values = np.prod(shape, dtype=float)
    if values > max(LARGE, EMPTY * path.stat().st_size):
        raise HsiError(f"{path}: has {values:,.0f} values, too many for its bytes")


def _npy(path):
    """Rows are copied from a map that is then let go, or what was read would count as memory."""
    shape = np.load(path, allow_pickle=False, mmap_mode="r").shape
    return _OnDisk(shape, lambda rows: np.array(np.load(path, allow_pickle=False, mmap_mode="r")[rows]))


def _npz(path):
    shapes, lib = {}, np.lib.format
    with zipfile.ZipFile(path) as packed:
        for name in packed.namelist():
            with packed.open(name) as file:
                first = lib.read_magic(file)[0] == 1
                header = lib.read_array_header_1_0 if first else lib.read_array_header_2_0
                shapes[name.removesuffix(".npy")] = header(file)[0]
    return shapes, np.load(path, allow_pickle=False).__getitem__


def _hdf(path):
    """Axes stand in MATLAB's order."""
    file = (h5py := needs("h5py", f"{path}: a file of MATLAB 7.3")).File(path)
    linked = any(not isinstance(file.get(name, getlink=True), h5py.HardLink) for name in file)
    arrays = {} if linked else {name: file[name] for name in file if isinstance(file[name], h5py.Dataset)}
    if linked or any(array.external or array.is_virtual for array in arrays.values()):
        raise HsiError(f"{path}: it holds links, or arrays that lie in other files")
    shapes = {name: array.shape[::-1] for name, array in arrays.items()}
    return shapes, lambda key: _OnDisk(shapes[key], lambda rows: arrays[key][..., rows].T)


_FORMATS = {
    "npy": _npy, "npz": _npz, "mat": matlab.arrays, "hdf": _hdf,
    "png": lambda path: np.array(needs("PIL.Image", "a picture").open(path, formats=("PNG",))),
}


def _open_geo(path):
    """Open an ENVI or GeoTIFF file and keep what it says of its bands, its pixels and its place."""
    rasterio = needs("rasterio", f"{path}: an image with a place on the ground")
    path = image_file(path)
    # named, or GDAL opens whatever it takes the file for: VRT, addresses
    driver = "GTiff" if SIGNATURES.get(_head(path)[:4]) == "geo" else "ENVI"

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


def check_cube(cube: np.ndarray, where: Path | str) -> np.ndarray:
    """Return the cube as float32, and refuse one that holds anything but finite numbers."""
    if cube.dtype.kind not in "iuf":
        raise HsiError(f"{where}: values of type {cube.dtype}, expected real numbers")
    cube = np.ascontiguousarray(cube, dtype=np.float32)
    bad = ~np.isfinite(cube)
    if bad.any():
        raise HsiError(f"{where}: {bad.sum()} values are NaN or infinite; mask or repair them first")
    if cube.size and (most := max(cube.max(), -cube.min())) > MOST_LIGHT:
        says = "no instrument measures that; if it stands for no data, say so with --nodata"
        raise HsiError(f"{where}: values up to {most:g}; {says}")
    return cube


def label_map(path: Path, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Read a map of class numbers, with 0 for none, and check that it has the shape of its scene."""
    labels = read_array(path, key, axes=2)
    if labels.shape != shape[:2]:
        says = f"label map has shape {labels.shape}, the scene is {shape}"
        first = "save it as (rows, columns, bands)"
        hints = {
            shape[::2]: f"; the cube's bands come second: {first}",
            shape[1:]: f"; the cube's bands come first: {first}",
            shape[1::-1]: "; the map is turned: transpose it",
        }
        raise HsiError(f"{path}: {says}{hints.get(labels.shape, '')}")
    numbers = labels.dtype.kind in "iufb"
    if not numbers or labels.min() < 0 or labels.max() > 255 or (labels != np.round(labels)).any():
        raise HsiError(f"{path}: labels must be whole numbers 0 (none) to 255")
    return labels.astype(np.uint8)
