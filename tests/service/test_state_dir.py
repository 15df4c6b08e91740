"""The state directory: private, one supervisor's at a time, and a sentence where it can't be."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.service.state_dir import StateDir, StateDirBroken, StateDirTaken

REPOSITORY = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from supervisor.service.state_dir import StateDir
held = StateDir(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directory_and_all_in_it_is_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        state = StateDir(str(tmp_path / "deep" / "state"))
        state.write("status.json", {"version": 1})
    finally:
        os.umask(before)

    assert mode_of(state.path) == 0o700
    assert {path.name: mode_of(path) for path in state.path.iterdir() if path.is_dir()} == {
        "locks": 0o700,
        "stacks": 0o700,
        "worker-home": 0o700,
    }
    assert {mode_of(path) for path in state.path.iterdir() if path.is_file()} == {0o600}


def test_directory_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(0o755)

    assert mode_of(StateDir(str(path)).path) == 0o700


def test_second_supervisor_is_refused_and_told_the_pid_of_the_first(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "state")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"

        with pytest.raises(StateDirTaken, match=rf"\(pid {first.pid}\).*REM_STATE_DIR"):
            StateDir(str(tmp_path / "state"))
    finally:
        first.kill()
        first.communicate()

    StateDir(str(tmp_path / "state"))  # the lock went with the process


def test_two_supervisors_with_folders_of_their_own_do_not_meet(tmp_path: Path) -> None:
    one, two = StateDir(str(tmp_path / "one")), StateDir(str(tmp_path / "two"))

    assert one.path != two.path


@pytest.mark.parametrize("below", ["file", "file/deeper"])
def test_folder_that_can_not_be_made_is_told_of_in_one_sentence(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("in the way", encoding="ascii")

    with pytest.raises(StateDirBroken) as caught:
        StateDir(str(tmp_path / below))

    words = str(caught.value)
    assert words.startswith(f"state directory {tmp_path / below} can't be used: ")
    assert words.endswith("Set REM_STATE_DIR to a folder that this user may write")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_this_user_may_not_write_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)

    with pytest.raises(StateDirBroken, match="Permission denied"):
        StateDir(str(tmp_path / "closed" / "state"))


def test_file_is_replaced_in_one_step_and_nothing_half_written_stays(tmp_path: Path) -> None:
    state = StateDir(str(tmp_path / "state"))
    state.write("status.json", {"version": 1})
    with open(state.path / "status.json", encoding="utf-8") as reader:
        state.write("status.json", {"version": 2})

        assert json.load(reader) == {"version": 1}  # who reads meanwhile sees the old one, whole
    assert json.loads((state.path / "status.json").read_text(encoding="utf-8")) == {"version": 2}
    assert [path.name for path in state.path.iterdir() if path.name.endswith(".new")] == []


def test_address_names_the_socket_and_the_pid(tmp_path: Path) -> None:
    state = StateDir(str(tmp_path / "state"))

    state.write_address("/run/rem.sock")

    address = json.loads((state.path / "supervisor.json").read_text(encoding="utf-8"))
    assert (address["pid"], address["socket"]) == (os.getpid(), "/run/rem.sock")
