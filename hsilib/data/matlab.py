"""Arrays of numbers in files of MATLAB 5 to 7.2, read here: scipy's reader ends its process on damaged ones.

A file is a header and then elements: a type, a number of bytes, as many bytes.  An array is an element of
elements (flags, shape, name, values), most often compressed.  All but real numbers is passed over.
"""

import itertools
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
ARRAY, COMPRESSED = 14, 15  # types of elements
NUMBERS, COMPLEX = range(6, 16), 8  # classes of arrays, and a flag of them
HEAD = 1 << 16  # bytes in which flags, shape and name lie


def arrays(path: Path) -> tuple[dict[str, tuple[int, ...]], Callable[[str], np.ndarray]]:
    """Return the shapes of a file's arrays, and a function that reads one of them."""
    data, shapes, places = path.read_bytes(), {}, {}
    order = {b"IM": "<", b"MI": ">"}[data[126:128]]
    for kind, start, end in _elements(data, 128, order):
        part, packed = data[start - 8 : end], kind == COMPRESSED
        head = zlib.decompressobj().decompress(part[8:], HEAD) if packed else part
        kind, first, last = next(_elements(head, 0, order), (0, 0, 0))
        if kind == ARRAY:
            flags, shape, name = _values(head, first, order, 3)
            if flags[0] & 0xFF in NUMBERS and not flags[0] >> 8 & COMPLEX:
                name = name.tobytes().decode("latin-1")
                shapes[name], places[name] = tuple(map(int, shape)), (part, packed, last)

    def get(key: str) -> np.ndarray:
        part, packed, last = places[key]
        unpack = zlib.decompressobj()
        whole = unpack.decompress(part[8:], last + 1) if packed else part
        if len(whole) != last or (packed and not unpack.eof):  # at the end zlib compares its sum
            raise ValueError("it is damaged")
        return _values(whole, 8, order, 4)[3].reshape(shapes[key], order="F")

    return shapes, get


def _elements(data: bytes, at: int, order: str) -> Iterator[tuple[int, int, int]]:
    """Give type, start and end of each element; one of four bytes at most lies in its own tag."""
    while at + 8 <= len(data):
        kind, size = map(int, np.frombuffer(data, f"{order}u4", 2, at))
        if kind >> 16:
            yield kind & 0xFFFF, at + 4, at + 4 + (kind >> 16)
            at += 8
        else:
            yield kind, at + 8, at + 8 + size
            at += 8 + size + (0 if kind == COMPRESSED else -size % 8)


def _values(data: bytes, at: int, order: str, count: int) -> list[np.ndarray]:
    """Return the values of the first elements of an array."""
    elements = itertools.islice(_elements(data, at, order), count)
    return [np.frombuffer(data[start:end], order + STORED[kind]) for kind, start, end in elements]
