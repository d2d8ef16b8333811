"""Times and sizes of files by engine, as ``hsilib bench latency --save`` left them for the book."""

import numpy as np

from hsibook.tables import benchmarks
from hsibook.text import pm

EAGER, FOLDED = "PyTorch", "PyTorch, folded"
FLOAT, DYNAMIC, STATIC = (f"ONNX Runtime, {form}" for form in ("32 bits", "dynamic int8", "static int8"))


class Speed:
    """What the benchmark measured of the dense network (size 0) and of the small ones.

    A size or engine that it did not measure gives NaN, and as text a dash: a page needs no case for it.
    """

    def __init__(self):
        measured = benchmarks().get("latency", {})
        parts = (measured.get(part, {}) for part in ("engines", "bytes", "exported"))
        self.engines, self.bytes, self.exported = parts
        self.device = measured.get("device", "–")

    def ms(self, ratio: int, engine: str, batch: str = "1") -> tuple[float, float]:
        """Median and interquartile range of the milliseconds per pixel, or per scene (``batch="scene"``)."""
        return self.engines.get(str(ratio), {}).get(engine, {}).get(batch, (np.nan, np.nan))

    def text(self, ratio: int, engine: str, batch: str = "1", digits: int = 2) -> str:
        return pm(*self.ms(ratio, engine, batch), digits)

    def file(self, ratio: int, form: str) -> float:
        """Bytes of the exported file, from raw spectra to classes."""
        return self.exported.get(str(ratio), {}).get(form, np.nan)
