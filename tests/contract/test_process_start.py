"""What a process inherited is set: each state is made in a process of its own, which then begins."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BEFORE = """
import os, resource, signal, sys
sys.path.insert(0, {home!r})
from supervisor.contract import process_start
everything = signal.valid_signals() - {{signal.SIGKILL, signal.SIGSTOP}}
def ignored(): return {{n for n in everything if signal.getsignal(n) is signal.SIG_IGN}}
"""


def after(inherited: str, shown: str, cwd: Path = REPOSITORY, begin: str = "begin") -> str:
    """Put a process into the inherited state, let it begin, and give what it shows."""
    program = f"{BEFORE.format(home=str(REPOSITORY))}{inherited}\nprocess_start.{begin}()\nprint({shown})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_signals_are_neither_ignored_nor_blocked_but_those_that_nohup_ignores() -> None:
    inherited = "for n in everything: signal.signal(n, signal.SIG_IGN)\nsignal.pthread_sigmask(0, everything)"

    shown = after(inherited, "signal.pthread_sigmask(0, ()), sorted(n.name for n in ignored())")

    assert shown == "set() ['SIGHUP', 'SIGINT', 'SIGPIPE', 'SIGQUIT', 'SIGXFSZ']"


def test_a_handler_that_was_set_before_stays() -> None:
    assert after("signal.signal(15, print)", "signal.getsignal(15) is print") == "True"


def test_an_alarm_of_a_former_program_does_not_ring() -> None:
    assert after("signal.alarm(1)", "signal.alarm(0)") == "0"


@pytest.mark.parametrize(
    ("umask", "begin", "kept"),
    [
        (0o000, "begin", 0o000),
        (0o777, "begin", 0o077),
        (0o022, "begin", 0o022),
        (0o000, "begin_service", 0o077),
    ],
)
def test_the_owner_may_always_use_his_files_and_a_service_keeps_them_private(
    umask: int, begin: str, kept: int
) -> None:
    assert after(f"os.umask({umask})", "os.umask(0)", begin=begin) == str(kept)


def test_a_folder_that_was_removed_is_left(tmp_path: Path) -> None:
    assert after("os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')", "os.getcwd()", tmp_path) == "/"


@pytest.mark.skipif(os.getuid() == 0, reason="root may enter every folder")
def test_a_folder_that_this_user_may_not_enter_is_left(tmp_path: Path) -> None:
    assert after("os.mkdir('no'); os.chdir('no'); os.chmod('.', 0)", "os.getcwd()", tmp_path) == "/"


def test_the_working_folder_is_no_place_for_modules_unless_it_is_ours(tmp_path: Path) -> None:
    inherited = "sys.path[:0] = ['', os.getcwd(), '.']"

    elsewhere = after(inherited, "[p for p in sys.path if p in ('', '.', os.getcwd())]", tmp_path)
    at_home = after(inherited, "os.getcwd() in sys.path")

    assert (elsewhere, at_home) == ("[]", "True")


def test_closed_streams_are_there_again_and_take_no_other_number() -> None:
    inherited = "out = os.dup(1); os.closerange(0, 3); sys.stdin = sys.stdout = sys.stderr = None"
    shown = (
        "os.open('/', os.O_RDONLY) > 2, sys.stderr.fileno(), sys.stdout.write('x'), file=os.fdopen(out, 'w')"
    )

    assert after(inherited, shown) == "True 2 1"


def test_the_soft_limit_of_descriptors_is_raised_and_limits_that_end_processes_are_named() -> None:
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65_536)
    inherited = (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (50, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (5000, 5000))"
    )
    before = after(inherited, "dict(process_start.harmful_limits())")
    raised = after(inherited, "process_start.raise_descriptor_limit(), dict(process_start.harmful_limits())")

    assert before == "{'ulimit -n': 50, 'ulimit -t': 5000}"
    assert raised == f"{hard} {{'ulimit -t': 5000}}"
