"""sd_notify messages to systemd (Type=notify), never blocking.

Source: sd_notify(3). This file writes the messages; `systemd_status.py` decides when.
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
    """Sends notifications to systemd; does nothing outside systemd."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._status = ""
        self.is_heard = bool(self._address)
        for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "") if for_us else ""
        # The watchdog's timeout; None: no watchdog.
        self.watchdog_s: Optional[float] = int(usec) / 1e6 if self.is_heard and _is_count(usec) else None
        self.is_ready = False
        self.is_stopping = False

    def ready(self) -> None:
        """Send READY=1 once."""
        if not self.is_ready:
            self.is_ready = True
            self._notify("READY=1")

    def reloaded(self) -> None:
        """Report a finished reload: RELOADING=1 and READY=1.

        Sends nothing before the first `ready`, because its READY=1 would be taken for that.
        """
        if self.is_ready and not self.is_stopping:
            # MONOTONIC_USEC is for Type=notify-reload (systemd 253); older versions ignore it.
            self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._notify("READY=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows, if it changed."""
        line = printable(" ".join(text.split()))
        if line != self._status:
            self._status = line
            self._notify(f"STATUS={line}")

    def alive(self) -> None:
        """Send WATCHDOG=1."""
        self._notify("WATCHDOG=1")

    def extend(self, by_s: float) -> None:
        """Extend the timeout of a start or stop; repeat it while that lasts."""
        self._notify(f"EXTEND_TIMEOUT_USEC={int(by_s * 1e6)}")

    def stopping(self) -> None:
        """Send STOPPING=1 once."""
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
