"""A benchmark file with a byte missing: what a transfer in text mode does to a cube of 16-bit numbers.

Such a transfer takes every byte 13, a carriage return, for the end of a line and writes 10, a line feed.  The
copies of the usual Indian Pines file that we saw have no byte 13.
"""

import numpy as np

CR, LF = 13, 10


def text_mode(values: np.ndarray) -> np.ndarray:
    """Return whole numbers 0 to 65535 as such a transfer leaves them: every byte 13 is 10.

    >>> text_mode(np.array([0x0D00, 0x0C0D, 0x0D0D, 0x0E0C])).tolist() == [0x0A00, 0x0C0A, 0x0A0A, 0x0E0C]
    True
    """
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
        x, y = copy[there][..., band][known].astype(float), crop[..., band][known].astype(float)
        slope = np.cov(x, y)[0, 1] / x.var(ddof=1)
        out[..., band] = slope * (copy[..., band] - x.mean()) + y.mean()
    return np.rint(out).clip(0, 65535).astype(int)
