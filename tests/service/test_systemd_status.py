"""What systemd hears, over a real datagram socket, from a loop whose time the test moves."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from supervisor.pool.pool import Pool
from supervisor.pool.state import events as ev
from supervisor.pool.state import slot_types as sl
from supervisor.pool.status import summary
from supervisor.service.systemd import Notifier
from supervisor.service.systemd_status import SystemdStatus, is_too_late, status_line

POLICY = sl.Policy()
NOW_S = 1_000.0


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": str(folder / "notify")}

    def heard(self) -> list[str]:
        """Give all that was said since the last call."""
        words = []
        try:
            while True:
                words.append(self._socket.recv(65_536).decode())
        except BlockingIOError:
            return words

    def close(self) -> None:
        self._socket.close()


class Loop:
    """An event loop's timers, fired by hand: `late_s` is how long the loop was held up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1_000.0
        self._timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self)

    def time(self) -> float:
        return self.now_s

    def call_later(self, wait_s: float, what: Callable[..., None], *args: Any) -> None:
        self._timers.append((self.now_s + wait_s, what, args))

    def pass_s(self, length_s: float, late_s: float = 0.0) -> None:
        """Let time pass; timers that fall into it fire, all of them late by `late_s`."""
        until_s = self.now_s + length_s
        while self._timers and min(self._timers, key=lambda t: t[0])[0] <= until_s:
            self._timers.sort(key=lambda t: t[0])
            at_s, what, args = self._timers.pop(0)
            self.now_s = max(self.now_s, at_s + late_s)
            what(*args)
        self.now_s = max(self.now_s, until_s)


@pytest.fixture
def systemd(short: Path) -> Iterator[Systemd]:
    systemd = Systemd(short)
    yield systemd
    systemd.close()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="rem-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    return Loop(monkeypatch)


def pool_with(state: sl.SlotState, reason: str = "") -> Pool:
    pool = Pool()
    pool.add("cpu0", "worker", POLICY)
    pool.members["cpu0"].slot = sl.Slot("cpu0", "worker", state, reason)
    return pool


def systemd_status(systemd: Systemd, pool: Pool, **environ: str) -> SystemdStatus:
    return SystemdStatus(
        Notifier({**systemd.environ, **environ}), pool, lambda: summary(pool, NOW_S, NOW_S - 5)
    )


def test_ready_is_said_once_and_not_before_a_worker_is_ready(systemd: Systemd) -> None:
    pool = pool_with(sl.SlotState.STARTING)
    mine = systemd_status(systemd, pool)

    mine.tell()
    before = systemd.heard()
    pool.members["cpu0"].slot = sl.Slot("cpu0", "worker", sl.SlotState.READY)
    mine.tell()
    mine.tell()

    assert "READY=1" not in before
    assert systemd.heard().count("READY=1") == 1


def test_a_start_that_is_drained_is_ready(systemd: Systemd) -> None:
    """A host that EC2 takes starts drained: without READY systemd would restart it for ever."""
    pool = pool_with(sl.SlotState.STOPPED)
    pool.mode = ev.Mode.DRAINED

    systemd_status(systemd, pool).tell()

    assert "READY=1" in systemd.heard()


def test_status_is_said_only_when_it_changed(systemd: Systemd) -> None:
    pool = pool_with(sl.SlotState.STARTING)
    mine = systemd_status(systemd, pool)

    mine.tell()
    mine.tell()
    pool.mode = ev.Mode.STOPPING
    mine.tell()

    assert systemd.heard() == [
        "STATUS=starting: 0 of 1 workers ready, 0 jobs",
        "STATUS=stopping: 0 of 1 workers ready, 0 jobs",
    ]


def test_more_time_is_asked_for_again_and_again_while_loading_and_not_afterwards(
    systemd: Systemd, loop: Loop
) -> None:
    pool = pool_with(sl.SlotState.STARTING)
    mine = systemd_status(systemd, pool)

    mine.begin()
    loop.pass_s(60)
    loading = systemd.heard()
    pool.members["cpu0"].slot = sl.Slot("cpu0", "worker", sl.SlotState.READY)
    mine.tell()
    loop.pass_s(60)
    working = systemd.heard()

    assert loading == ["EXTEND_TIMEOUT_USEC=30000000"] * 7  # at once, then each 10 s: never 30 s apart
    assert not any(word.startswith("EXTEND") for word in working)


@pytest.mark.parametrize("mode", [ev.Mode.DRAINING, ev.Mode.STOPPING])
def test_more_time_is_asked_for_again_and_again_while_work_is_finished(
    systemd: Systemd, loop: Loop, mode: ev.Mode
) -> None:
    pool = pool_with(sl.SlotState.READY)
    mine = systemd_status(systemd, pool)
    mine.begin()
    mine.tell()
    systemd.heard()

    pool.mode = mode
    loop.pass_s(110)

    assert systemd.heard().count("EXTEND_TIMEOUT_USEC=30000000") == 11


def test_stopping_is_said_once(systemd: Systemd) -> None:
    mine = systemd_status(systemd, pool_with(sl.SlotState.READY))

    mine.stopping()
    mine.stopping()

    assert systemd.heard().count("STOPPING=1") == 1


def test_a_reload_begins_with_its_moment_and_ends_ready(systemd: Systemd) -> None:
    mine = systemd_status(systemd, pool_with(sl.SlotState.READY))
    mine.reloaded()
    early = systemd.heard()
    mine.tell()
    systemd.heard()

    mine.reloaded()

    began, ended = systemd.heard()
    assert early == []  # a READY=1 here would be taken for the first
    assert began.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert int(began.rpartition("=")[2]) > 0
    assert ended == "READY=1"


def test_watchdog_is_fed_well_within_its_time(systemd: Systemd, loop: Loop) -> None:
    systemd_status(systemd, pool_with(sl.SlotState.READY), WATCHDOG_USEC="8000000").begin()

    loop.pass_s(16)

    assert systemd.heard().count("WATCHDOG=1") == 9  # at 0, 2, 4 ... 16


def test_watchdog_is_not_fed_by_a_loop_that_crawls(
    systemd: Systemd, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    systemd_status(systemd, pool_with(sl.SlotState.READY), WATCHDOG_USEC="8000000").begin()
    loop.pass_s(2, late_s=4.5)
    systemd.heard()

    for _ in range(5):
        loop.pass_s(2, late_s=4.5)

    assert "WATCHDOG=1" not in systemd.heard()
    assert "event loop lags" in caplog.text
    assert caplog.records[0].__dict__["late_s"] == 4.5


def test_one_late_wake_is_a_pause_and_the_watchdog_is_fed_at_once(systemd: Systemd, loop: Loop) -> None:
    """After a pause of the machine it may be overdue, and systemd ends us before the next look."""
    systemd_status(systemd, pool_with(sl.SlotState.READY), WATCHDOG_USEC="8000000").begin()
    systemd.heard()

    loop.pass_s(2, late_s=60)
    at_once = systemd.heard()
    loop.pass_s(1)

    assert at_once.count("WATCHDOG=1") == 1
    assert systemd.heard().count("WATCHDOG=1") == 1


def test_after_a_pause_the_watchdog_is_fed_before_anything_is_decided(systemd: Systemd, loop: Loop) -> None:
    mine = systemd_status(systemd, pool_with(sl.SlotState.READY), WATCHDOG_USEC="8000000")
    mine.begin()
    systemd.heard()

    mine.on_pause_over()

    assert systemd.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),  # meant for somebody else
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_what_the_environment_says(environ: dict[str, str], watchdog_s: object) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **environ}).watchdog_s == watchdog_s


def test_outside_systemd_nothing_is_timed_or_sent(loop: Loop) -> None:
    pool = pool_with(sl.SlotState.READY)
    mine = SystemdStatus(Notifier({"WATCHDOG_USEC": "30000000"}), pool, lambda: summary(pool, NOW_S, NOW_S))

    mine.begin()
    mine.tell()
    mine.stopping()

    assert loop._timers == []


def test_a_systemd_that_does_not_listen_holds_nobody_up(tmp_path: Path) -> None:
    pool = pool_with(sl.SlotState.READY)
    gone = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    mine = SystemdStatus(gone, pool, lambda: summary(pool, NOW_S, NOW_S))

    mine.tell()
    mine.stopping()


def test_status_names_the_slot_that_needs_a_person_before_one_that_waits() -> None:
    pool = pool_with(sl.SlotState.BACKOFF, "crashed")
    pool.add("cpu1", "worker", POLICY)
    pool.members["cpu1"].slot = sl.Slot("cpu1", "worker", sl.SlotState.HELD, "five failed\nlives")

    assert status_line(summary(pool, NOW_S, NOW_S - 5), 0) == (
        "degraded: 0 of 2 workers ready, 0 jobs; cpu1 is held: five failed\nlives; "
        "cpu0 is in back-off: crashed"
    )


def test_systemd_shows_what_does_not_answer_once_it_has_lasted() -> None:
    """`systemctl status` said "running: 2 of 2 workers ready" while DynamoDB refused everything."""
    pool = pool_with(sl.SlotState.READY)
    pool.outages.begin("table", "AccessDenied on UpdateItem", NOW_S)

    early = status_line(summary(pool, NOW_S + 5, 0.0), 1)
    late = status_line(summary(pool, NOW_S + 60, 0.0), 1)

    assert early == "running: 1 of 1 workers ready, 1 job"
    assert late == "degraded: 1 of 1 workers ready, 1 job; table: AccessDenied on UpdateItem"


def test_a_status_stays_one_line(systemd: Systemd) -> None:
    """A line break would end STATUS= and begin a word of its own: READY=1, for instance."""
    Notifier(systemd.environ).status("held: said\nREADY=1")

    assert systemd.heard() == ["STATUS=held: said READY=1"]


def test_late_means_later_than_half_of_what_is_allowed() -> None:
    assert not is_too_late(15.0, 30.0)
    assert is_too_late(15.1, 30.0)
