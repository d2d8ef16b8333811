"""A study is killed where it writes, a few times, and finished; ``make kills`` does it three hundred times."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.nightly
@pytest.mark.skipif(not os.path.exists("/proc"), reason="needs fork and /proc")
def test_a_study_that_is_killed_and_finished_equals_the_undisturbed_one():
    command = [sys.executable, Path(__file__).with_name("kills.py"), "2", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "2 studies killed twice, 0 not as undisturbed" in done.stdout


@pytest.mark.nightly
def test_four_writers_and_four_readers_lose_nothing():
    command = [sys.executable, Path(__file__).with_name("crowd.py"), "4"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "all right" in done.stdout, done.stdout[-3000:] + done.stderr[-2000:]
