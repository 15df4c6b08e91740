"""What keeps a service from starting is told in one sentence, with the code that says who can mend it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from supervisor.contract.exits import Exit
from supervisor.service.state_dir import StateDir
from tests.end_to_end.running_service import (
    LIMIT_S,
    REPOSITORY,
    SAMPLES,
    Service,
    clean_environment,
    is_alive,
    running,
    wait_for,
)

pytestmark = pytest.mark.slow


def start_that_fails(tmp_path: Path, **environ: str) -> tuple[int, str]:
    """Give exit code and output of a service that does not start."""
    service = Service(tmp_path / "state", clean_environment(tmp_path / "state", **environ))
    try:
        code = service.process.wait(LIMIT_S)
    finally:
        service.process.kill()
    assert "Traceback" not in service.log
    return code, service.log


def test_rem_socket_that_names_a_file_is_a_wrong_setting_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("precious", encoding="utf-8")

    code, said = start_that_fails(tmp_path, REM_SOCKET=str(path))

    assert (code, path.read_text(encoding="utf-8")) == (Exit.SETTINGS_WRONG, "precious")
    assert f"REM_SOCKET: {path} is a file, not a socket" in said


def test_rem_socket_of_another_program_is_a_wrong_setting_and_stays_its_own(tmp_path: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="rem-") as folder,  # a socket's name is short
        socket.socket(socket.AF_UNIX) as other,
        socket.socket(socket.AF_UNIX) as caller,
    ):
        path = f"{folder}/other.sock"
        other.bind(path)
        other.listen()

        code, said = start_that_fails(tmp_path, REM_SOCKET=path)

        caller.connect(path)
    assert code == Exit.SETTINGS_WRONG
    assert f"another program listens on {path}" in said


def test_rem_socket_in_a_folder_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    code, said = start_that_fails(tmp_path, REM_SOCKET=str(tmp_path / "no" / "c.sock"))

    assert code == Exit.SETTINGS_WRONG
    assert "No such file or directory" in said


@pytest.mark.parametrize("limit_bytes", [0, 16], ids=["for the lock", "for the address"])
def test_full_disk_is_told_with_its_path_and_a_cure(tmp_path: Path, limit_bytes: int) -> None:
    """ "No space left on device", it said, and not where. A limit on file sizes stands for the disk."""
    state = tmp_path / "state"
    limited = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, 2**30))"
    started = f"{limited}; os.execv(sys.executable, [sys.executable, '-m', 'supervisor', 'run'])"

    done = subprocess.run(
        [sys.executable, "-c", started], env=clean_environment(state), cwd=tmp_path, capture_output=True,
        text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip

    assert (done.returncode, "Traceback" in done.stderr) == (Exit.FAILED, False)
    assert f"state directory {state} can't be used: File too large. Free space there" in done.stderr


def test_commands_on_a_state_directory_that_cannot_be_made_say_so_in_one_sentence(tmp_path: Path) -> None:
    """submit showed a traceback."""
    (tmp_path / "file").touch()
    state = tmp_path / "file" / "state"

    for words in (["submit", str(SAMPLES / "harbour.wav")], ["jobs"], ["redrive", "--all"]):
        done = subprocess.run(
            [sys.executable, "-m", "supervisor", *words], env=clean_environment(state), cwd=tmp_path,
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip

        assert done.returncode == Exit.FAILED
        assert done.stderr.count("\n") == 1, done.stderr
        assert "Not a directory" in done.stderr


@pytest.mark.parametrize("successor", [False, True], ids=["removed", "replaced"])
def test_service_whose_state_directory_is_gone_says_so_and_ends_with_1(
    tmp_path: Path, successor: bool
) -> None:
    """It worked on unseen: submit wrote into a new database that its broker never looked at."""
    state = tmp_path / "state"
    with running(state, slots=1) as service:
        service.wait_ready()
        known = service.pids()
        state.rename(tmp_path / "elsewhere")
        held = StateDir(str(state)) if successor else None

        code = service.process.wait(LIMIT_S)

        assert code == Exit.FAILED
        assert f"the state directory {state} was removed or replaced" in service.log
        wait_for(lambda: not [pid for pid in known if is_alive(pid)], "the end of all its processes")
        assert not (state / "status.json").exists()
    assert held is None or not held.is_lost()


@pytest.mark.parametrize("before_its_log", [True, False], ids=["while it is imported", "once it has a log"])
def test_reason_of_a_broker_that_ends_at_start_stands_in_status(tmp_path: Path, before_its_log: bool) -> None:
    """It showed "exit 1", and the cause stood in the log alone."""
    traps, why = tmp_path / "traps", "libsqlite3.so.0: cannot open shared object file"
    traps.mkdir()
    if before_its_log:
        (traps / "sqlite3.py").write_text(f"raise ImportError({why!r})\n", encoding="utf-8")
    else:
        why = "Is a directory"
        (tmp_path / "state" / "broker.lock").mkdir(parents=True)

    path = f"{REPOSITORY}{os.pathsep}{traps}"
    with running(tmp_path / "state", slots=1, PYTHONPATH=path) as service:

        def told() -> str:
            reasons = [str(slot["reason"]) for slot in service.slots("broker")]
            return next((reason for reason in reasons if why in reason), "")

        reason = wait_for(told, "the broker's own words")

    assert reason.startswith("exit 1")
    assert len(reason) < 400


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_service_that_is_told_to_stop_while_it_reads_its_code_ends_with_0(
    tmp_path: Path, signum: signal.Signals
) -> None:
    """Ended 143: systemd called an orderly stop a failure."""
    stops_itself = (
        "import os, sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == 'asyncio': os.kill(os.getpid(), {int(signum)})\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from supervisor.cli.main import main\n"
        "sys.exit(main(['run']))\n"
    )

    done = subprocess.run([sys.executable, "-c", stops_itself], cwd=tmp_path, capture_output=True, timeout=30)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
