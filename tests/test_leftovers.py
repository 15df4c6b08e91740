"""The count of what tests leave behind would find what it looks for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import leftovers

LEAKING_FILE = """
import subprocess
from tests.support import leftovers

leftovers.GONE_WITHIN_S = leftovers.CLOSED_WITHIN_S = 0.0

left = []

def test_that_leaves_both(tmp_path):
    left.append(open(tmp_path / "left-open", "w"))
    left.append(subprocess.Popen(["sleep", "30"]))
"""


def test_open_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "CLOSED_WITHIN_S", 0.0)
    before = leftovers.descriptors()

    with (tmp_path / "open").open("w"):
        assert leftovers.new_descriptors(before) == [str(tmp_path / "open")]

    assert leftovers.new_descriptors(before) == []


def test_process_that_runs_on_is_named_and_one_that_is_kept_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "GONE_WITHIN_S", 0.0)
    before = leftovers.descendants()

    with subprocess.Popen(["sleep", "30"], preexec_fn=leftovers.die_with_tests) as process:
        try:
            (left,) = leftovers.new_processes(before)
            assert left.startswith(f"{process.pid}: ")

            with leftovers.kept(process.pid):
                assert leftovers.new_processes(before) == []
        finally:
            process.kill()


@pytest.mark.slow
def test_test_file_that_leaves_something_fails(tmp_path: Path) -> None:
    repository = Path(__file__).resolve().parents[1]
    (tmp_path / "test_leaks.py").write_text(LEAKING_FILE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "."]

    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert "test_leaks.py leaves 2 processes or open files" in done.stdout
    assert "sleep 30" in done.stdout
    assert "left-open" in done.stdout


@pytest.mark.slow
def test_process_that_a_test_started_is_gone_when_the_tests_are_killed() -> None:
    starts = (
        "import subprocess, sys; from tests.support import leftovers; "
        "print(subprocess.Popen(['sleep', '100'], preexec_fn=leftovers.die_with_tests).pid, flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starts],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as killed:
        assert killed.stdout is not None
        pid = int(killed.stdout.readline())

        killed.kill()
        killed.wait()

    assert leftovers.is_gone(pid)
