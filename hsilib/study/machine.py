"""On what a number was found: processor, versions, commit."""

import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from hsilib.files import project


@lru_cache
def commit():
    """Short commit of the checkout, with ``+`` when the library differs from it."""
    try:
        here = dict(cwd=project(), capture_output=True, text=True, check=True)
        name = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], **here).stdout.strip()
        return name + (
            "+" if subprocess.run(["git", "status", "--porcelain", "hsilib"], **here).stdout else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions():
    """Of what decides a number; asked of the packages' records, for loading torch takes seconds."""
    found = [f"python {'.'.join(map(str, sys.version_info[:3]))}"]
    return " ".join(found + [f"{name} {version(name)}" for name in ("torch", "numpy", "scikit-learn")])


def byte_sums():
    """Whether the processor sums products of bytes in one instruction (VNNI); None where that is not told."""
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return None


@lru_cache
def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
