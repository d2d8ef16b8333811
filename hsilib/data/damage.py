"""What a transfer in text mode does to a cube of 16-bit numbers, as to the usual file of Indian Pines.

It takes every byte 13, a carriage return, for the end of a line and writes 10, a line feed.
"""

from typing import NamedTuple

import numpy as np

from hsilib.errors import HsiError

CR, LF = 13, 10


def text_mode(values: np.ndarray) -> np.ndarray:
    """Return whole numbers 0 to 65535 as such a transfer leaves them: every byte 13 is 10."""
    high, low = values >> 8, values & 255
    return 256 * np.where(high == CR, LF, high) + np.where(low == CR, LF, low)


def rebuild(copy: np.ndarray, crop: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """Put an 8-bit copy (H, W, B) on the scale of the full file, of which there is a crop at ``corner``.

    Each band of the copy is a straight line of the original, so that two numbers a band, fitted on values
    that no damage can have touched, undo it, up to the 8-bit step and to what was clipped at its ends.
    """
    rows, columns, _ = crop.shape
    there = np.s_[corner[0] : corner[0] + rows, corner[1] : corner[1] + columns]
    whole = crop.astype(int)
    sound = (copy[there] > 0) & (copy[there] < 255) & (whole >> 8 != LF) & (whole & 255 != LF)
    out = np.empty(copy.shape)
    for band in range(copy.shape[2]):
        known = sound[..., band]
        x, y = (part[..., band][known].astype(float) for part in (copy[there], crop))
        slope = np.cov(x, y)[0, 1] / x.var(ddof=1)
        out[..., band] = slope * (copy[..., band] - x.mean()) + y.mean()
    return np.rint(out).clip(0, 65535).astype(int)


class Finding(NamedTuple):
    """What the bytes of a cube of 16-bit numbers tell."""

    bytes: np.ndarray  # (256,) how often each of them occurs, as high or low byte
    expected: float  # how many bytes 13 there should be, by the two beside it
    damaged: bool  # there is none where there should be many, and more bytes 10 than their neighbours allow


def look(cube: np.ndarray, where: str = "a cube") -> Finding:
    """Count the bytes of a cube of whole numbers, and refuse any other."""
    whole = cube.dtype.kind in "iu" or bool(np.isfinite(cube).all() and (cube == np.round(cube)).all())
    if not whole or cube.min() < -32768 or cube.max() > 65535:
        says = "the values are not whole numbers of 16 bits: they were scaled or shifted since"
        raise HsiError(f"{where}: {says}, and their bytes tell nothing")
    bits = cube.astype(np.int64).ravel() & 65535
    count = sum(np.bincount(byte, minlength=256) for byte in (bits >> 8, bits & 255))
    expected = (count[CR - 1] + count[CR + 1]) / 2
    more = count[LF] - (count[LF - 1] + count[LF + 1]) / 2
    return Finding(count, expected, bool(count[CR] == 0 and expected >= 100 and more > 0.2 * expected))


def repair(cube: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Put byte 13 back where nothing else can have been there.

    Returns the cube, how many values were put right and how many stay open.  A value of high byte 10 is
    either right or 768 too low.  It is predicted from bands that no damage can have touched, and put right,
    or called right, only where one of the two lies within the largest error that the prediction makes on
    sound values and the other outside it.  A low byte changes three: no prediction tells, and it stays.
    """
    bits = cube.reshape(-1, cube.shape[2]).astype(np.int64)
    suspect = bits >> 8 == LF
    sound = np.flatnonzero(suspect.mean(0) < 1e-3)
    out, right, still = bits.copy(), 0, 0
    if len(sound) < 2:
        return cube, 0, int(suspect.sum())
    alike = np.abs(np.corrcoef(bits[:: max(1, len(bits) // 20000)].T))
    for band in np.flatnonzero(suspect.any(0)):
        near = sound[np.argsort(-alike[band, sound], kind="stable")]
        near = near[near != band][:20]
        x = np.c_[bits[:, near], np.ones(len(bits))].astype(float)
        good, asked = ~suspect[:, band], suspect[:, band]
        if good.sum() < 10 * x.shape[1]:
            still += int(asked.sum())
            continue
        fit = np.linalg.lstsq(x[good], bits[good, band], rcond=None)[0]
        error = np.abs(bits[good, band] - x[good] @ fit).max()
        guess = x[asked] @ fit
        low, high = np.abs(guess - bits[asked, band]), np.abs(guess - bits[asked, band] - 768)
        back = (high <= error) & (low > error)
        out[asked, band] += 768 * back
        right += int(back.sum())
        still += int(((high <= error) == (low <= error)).sum())
    return out.reshape(cube.shape).astype(cube.dtype), right, still
