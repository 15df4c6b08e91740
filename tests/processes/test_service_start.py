"""What keeps a service from starting is told in one sentence, with the code that says who can mend it."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest

from supervisor.contract.exits import Exit
from supervisor.state_dir import StateDir
from tests.processes.rem_service import LIMIT_S, Service, clean_environment, is_alive, running, wait_for

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
