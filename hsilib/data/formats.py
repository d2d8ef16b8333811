"""How files are read, by content and not by suffix.  Each failure is one line; no pickle is ever loaded.

Arrays: .npy, .npz, .mat up to 7.2 and 7.3.  Images on the ground: ENVI, also compressed by gzip, and GeoTIFF.
Pictures: PNG.  Those of MATLAB 7.3 need h5py, those on the ground rasterio: the extra ``geo``.
"""

import os
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsilib.data import matlab
from hsilib.errors import HsiError, reason, starved

SIGNATURES = {
    b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"MATLAB 5.0": "mat", b"MATLAB 7.3": "hdf", b"\x89HDF": "hdf",
    b"II*\0": "geo", b"MM\0*": "geo", b"II+\0": "geo", b"MM\0+": "geo", b"\x89PNG": "png",
    b"\0\0\x27\x0a": "polygons", b"SQLite format 3": "polygons", b"{": "polygons",
}
MOST_LIGHT = 1e12  # larger values are none, and their squares have no place in 32 bits
MOST, MOST_LABELS = 4e9, 1e9  # values of an array that is read as a whole, and of a map of classes
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


def kind_of(path: Path) -> str:
    """Return what a file is by its first bytes: a kind of ``SIGNATURES``, or an empty text."""
    if not path.is_file():
        raise HsiError(f"{path}: no such file")
    with open(path, "rb") as file:
        head = file.read(16)
    found = [kind for start, kind in SIGNATURES.items() if head.startswith(start)]
    if found or head.startswith(b"ENVI") or _header(path):
        return found[0] if found else "geo"
    return "mat" if path.suffix == ".mat" else ""  # MATLAB 4 has no signature


def _header(path):
    """Return the ENVI header beside an image, or None."""
    for header in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")):
        if header.is_file() and header.read_bytes()[:4] == b"ENVI":
            return header
    return None


def image_file(path: Path) -> Path:
    """Return the image that an ENVI header belongs to; any other file stands for itself."""
    with open(path, "rb") as file:
        if file.read(4) != b"ENVI":
            return path
    for beside in ("", ".bsq", ".bil", ".bip", ".img", ".dat", ".raw"):
        if path.with_suffix(beside).is_file():
            return path.with_suffix(beside)
    raise HsiError(f"{path}: the image that belongs to this header is not beside it")


def needs(package: str, what: str) -> Any:
    """Import a package of the extra ``geo``, or say in one line how to get it."""
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
    array = _array(path, key, kind, axes=3, lazily=True)
    if len(array.shape) != 3:
        raise HsiError(f"{path}: array has shape {array.shape}, expected (rows, columns, bands)")
    if 0 in array.shape:
        raise HsiError(f"{path}: array has shape {array.shape}: it is empty")
    return of_array(array, path)


def of_array(array: np.ndarray, where: Path | str) -> Image:
    """Give an array in memory, or one that is read where it is sliced, the form of an image on disk."""
    return Image(str(where), array.shape, lambda top, bottom: np.asarray(array[top:bottom]))


def read_array(path: Path, key: str = "", axes: int = 0) -> np.ndarray:
    """Read one array of a file; an empty ``key`` takes the only one, or the only one of so many axes."""
    path, kind = Path(path), kind_of(Path(path))
    if kind != "geo":
        return np.asarray(_array(path, key, kind, axes))
    image = _open_geo(path)
    values = image.read(0, image.size[0])
    if image.nodata is not None and image.size[2] == 1:  # a map of classes
        values = np.where(values == image.nodata, 0, values)
    return values[..., 0] if image.size[2] == 1 else values


def _array(path, key, kind, axes=0, lazily=False):
    """Return an array, or with ``lazily`` what is read where it is sliced."""
    shapes = {}
    try:
        if kind == "npy":
            return _Rows(path) if lazily else np.load(path, allow_pickle=False)
        if kind == "png":
            from PIL import Image as Picture

            return np.array(Picture.open(path, formats=("PNG",)))
        if kind in ("npz", "hdf", "mat"):
            shapes, get = _ARCHIVES[kind](path, lazily)
            fitting = [name for name, shape in shapes.items() if len(shape) == axes] or list(shapes)
            if not key and len(fitting) == 1:
                key = fitting[0]
            later = lazily and kind == "hdf"
            most = MOST if axes == 3 else MOST_LABELS
            values = np.prod(shapes.get(key, np.inf), dtype=float)
            if not later and max(LARGE, EMPTY * path.stat().st_size) < values < np.inf:
                raise HsiError(f"{path}: {key} has {values:,.0f} values, too many for its bytes")
            if key in shapes and (later or values < most):  # before unpacking
                return get(key)
    except HsiError:
        raise
    except Exception as error:
        raise HsiError(f"{path}: cannot be read, perhaps truncated ({reason(error)})") from None
    if kind not in _ARCHIVES:
        raise HsiError(f"{path}: expected a .npy, .npz or .mat file, GeoTIFF, or ENVI with its header")
    content = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
    which = (f"no usable array {key!r}" if key else "several arrays") if shapes else "no array"
    raise HsiError(f"{path}: {which} in it; it holds {content}; name one with --cube-key or --label-key")


def _npz(path, lazily):
    shapes = {}
    with zipfile.ZipFile(path) as packed:
        for name in packed.namelist():
            with packed.open(name) as file:
                lib, first = np.lib.format, np.lib.format.read_magic(file)[0] == 1
                header = lib.read_array_header_1_0 if first else lib.read_array_header_2_0
                shapes[name.removesuffix(".npy")] = header(file)[0]
    return shapes, np.load(path, allow_pickle=False).__getitem__


def _hdf(path, lazily):
    file = (h5py := needs("h5py", f"{path}: a file of MATLAB 7.3")).File(path)
    linked = [name for name in file if not isinstance(file.get(name, getlink=True), h5py.HardLink)]
    arrays = {name: file[name] for name in file if name not in linked and name[0] != "#"}
    arrays = {name: array for name, array in arrays.items() if hasattr(array, "shape")}
    if linked or any(array.external or array.is_virtual for array in arrays.values()):
        raise HsiError(f"{path}: it holds links, or arrays that lie in other files")
    shapes = {name: array.shape[::-1] for name, array in arrays.items()}  # MATLAB's order of axes
    return shapes, lambda key: _Turned(arrays[key]) if lazily else arrays[key][()].T


class _Rows:
    """A .npy file of which rows are read; a map of it into memory would count as memory."""

    def __init__(self, path):
        mapped = np.load(path, allow_pickle=False, mmap_mode="r")
        self.path, self.shape, self.dtype, self.start = path, mapped.shape, mapped.dtype, mapped.offset
        self.whole = None if mapped.flags.c_contiguous else mapped

    def __getitem__(self, rows):
        if self.whole is not None:
            return self.whole[rows]
        each = int(np.prod(self.shape[1:]))
        count = len(range(*rows.indices(self.shape[0])))
        offset = self.start + rows.start * each * self.dtype.itemsize
        return np.fromfile(self.path, self.dtype, count * each, offset=offset).reshape(count, *self.shape[1:])


class _Turned:
    """An array on disk whose axes stand in reverse order."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape[::-1]

    def __getitem__(self, rows):
        return self.array[..., rows].T


_ARCHIVES = {"npz": _npz, "mat": lambda path, lazily: matlab.arrays(path), "hdf": _hdf}


def _open_geo(path):
    """Open an ENVI or GeoTIFF file and keep what it says of its bands, its pixels and its place."""
    rasterio = needs("rasterio", f"{path}: an image with a place on the ground")
    path = image_file(path)
    with open(path, "rb") as file:  # named, or GDAL opens whatever it takes the file for: VRT, addresses
        driver = "GTiff" if SIGNATURES.get(file.read(4)) == "geo" else "ENVI"

    def opened():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has no place, which is well
            try:
                return rasterio.open(os.path.abspath(path), driver=driver)
            except Exception as error:
                raise HsiError(f"{path}: cannot be read, perhaps truncated ({reason(error)})") from None

    def read(top, bottom):
        try:
            with opened() as file:
                window = rasterio.windows.Window(0, top, file.width, bottom - top)
                return np.moveaxis(file.read(window=window), 0, 2)
        except rasterio.errors.RasterioIOError:
            raise HsiError(f"{path}: cannot be read to its end, perhaps truncated") from None

    with opened() as file:
        try:
            if file.driver == "ENVI":
                _as_its_header_says(file, path)
            flags = file.tags(ns="ENVI").get("bbl", "").strip("{} ").split(",")
            bad = tuple(i for i, flag in enumerate(flags) if flag.strip() and float(flag) == 0)
        except ValueError as error:
            raise HsiError(f"{path}: its header has what is no number ({reason(error)})") from None
        transform = () if file.transform.is_identity else tuple(file.transform)[:6]
        waves = _wavelengths([_band(file, i) for i in file.indexes])
        size, crs = (*file.shape, file.count), file.crs.to_wkt() if file.crs else ""
        return Image(str(path), size, read, waves, bad, file.nodata, crs, transform)


def _as_its_header_says(file, path):
    """Refuse an ENVI file of another size than its header asks for: every row would be skewed."""
    said = file.tags(ns="ENVI")
    each = np.dtype(file.dtypes[0]).itemsize
    wanted = int(said.get("header_offset", 0)) + file.width * file.height * file.count * each
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(-4, os.SEEK_END)
        size = int.from_bytes(raw.read(), "little") if packed else path.stat().st_size
    if packed and said.get("file_compression", "0").strip() != "1":
        raise HsiError(f"{path}: is compressed, which its header does not say (file compression = 1)")
    if size != (wanted % 2**32 if packed else wanted):
        says = "samples, lines, bands, offset or data type are not those of the file"
        raise HsiError(f"{path}: holds {size:,} bytes, and its header asks for {wanted:,}: {says}")


def _band(file, number):
    """Return the wavelength of a band as the file gives it, and its unit."""
    tags = file.tags(number)
    if "wavelength" in tags:
        return tags["wavelength"], tags.get("wavelength_units", "")
    return file.tags(number, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM"), "Micrometers"


def _wavelengths(bands):
    try:
        values = [float(value) for value, _ in bands]
    except (TypeError, ValueError):
        return ()
    if not all(0 < value < 1e6 for value in values):
        return ()
    unit = bands[0][1].lower()
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
        raise HsiError(f"{path}: {says}{_axes(shape, labels.shape)}")
    numbers = labels.dtype.kind in "iufb"
    if not numbers or labels.min() < 0 or labels.max() > 255 or (labels != np.round(labels)).any():
        raise HsiError(f"{path}: labels must be whole numbers 0 (none) to 255")
    return labels.astype(np.uint8)


def _axes(cube, labels):
    """Say what to do when a cube does not fit a label map only because axes stand in another order."""
    if labels == cube[1::-1]:
        return "; the map is turned: transpose it"
    if labels == cube[1:]:
        return "; the cube's bands come first: save it as (rows, columns, bands)"
    if labels == cube[::2]:
        return "; the cube's bands come second: save it as (rows, columns, bands)"
    return ""
