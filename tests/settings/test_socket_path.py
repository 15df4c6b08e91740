"""Where the socket lies: one rule, short enough for the kernel, never in a stranger's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.settings import socket_path as sp


def path_of(state_dir: str, **environ: str) -> str:
    return sp.socket_path(state_dir, environ)


def test_a_named_socket_wins(short_folder: Path) -> None:
    assert path_of("/s", REM_SOCKET="/run/x.sock", RUNTIME_DIRECTORY=str(short_folder)) == "/run/x.sock"


def test_systemds_folder_comes_before_the_users(short_folder: Path) -> None:
    (short_folder / "a").mkdir()
    (short_folder / "b").mkdir()

    found = path_of(
        "/s", RUNTIME_DIRECTORY=f"{short_folder}/a:{short_folder}/z", XDG_RUNTIME_DIR=f"{short_folder}/b"
    )

    assert Path(found).parent == short_folder / "a"


def test_two_state_directories_never_share_a_socket(short_folder: Path) -> None:
    first = path_of("/state/one", XDG_RUNTIME_DIR=str(short_folder))
    second = path_of("/state/two", XDG_RUNTIME_DIR=str(short_folder))

    assert first != second
    assert Path(first).name.startswith("rem-supervisor-")
    assert first == path_of("/state/one", XDG_RUNTIME_DIR=str(short_folder))


def test_a_runtime_folder_that_is_gone_is_passed_over() -> None:
    assert path_of("/state", XDG_RUNTIME_DIR="/run/user/no-such-user") == "/state/control.sock"


def test_without_any_runtime_folder_it_lies_in_the_state_directory() -> None:
    assert path_of("/state") == "/state/control.sock"


def test_a_path_too_long_to_bind_moves_to_a_private_folder(
    monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    monkeypatch.setattr(sp, "_FALLBACK", str(short_folder / "private"))

    found = Path(path_of("/" + "s" * 120))

    assert found.parent == short_folder / "private"
    assert found.parent.stat().st_mode & 0o777 == 0o700
    assert len(os.fsencode(str(found))) <= sp.MAX_PATH_BYTES
    assert str(found) == path_of("/" + "s" * 120), "the second asker finds the same place"


def test_a_private_folder_that_others_can_enter_is_refused(
    monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    monkeypatch.setattr(sp, "_FALLBACK", str(short_folder / "private"))
    (short_folder / "private").mkdir()
    (short_folder / "private").chmod(0o755)

    with pytest.raises(sp.SocketFolderUnsafe, match="mode 0755"):
        path_of("/" + "s" * 120)


def test_with_a_group_it_lies_where_members_can_reach_it(
    monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    """A state directory and XDG_RUNTIME_DIR are closed to everybody else."""
    monkeypatch.setattr(sp, "_FALLBACK", str(short_folder / "own"))
    runtime = str(short_folder)

    by_hand = Path(sp.socket_path("/state", {"XDG_RUNTIME_DIR": runtime}, for_group=True))
    by_systemd = sp.socket_path("/state", {"RUNTIME_DIRECTORY": runtime}, for_group=True)

    assert by_hand.parent == short_folder / "own"
    assert by_hand.parent.stat().st_mode & 0o777 == 0o711  # to pass through, not to look around
    assert by_systemd == f"{runtime}/{by_hand.name}"


def test_a_relative_socket_is_the_same_wherever_a_command_stands(
    monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    monkeypatch.chdir(short_folder)

    assert path_of("/s", REM_SOCKET="c.sock") == f"{short_folder}/c.sock"


def test_a_link_in_place_of_the_private_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    monkeypatch.setattr(sp, "_FALLBACK", str(short_folder / "private"))
    (short_folder / "elsewhere").mkdir(mode=0o700)
    (short_folder / "private").symlink_to(short_folder / "elsewhere")

    with pytest.raises(sp.SocketFolderUnsafe):
        path_of("/" + "s" * 120)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "supervisor.json").write_text(
        '{"pid": 7, "socket": "/run/a.sock", "started_unix_s": 12.5}', encoding="utf-8"
    )

    assert sp.read_address(str(tmp_path)) == sp.Address(7, "/run/a.sock", 12.5)
    assert sp.read_address(str(tmp_path / "nowhere")) is None


def test_a_member_who_may_not_read_the_address_finds_the_socket_that_systemd_made_room_for(
    monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    monkeypatch.setattr(sp, "_SYSTEMD_RUNTIME", str(short_folder))
    assert sp.socket_for_group("/closed/state") == ""

    made = Path(sp.socket_path("/closed/state", {"RUNTIME_DIRECTORY": str(short_folder)}, for_group=True))
    made.touch()

    assert sp.socket_for_group("/closed/state") == str(made)
