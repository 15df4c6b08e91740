"""Exit codes say what they mean; moments are moments on one clock."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from supervisor.contract import clock
from supervisor.contract.exits import STATUS_UNKNOWN, Exit, describe


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (0, "exited (code 0)"),
        (71, "exit 71 (device broken)"),
        (78, "exit 78 (settings wrong)"),
        (5, "exit 5"),
        (-9, "killed by SIGKILL"),
        (-15, "killed by SIGTERM"),
        (-99, "killed by signal 99"),
        (STATUS_UNKNOWN, "ended, exit status unknown"),
    ],
)
def test_every_way_to_end_has_words(returncode: int, words: str) -> None:
    assert describe(returncode) == words


def test_codes_are_those_that_the_documentation_and_the_unit_name() -> None:
    """Scripts and `RestartPreventExitStatus=78` depend on them."""
    named = {code.name: code.value for code in Exit}

    assert named == {
        "OK": 0, "FAILED": 1, "USAGE": 2, "NOT_RUNNING": 3, "DEGRADED": 4,
        "ORPHANED": 70, "DEVICE_BROKEN": 71, "MODEL_BROKEN": 72, "RECYCLE": 73, "OUT_OF_MEMORY": 74,
        "PROTOCOL": 76, "SETTINGS_WRONG": 78,
    }  # fmt: skip


def test_another_process_reads_the_same_clock() -> None:
    before = clock.now_s()
    code = "from supervisor.contract import clock; print(repr(clock.now_s()), clock.boot_id())"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=_env())
    there_s, boot = out.stdout.split()

    assert before <= float(there_s) <= clock.now_s()
    assert boot == clock.boot_id()


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
