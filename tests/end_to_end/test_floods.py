"""Children that print or say as much as they can: nobody else waits for them, and the watchdog is fed.

A worker that printed short lines held the loop up for 9 to 11 s at a time: 32,768 lines a turn.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Callable

import pytest

from supervisor.contract.wire import messages as m
from supervisor.processes.child import LAST_MESSAGES_MOST, Child
from supervisor.processes.child_output import LAST_LINES_MOST
from supervisor.processes.output_allowance import LINES_AT_ONCE
from tests.end_to_end.child_stage import Ears, Nursery, Play
from tests.end_to_end.running_service import LIMIT_S, running, wait_for
from tests.end_to_end.service_with_test_workers import FLOODING

pytestmark = pytest.mark.slow

PRINTS = "while True: os.write(1, b'x\\n' * 30_000)"
SAYS = "data = m.write(m.Room(1)) * 1_000\nwhile True: link.sendall(data)"


class BusyEars(Ears):
    """What is heard costs something, as in the service: a decision of the pool, a line of the log."""

    def on_message(self, name: str, message: m.Message) -> None:
        busy_until_s = time.perf_counter() + 0.0003
        super().on_message(name, message)
        while time.perf_counter() < busy_until_s:
            pass

    def on_output(self, name: str, line: str) -> None:
        busy_until_s = time.perf_counter() + 0.0003
        super().on_output(name, line)
        while time.perf_counter() < busy_until_s:
            pass


@pytest.mark.parametrize("flood", [PRINTS, SAYS], ids=["prints", "says"])
def test_death_of_another_child_is_heard_and_timers_come_while_a_child_floods(
    play: Callable[[Play], None], flood: str
) -> None:
    async def story(nursery: Nursery) -> None:
        nursery.listener = BusyEars()
        loop = asyncio.get_running_loop()
        nursery.start(flood, "flooder")
        await nursery.until(lambda: len(nursery.listener.story) > 2_000)
        other = nursery.start("rest()", "other")
        fed: list[float] = []

        def feed() -> None:  # as announce.py feeds systemd's watchdog
            fed.append(loop.time())
            loop.call_later(0.1, feed)

        feed()
        heard = len(nursery.listener.story)
        await nursery.until(lambda: len(fed) >= 20)
        other.signal(signal.SIGKILL)
        assert await nursery.until_dead("other") == -9

        most_s = max(after - before for before, after in zip(fed, fed[1:]))
        print(f"longest gap between feeds of 0.1 s: {most_s:.3f} s")
        assert len(nursery.listener.story) > heard, "the flood was over before the other child died"
        assert "flooder" not in nursery.listener.died_with

    play(story)


def test_service_whose_worker_floods_replaces_the_others_and_feeds_the_watchdog(tmp_path: Path) -> None:
    """One WATCHDOG=1 in 100 s came: systemd would have ended the service with all its recordings."""
    folder = Path(tempfile.mkdtemp(prefix="rem-"))  # a short name for a socket
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(folder / "notify"))
    systemd.settimeout(LIMIT_S)
    environ = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "4000000"}
    try:
        with running(tmp_path / "state", FLOODING, slots=2, **environ) as service:
            service.wait_ready(2)
            killed = service.pid_of("cpu0")
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda: service.pid_of("cpu0") not in (0, killed), "its replacement")
            service.wait_ready(2)
            fed = 0
            while fed < 8:
                fed += systemd.recv(65_536) == b"WATCHDOG=1"
            wait_for(lambda: "child-lines-dropped" in service.log, "the line about it")
            assert "event loop lags" not in service.log
    finally:
        systemd.close()
        shutil.rmtree(folder)


def test_lines_over_the_allowance_are_counted_and_the_last_words_kept(
    play: Callable[[Play], None], caplog: pytest.LogCaptureFixture
) -> None:
    count = 200_000

    async def story(nursery: Nursery) -> None:
        nursery.start(
            f"""
            os.write(1, b"first\\n")
            for n in range(0, {count}, 1000):
                sys.stdout.write("".join(f"{{n + k}}\\n" for k in range(1000)))
            print("Library libcublas.so.12 is not found")
            sys.stdout.flush()
            os._exit(6)
            """
        )
        assert await nursery.until_dead() == 6

        printed = nursery.listener.of("printed")
        assert printed[0] == "first"
        assert printed[-1] == "Library libcublas.so.12 is not found"
        assert len(printed) < count / 2
        told = [record for record in caplog.records if "output dropped" in record.message]
        dropped = sum(record.__dict__["lines"] for record in told)
        assert dropped + len(printed) - LAST_LINES_MOST <= count + 2 <= dropped + len(printed)

    with caplog.at_level(logging.WARNING):
        play(story)


def test_what_a_flooding_child_leaves_in_its_socket_holds_its_successor_up_only_so_long(
    play: Callable[[Play], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def story(nursery: Nursery) -> None:
        child = nursery.start(SAYS)
        _until_full(child)
        child.signal(signal.SIGKILL)
        while child._returncode is None:
            child.reap()

        assert await nursery.until_dead() == -9
        assert len(nursery.listener.of("heard")) == LAST_MESSAGES_MOST
        assert "messages dropped" in caplog.text

    play(story)


def test_few_lines_are_never_dropped(play: Callable[[Play], None], caplog: pytest.LogCaptureFixture) -> None:
    lines = int(LINES_AT_ONCE) - 1

    async def story(nursery: Nursery) -> None:
        nursery.start(f"os.write(1, b'y\\n' * {lines}); os._exit(0)")
        await nursery.until_dead()

        assert len(nursery.listener.of("printed")) == lines
        assert "dropped" not in caplog.text

    play(story)


def _until_full(child: Child) -> None:
    """Wait, reading nothing, until more lies in the child's socket than is read after its death."""
    size_bytes = LAST_MESSAGES_MOST * len(m.write(m.Room(1)))
    until_s = time.monotonic() + 30
    while int.from_bytes(fcntl.ioctl(child._link, termios.FIONREAD, bytes(4)), sys.byteorder) <= size_bytes:
        assert time.monotonic() < until_s
