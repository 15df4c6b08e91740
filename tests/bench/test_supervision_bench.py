"""The benchmark runs: every measurement gives a figure. What the figures are is not tested."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and waits on pidfds"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="the trivial worker is a bash script"),
]


def test_small_benchmark_without_peers_measures_everything() -> None:
    command = [sys.executable, "bench/supervision.py", "--alone", "--rounds", "1", "--slots", "2"]
    few = ["--kills", "1", "--idle-s", "0.5", "--restarts", "100"]

    done = subprocess.run([*command, *few], cwd=REPOSITORY, capture_output=True, text=True, timeout=100)

    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", done.stdout, re.MULTILINE))
    for what in ("kill to replacement ms / 2", "idle CPU s / 2", "stop to gone ms / 2", "status ms / 2"):
        assert re.fullmatch(r"[\d.]+ \([\d.]+\)", rows[what]), done.stdout
    assert rows["supervisor killed: workers alive after 3 s"] == "0 (0)"
    # Counted while slots are between two lives, so a few more or less; no growth is a figure of 5,000.
    assert abs(float(rows["100 restarts: descriptors more"].split()[0])) < 30
