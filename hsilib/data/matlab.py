"""Files of MATLAB up to 7.2, read in a process of their own: on some damaged ones scipy's reader ends its process."""

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np


def arrays(path: Path) -> tuple[dict[str, tuple[int, ...]], Callable[[str], np.ndarray]]:
    """Return the shapes of a file's arrays, and a function that reads one of them."""

    def ask(key: str = "", out: str = "") -> str:
        words = [sys.executable, "-P", __file__, str(path), key, out]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise ValueError(done.stderr.strip().rpartition("\n")[2] or "it is damaged")
        return done.stdout

    def get(key: str) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            ask(key, out := f"{folder}/array.npy")
            return np.load(out, allow_pickle=False)

    return {name: tuple(shape) for name, shape in json.loads(ask()).items()}, get


if __name__ == "__main__":
    import scipy.io

    path, key, out = sys.argv[1:]
    warnings.simplefilter("ignore")
    try:
        if key:
            np.save(out, scipy.io.loadmat(path, variable_names=[key])[key], allow_pickle=False)
        else:
            print(json.dumps({name: shape for name, shape, _ in scipy.io.whosmat(path)}))
    except Exception as error:
        sys.exit(str(error) or type(error).__name__)
