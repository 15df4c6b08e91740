"""Tells the supervisor about GPUs for as long as it listens.

Two threads: one asks NVML, which may hang for ever; the other waits at the link. The
second one alone ends the process, by `os._exit`, so a hung driver can't keep it alive.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
from typing import Optional, Protocol

from supervisor.contract import clock, messages
from supervisor.contract.exits import Exit
from supervisor.contract.messages import Devices, Up
from supervisor.gpuwatch import pci, problems
from supervisor.gpuwatch.sight import Sight, devices_of, is_news

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
# A failing nvmlInit forks a helper four times: not every 5 s.
LOOK_AFTER_FAILURE_S = 30.0
TELL_EVERY_S = 30.0
# The first call wakes GPUs that no process holds open: some seconds each. A guess.
HANGS_AFTER_S = 30.0


class GpuSource(Protocol):
    """Where looks at the GPUs come from."""

    def look(self) -> Sight: ...


class Watch:
    """What was told last, and who may tell next: both threads do, one at a time."""

    def __init__(self, link: socket.socket, source: GpuSource) -> None:
        self._link = link
        self._source = source
        self._lock = threading.Lock()
        self._last: Optional[Devices] = None
        self._told_at_s = 0.0
        self._asked_at_s: Optional[float] = None  # None: no call is under way

    def look_for_ever(self) -> None:
        """Look and tell, until the process ends."""
        never = threading.Event()
        while True:
            failed = self.look_once()
            never.wait(LOOK_AFTER_FAILURE_S if failed else LOOK_EVERY_S)

    def look_once(self) -> bool:
        """Look, tell what is news; say whether NVML failed."""
        self._asked_at_s = clock.now_s()
        sight = self._source.look()
        self._asked_at_s = None
        self._tell(sight)
        return sight.failed

    def speak_up_if_stuck(self) -> None:
        """Tell that the driver hangs, once, where the present look has taken too long."""
        asked_at_s = self._asked_at_s
        waited_s = 0.0 if asked_at_s is None else clock.now_s() - asked_at_s
        if waited_s >= HANGS_AFTER_S:
            self._tell(Sight((), problems.hangs(HANGS_AFTER_S), failed=True))

    def _tell(self, sight: Sight) -> None:
        with self._lock:
            now = devices_of(sight, os.environ, pci.has_nvidia_gpu(), self._last)
            is_first = self._last is None
            if not is_news(self._last, now) and clock.now_s() - self._told_at_s < TELL_EVERY_S:
                return
            self._last, self._told_at_s = now, clock.now_s()
            self._link.sendall(messages.write(now))
            if is_first:
                self._link.sendall(messages.write(Up(_summary(now))))


def serve(link: socket.socket, source: GpuSource) -> Exit:
    """Watch until the supervisor closes the link; then give the code to end with."""
    watch = Watch(link, source)
    failed = threading.Event()
    threading.Thread(target=_look, args=(watch, link, failed), name="nvml", daemon=True).start()
    while True:
        readable, _, _ = select.select([link], [], [], 1.0)
        if readable and not _receive(link):
            return Exit.FAILED if failed.is_set() else Exit.OK
        watch.speak_up_if_stuck()


def _look(watch: Watch, link: socket.socket, failed: threading.Event) -> None:
    try:
        watch.look_for_ever()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the other thread sees the end of the link as well, and leaves
    except Exception:  # outermost in this thread
        # A fault of ours. Ending the link wakes the other thread, which ends the process.
        log.exception("watching failed")
        failed.set()
        link.shutdown(socket.SHUT_RDWR)


def _receive(link: socket.socket) -> bool:
    """Take what came, which nobody sends yet; False at the end of the link."""
    try:
        return bool(link.recv(65_536))
    except OSError:
        return False


def _summary(devices: Devices) -> str:
    count = len(devices.devices)
    if count == 0:
        return f"no GPU: {devices.problem}" if devices.problem else "no GPU"
    names = ", ".join(sorted({gpu.name for gpu in devices.devices}))
    return f"{count} GPU{'s' if count > 1 else ''}: {names}"
