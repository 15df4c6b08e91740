"""What systemd hears, on a real datagram socket in its place."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.service.systemd import Notifier


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        words = []
        while True:
            try:
                words.append(self._socket.recv(65_536).decode())
            except BlockingIOError:
                return words

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest) -> Iterator[Systemd]:
    folder = Path(tempfile.mkdtemp(prefix="rem-"))
    made = Systemd(str(folder / "notify") if request.param == "file" else f"@{folder.name}")
    yield made
    made.close()
    shutil.rmtree(folder)


def notifier(systemd: Systemd, **environ: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": systemd.address, **environ})


def test_ready_is_said_once(systemd: Systemd) -> None:
    own = notifier(systemd)
    for _ in range(3):
        own.ready()

    assert systemd.heard() == ["READY=1"]


def test_status_is_said_when_it_changed_and_in_one_line(systemd: Systemd) -> None:
    own = notifier(systemd)
    for text in ("1 of 2 ready", "1 of 2 ready", "2 of 2\nready"):
        own.status(text)

    assert systemd.heard() == ["STATUS=1 of 2 ready", "STATUS=2 of 2 ready"]


def test_more_time_is_asked_for_in_microseconds(systemd: Systemd) -> None:
    notifier(systemd).extend(2.5)

    assert systemd.heard() == ["EXTEND_TIMEOUT_USEC=2500000"]


def test_end_is_said_once_and_the_watchdog_is_fed_each_time(systemd: Systemd) -> None:
    own = notifier(systemd)
    own.alive()
    own.alive()
    own.stopping()
    own.stopping()

    assert systemd.heard() == ["WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),  # meant for somebody else
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_watchdog_is_fed_only_where_systemd_watches_this_process(
    systemd: Systemd, environ: dict[str, str], watchdog_s: float
) -> None:
    assert notifier(systemd, **environ).watchdog_s == watchdog_s


def test_full_socket_does_not_hold_the_loop_up(systemd: Systemd) -> None:
    own = notifier(systemd)

    for n in range(5_000):
        own.status(f"line {n} " + "x" * 500)

    assert systemd.heard()[0].startswith("STATUS=line 0 ")


def test_systemd_that_is_gone_is_no_error() -> None:
    own = Notifier({"NOTIFY_SOCKET": "/nonexistent/notify"})

    own.ready()
    own.stopping()


def test_outside_systemd_nothing_is_said() -> None:
    own = Notifier({})

    own.ready()
    own.alive()

    assert (own.is_heard, own.watchdog_s) == (False, None)
