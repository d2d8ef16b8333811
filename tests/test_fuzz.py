"""Damaged inputs, a few for each reader; ``make fuzz`` tries many."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.nightly
@pytest.mark.skipif(os.name == "nt", reason="it needs fork")
def test_damaged_inputs_are_refused_in_one_line_or_read_rightly():
    for package in ("rasterio", "h5py", "pyogrio", "onnx", "onnxruntime"):
        pytest.importorskip(package)
    command = [sys.executable, Path(__file__).with_name("fuzz.py"), "4", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "inputs, 0 not read as they must be" in done.stdout
