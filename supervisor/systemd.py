"""Words to systemd, where it asked for them (Type=notify). Datagrams, never waited for.

Source: sd_notify(3). READY=1 when the first worker is ready, so that "active" means that
recordings are transcribed; the watchdog is fed from the loop only.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Optional


class Notifier:
    """Tells systemd what it wants to know; silent outside systemd."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._ready = False
        self._status = ""
        for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "") if for_us else ""
        self.watchdog_every_s: Optional[float] = int(usec) / 2e6 if usec.isdigit() else None

    def ready(self) -> None:
        """Say READY=1, the first time."""
        if not self._ready:
            self._ready = True
            self._tell("READY=1")

    def status(self, text: str) -> None:
        """Show a line for people in `systemctl status`, when it changed."""
        if text != self._status:
            self._status = text
            self._tell(f"STATUS={text}")

    def alive(self) -> None:
        self._tell("WATCHDOG=1")

    def extend(self, by_s: float) -> None:
        """Ask for more time to start or stop; to be repeated while it lasts."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(by_s * 1e6)}")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(text.encode(), address)
