"""Where runs are trained, and what a number was computed on: processor, versions, commit."""

import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

# how ``collect`` trains unless it is told otherwise; a chapter's words --jobs, --device and --on set it, and
# most: seconds above which it says what training would take instead (0: train whatever it takes)
TRAINING = {"jobs": None, "device": "cpu", "on": "", "most": 0}


@lru_cache
def commit() -> str:
    """Return the short commit of the library's checkout, with ``+`` when the library differs from it."""
    try:
        here = dict(cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
        name = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], **here).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "."], **here).stdout
        return f"{name}+" if changed else name
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions() -> str:
    """Return the versions that decide a number, by the packages' records: loading torch takes seconds."""
    packages = [f"{name} {version(name)}" for name in ("torch", "numpy", "scikit-learn")]
    return " ".join([f"python {'.'.join(map(str, sys.version_info[:3]))}", *packages])


def byte_sums() -> bool | None:
    """Say whether the processor sums products of bytes in one instruction (VNNI), or None if unknown."""
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return None


@lru_cache
def cpu_name() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
