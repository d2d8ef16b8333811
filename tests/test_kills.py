"""A study is killed where it writes, and many write and read at once, for seconds; ``make kills`` takes half an hour."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.nightly
@pytest.mark.skipif(not os.path.exists("/proc"), reason="needs fork and /proc")
@pytest.mark.parametrize(
    "words, says", [("kills.py 2 1", "2 studies killed twice, 0 not as undisturbed"), ("crowd.py 4", "all right")]
)
def test_nothing_is_lost_or_torn(words, says):
    command = [sys.executable, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == 0 and says in done.stdout, done.stdout[-3000:] + done.stderr[-2000:]
