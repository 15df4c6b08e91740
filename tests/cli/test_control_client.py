"""Asking over the socket: whoever is at the other end, the caller gets a sentence, soon."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any, Callable

import pytest

from supervisor.cli.client.control_client import NotRunning, ask
from supervisor.cli.client.errors import CommandFailed
from supervisor.contract.exits import Exit
from supervisor.settings.schema import Settings

Start = Callable[[Callable[[socket.socket], None]], Path]
STATUS = {"do": "status"}


def test_an_answer_comes_back_as_it_was_sent(
    in_force: Settings, answering: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    requests = answering({"ok": True, "text": "draining grün"})

    reply = ask(in_force.state_dir, {"do": "drain", "slots": ["cpu0"]}, {})

    assert reply["text"] == "draining grün"
    assert requests == [{"do": "drain", "slots": ["cpu0"]}]


def test_a_refusal_is_told_in_the_supervisors_own_words(
    in_force: Settings, answering: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    answering({"ok": False, "error": "there is no slot 'gpu9'"})

    with pytest.raises(CommandFailed, match="there is no slot 'gpu9'") as caught:
        ask(in_force.state_dir, STATUS, {})

    assert caught.value.code == Exit.FAILED


def test_nothing_written_means_not_running_and_names_the_state_directory(in_force: Settings) -> None:
    with pytest.raises(NotRunning, match=in_force.state_dir) as caught:
        ask(in_force.state_dir, STATUS, {})

    assert caught.value.code == Exit.NOT_RUNNING


@pytest.mark.parametrize("written", ["", "not json", "[]", '{"pid": 1}', '{"pid": "x", "socket": 1}', "null"])
def test_an_address_file_of_nonsense_means_not_running(
    in_force: Settings, state_dir: Path, written: str
) -> None:
    (state_dir / "supervisor.json").write_text(written, encoding="utf-8")

    with pytest.raises(NotRunning):
        ask(in_force.state_dir, STATUS, {})


def test_an_address_that_a_dead_supervisor_left_means_not_running(
    in_force: Settings, state_dir: Path, short_folder: Path
) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(short_folder / "control.sock"))
    dead.close()  # the file stays, nobody listens
    address = {"pid": 1, "socket": str(short_folder / "control.sock"), "started_unix_s": 1.0}
    (state_dir / "supervisor.json").write_text(json.dumps(address), encoding="utf-8")

    with pytest.raises(NotRunning):
        ask(in_force.state_dir, STATUS, {})


def test_silence_is_told_with_the_pid_of_the_one_who_listens(
    in_force: Settings, supervisor_that: Start
) -> None:
    supervisor_that(lambda caller: None)

    with pytest.raises(CommandFailed, match=rf"pid {os.getpid()}\) did not answer within 0.2 s") as caught:
        ask(in_force.state_dir, STATUS, {}, within_s=0.2)

    assert caught.value.code == Exit.FAILED


def test_half_an_answer_is_silence_too(in_force: Settings, supervisor_that: Start) -> None:
    supervisor_that(lambda caller: caller.sendall(b'{"ok": true'))

    with pytest.raises(CommandFailed, match="did not answer"):
        ask(in_force.state_dir, STATUS, {}, within_s=0.2)


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"[1]\n", b"\xff\xfe\n", b"nan\n"])
def test_another_programs_words_are_called_what_they_are(
    in_force: Settings, supervisor_that: Start, garbage: bytes
) -> None:
    supervisor_that(lambda caller: caller.sendall(garbage))

    with pytest.raises(CommandFailed, match="is invalid"):
        ask(in_force.state_dir, STATUS, {})


def test_an_endless_line_is_cut_off(in_force: Settings, supervisor_that: Start) -> None:
    def flood(caller: socket.socket) -> None:
        try:
            while True:
                caller.sendall(b"x" * 65_536)
        except OSError:
            pass

    supervisor_that(flood)

    with pytest.raises(CommandFailed, match="is invalid"):
        ask(in_force.state_dir, STATUS, {})


def test_hanging_up_is_told(in_force: Settings, supervisor_that: Start) -> None:
    supervisor_that(lambda caller: caller.shutdown(socket.SHUT_RDWR))

    with pytest.raises(CommandFailed, match="closed the connection"):
        ask(in_force.state_dir, STATUS, {})


def test_a_named_socket_is_asked_whatever_the_state_directory_says(
    in_force: Settings, state_dir: Path, answering: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    answering({"ok": True, "text": "hello"})
    address = json.loads((state_dir / "supervisor.json").read_text(encoding="utf-8"))
    (state_dir / "supervisor.json").unlink()

    assert ask(in_force.state_dir, STATUS, {"REM_SOCKET": address["socket"]})["text"] == "hello"
