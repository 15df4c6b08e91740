"""sd_notify messages to systemd (Type=notify), never blocking.

Source: sd_notify(3). This file knows the words; `systemd_status.py` knows when to say them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Optional

from supervisor.contract.printable import printable


class Notifier:
    """Tells systemd what it wants to know; silent outside systemd."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._status = ""
        self.is_heard = bool(self._address)
        for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "") if for_us else ""
        # Silence for so long, and systemd kills us; None: it does not watch.
        self.watchdog_s: Optional[float] = int(usec) / 1e6 if self.is_heard and _is_count(usec) else None
        self.is_ready = False
        self.is_stopping = False

    def ready(self) -> None:
        """Say READY=1, the first time."""
        if not self.is_ready:
            self.is_ready = True
            self._notify("READY=1")

    def reloaded(self) -> None:
        """Say that settings were read again just now: from RELOADING=1 to READY=1 in no time.

        Nothing before the first `ready`: the second READY=1 would be taken for it.
        """
        if self.is_ready and not self.is_stopping:
            # The moment is for Type=notify-reload (systemd 253); older ones ignore it.
            self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._notify("READY=1")

    def status(self, text: str) -> None:
        """Show a line for people in `systemctl status`, when it changed."""
        line = printable(" ".join(text.split()))
        if line != self._status:
            self._status = line
            self._notify(f"STATUS={line}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._notify("WATCHDOG=1")

    def extend(self, by_s: float) -> None:
        """Ask for more time to start or stop; to be repeated while it lasts."""
        self._notify(f"EXTEND_TIMEOUT_USEC={int(by_s * 1e6)}")

    def stopping(self) -> None:
        """Say STOPPING=1, the first time."""
        if not self.is_stopping:
            self.is_stopping = True
            self._notify("STOPPING=1")

    def _notify(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(text.encode("utf-8", "replace"), address)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0
