"""The service as PID 1 of a container: signals work, and strangers are reaped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.running_service import LIMIT_S, clean_environment, wait_for

pytestmark = pytest.mark.slow
UNSHARE = shutil.which("unshare")


def _can_unshare() -> bool:
    if UNSHARE is None:
        return False
    words = [UNSHARE, "--pid", "--fork", "--mount-proc", "true"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_unshare(), reason="a pid namespace of its own needs root and unshare")
def test_pid_one_reaps_orphans_and_ends_on_sigterm(tmp_path: Path) -> None:
    """A worker's double-forked grandchild ends as an orphan: nobody but PID 1 can reap it."""
    state = tmp_path / "s"
    log = tmp_path / "log"
    with log.open("wb") as out:
        words = [str(UNSHARE), "--pid", "--fork", "--kill-child", "--mount-proc"]
        process = subprocess.Popen(
            [*words, sys.executable, "-m", "supervisor", "run"],
            env=clean_environment(state),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(
            lambda: '"now": "ready"' in log.read_text() and '"slot": "cpu0"' in log.read_text(),
            "a ready worker",
        )
        inside = wait_for(lambda: _child_of(process.pid), "PID 1 of the namespace")
        orphan = ["nsenter", f"--target={inside}", "--pid", "--mount", "sh", "-c", "(sleep 0.2 & ) ; exit 0"]
        for _ in range(5):
            subprocess.run(orphan, check=True, timeout=LIMIT_S)

        wait_for(lambda: not _zombies_of(inside), "the orphans to be reaped")
        os.kill(inside, signal.SIGTERM)

        assert process.wait(LIMIT_S) == 0, log.read_text()[-2000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(LIMIT_S)


def _child_of(pid: int) -> int:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(text[0]) if text else 0


def _zombies_of(pid: int) -> list[str]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    states: dict[str, str] = {}
    for child in children:
        with contextlib.suppress(OSError):  # it was reaped meanwhile
            states[child] = Path(f"/proc/{child}/stat").read_text(encoding="utf-8")
    zombies = [child for child, stat in states.items() if stat.rpartition(")")[2].split()[0] == "Z"]
    orphans = [child for child, stat in states.items() if "(sleep)" in stat]
    return zombies + orphans
