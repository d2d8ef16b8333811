"""How files are read, by content and not by suffix.  Each failure is one line; no pickle is ever loaded.

Arrays: .npy, .npz, .mat up to 7.2 and 7.3.  Images on the ground: ENVI, also compressed by gzip, and GeoTIFF.
Pictures: PNG.  Those of MATLAB 7.3 need h5py, those on the ground rasterio: the extra ``geo``.
"""

import itertools
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from hsilib.data.described import plain
from hsilib.errors import HsiError
from hsilib.files import readable

SIGNATURES = {
    b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"MATLAB 5.0": "mat", b"MATLAB 7.3": "hdf", b"\x89HDF": "hdf",
    b"II*\0": "geo", b"MM\0*": "geo", b"II+\0": "geo", b"MM\0+": "geo", b"\x89PNG": "png",
    b"\0\0\x27\x0a": "polygons", b"SQLite format 3": "polygons", b"{": "polygons", b"ENVI": "geo",
}
MOST_LIGHT = 1e12  # larger values are none, and their squares have no place in 32 bits
LARGE, EMPTY = 1 << 27, 12  # values from which on an array of more values a byte of its file is refused

# of MATLAB 5 to 7.2: how numbers are stored; types of elements; classes of arrays, and a flag of them
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
ARRAY, COMPRESSED, NUMBERS, COMPLEX = 14, 15, range(6, 16), 8


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
        """Return some rows (h, W, B) as float32, zeros without data, and a map (h, W) of where data are."""
        values = self.read(top, bottom)
        values = values[..., self.kept] if self.bad else values
        there = np.ones(values.shape[:2], bool)
        if self.nodata is not None:
            there = ~(np.isnan(values) if np.isnan(self.nodata) else values == self.nodata).any(2)
        values = values if there.all() else np.where(there[..., None], values, 0)
        return check_cube(values, self.where), there

    def strips(self) -> Iterator[tuple[int, int]]:
        """Give first and last row of strips of two million values at most, which together are the image."""
        rows = max(1, (1 << 21) // (self.size[1] * self.size[2]))
        for top in range(0, self.size[0], rows):
            yield top, min(top + rows, self.size[0])


def first_bytes(path: Path) -> bytes:
    """Return what a file begins with."""
    if not path.is_file():
        raise HsiError(f"{path}: no such file")
    with open(path, "rb") as file:
        return file.read(16)


def kind_of(path: Path) -> str:
    """Return what a file is by its first bytes: a kind of ``SIGNATURES``, or an empty text."""
    head, found = first_bytes(path), ""
    for header in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")):
        if header.is_file() and first_bytes(header).startswith(b"ENVI"):
            found = "geo"  # an ENVI image, which says nothing of itself
    return next((kind for start, kind in SIGNATURES.items() if head.startswith(start)), found)


def needs(package: str, what: str) -> Any:
    """Import a package of an extra, or say in one line how to get it."""
    try:
        return import_module(package)
    except ModuleNotFoundError:
        name = package.partition(".")[0]
        raise HsiError(f"{what} needs {name}, which is not installed: pip install {name}") from None


def open_image(path: Path, key: str = "") -> Image:
    """Open a cube of any format; ``key`` names the array of a file that holds several."""
    path, kind = Path(path), kind_of(Path(path))
    if kind == "geo":
        return _on_the_ground(path)
    shape, rows = _array(path, key, kind, axes=3)
    if len(shape) != 3 or 0 in shape:
        says = "it is empty" if 0 in shape else "expected (rows, columns, bands)"
        raise HsiError(f"{path}: array has shape {shape}, {says}")
    return Image(str(path), shape, lambda top, bottom: rows(slice(top, bottom)))


def _on_the_ground(path):
    from hsilib.data import ground  # here, for it builds on this

    return ground.open_geo(path)


def of_array(array: np.ndarray, where: Path | str) -> Image:
    """Give an array in memory the form of an image on disk."""
    return Image(str(where), array.shape, lambda top, bottom: array[top:bottom])


def read_array(path: Path, key: str = "", axes: int = 0) -> np.ndarray:
    """Read one array of a file; an empty ``key`` takes the only one, or the only one of so many axes."""
    path, kind = Path(path), kind_of(Path(path))
    if kind != "geo":
        return _array(path, key, kind, axes)[1](slice(None))
    image = _on_the_ground(path)
    values = image.read(0, image.size[0])
    return values if image.size[2] > 1 else np.where(values == image.nodata, 0, values)[..., 0]  # classes


def _array(path, key, kind, axes):
    """Return the shape of an array of a file, and a function that reads a slice of its rows.

    One of far more values than its file has bytes is refused before it is unpacked.
    """
    if kind not in _FORMATS:
        raise HsiError(f"{path}: expected a .npy, .npz or .mat file, GeoTIFF, or ENVI with its header")
    damaged = readable(f"{path}: cannot be read, perhaps truncated")
    arrays = damaged(_FORMATS[kind])(path)
    shapes = {name: shape for name, (shape, _) in arrays.items()}
    fitting = [name for name, shape in shapes.items() if len(shape) == axes] or list(shapes)
    name = fitting[0] if not key and len(fitting) == 1 else "" if kind in ("npy", "png") else key
    if name in shapes:
        values = np.prod(shapes[name], dtype=float)
        if values > max(LARGE, EMPTY * path.stat().st_size):
            raise HsiError(f"{path}: has {values:,.0f} values, too many for its bytes")
        return shapes[name], damaged(arrays[name][1])
    content = ", ".join(f"{plain(name, 40)} {shape}" for name, shape in list(shapes.items())[:9]) or "nothing"
    which = (f"no usable array {key!r}" if key else "several arrays") if shapes else "no array"
    raise HsiError(f"{path}: {which} in it; it holds {content}; name one with --cube-key or --label-key")


# --------------------------- of each format: of its arrays by name the shape, and a function that reads rows


def _npy(path):
    """Rows are copied from a map that is then let go, or what was read would count as memory."""
    load = partial(np.load, path, allow_pickle=False, mmap_mode="r")
    return {"": (load().shape, lambda rows: np.array(load()[rows]))}


def _png(path):
    picture = np.array(needs("PIL.Image", "a picture").open(path, formats=("PNG",)))
    return {"": (picture.shape, picture.__getitem__)}


def _npz(path):
    arrays, lib, whole = {}, np.lib.format, cache(np.load(path, allow_pickle=False).__getitem__)
    with zipfile.ZipFile(path) as packed:
        for name in packed.namelist():
            with packed.open(name) as file:
                first, name = lib.read_magic(file)[0] == 1, name.removesuffix(".npy")
                header = lib.read_array_header_1_0 if first else lib.read_array_header_2_0
                arrays[name] = header(file)[0], lambda rows, name=name: whole(name)[rows]
    return arrays


def _hdf(path):
    """MATLAB 7.3, whose axes stand in reverse order."""
    file = (h5py := needs("h5py", f"{path}: a file of MATLAB 7.3")).File(path)
    linked = any(not isinstance(file.get(name, getlink=True), h5py.HardLink) for name in file)
    arrays = {} if linked else {name: file[name] for name in file if isinstance(file[name], h5py.Dataset)}
    if linked or any(array.external or array.is_virtual for array in arrays.values()):
        raise HsiError(f"{path}: it holds links, or arrays that lie in other files")
    rows_of = {name: lambda rows, array=array: array[..., rows].T for name, array in arrays.items()}
    return {name: (array.shape[::-1], rows_of[name]) for name, array in arrays.items()}


def _mat(path):
    """MATLAB 5 to 7.2, read here: scipy's reader ends its process on damaged files.

    A file is a header and then elements: a type, a number of bytes, as many bytes.  An array is an element
    of elements (flags, shape, name, values), most often compressed.  All but real numbers is passed over.
    """
    data, arrays = path.read_bytes(), {}
    order = {b"IM": "<", b"MI": ">"}[data[126:128]]

    @cache
    def whole(part, packed, last, shape):
        unpack = zlib.decompressobj()
        part = unpack.decompress(part[8:], last + 1) if packed else part
        if len(part) != last or (packed and not unpack.eof):  # at the end zlib compares its sum
            raise ValueError("it is damaged")
        return _values(part, 8, order, 4)[3].reshape(shape, order="F")

    for kind, start, end in _elements(data, 128, order):
        part, packed = data[start - 8 : end], kind == COMPRESSED
        head = zlib.decompressobj().decompress(part[8:], 1 << 16) if packed else part
        kind, first, last = next(_elements(head, 0, order), (0, 0, 0))
        if kind == ARRAY:
            flags, shape, name = _values(head, first, order, 3)
            if flags[0] & 0xFF in NUMBERS and not flags[0] >> 8 & COMPLEX:
                shape = tuple(map(int, shape))
                read = partial(whole, part, packed, last, shape)
                arrays[name.tobytes().decode("latin-1")] = shape, lambda rows, read=read: read()[rows]
    return arrays


def _elements(data, at, order):
    """Give type, start and end of each element; one of four bytes at most lies in its own tag."""
    while at + 8 <= len(data):
        kind, size = map(int, np.frombuffer(data, f"{order}u4", 2, at))
        if kind >> 16:
            yield kind & 0xFFFF, at + 4, at + 4 + (kind >> 16)
            at += 8
        else:
            yield kind, at + 8, at + 8 + size
            at += 8 + size + (0 if kind == COMPRESSED else -size % 8)


def _values(data, at, order, count):
    """Return the values of the first elements of an array."""
    elements = itertools.islice(_elements(data, at, order), count)
    return [np.frombuffer(data[start:end], order + STORED[kind]) for kind, start, end in elements]


_FORMATS = {"npy": _npy, "npz": _npz, "mat": _mat, "hdf": _hdf, "png": _png}


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
