"""The real gpuwatch process, as the supervisor starts it, and what it told so far."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

from supervisor.contract import child_bootstrap, clock
from supervisor.contract.child_bootstrap import GpuwatchSettings
from supervisor.contract.wire import framing, messages
from supervisor.contract.wire.messages import Devices, Fault, Look
from tests.support import leftovers

TOP = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0
NO_SETTINGS = GpuwatchSettings()


class Gpuwatch:
    """The process as the supervisor starts it, and what it told so far."""

    def __init__(self, environ: dict[str, str], settings: GpuwatchSettings = NO_SETTINGS) -> None:
        self.link, theirs = socket.socketpair()
        self.link.settimeout(0.2)
        own = {
            "PATH": os.environ["PATH"], "PYTHONPATH": str(TOP), child_bootstrap.LINK_FD: str(theirs.fileno()),
            child_bootstrap.PARENT_PID: str(os.getpid()),
            child_bootstrap.SETTINGS: child_bootstrap.dump_settings(settings),
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.gpuwatch"],
            pass_fds=[theirs.fileno()],
            env={**own, **environ},
            preexec_fn=leftovers.die_with_tests,
        )
        theirs.close()
        self.told: list[Any] = []
        self._splitter = framing.LineSplitter()

    def tells(self, fact: Callable[[Any], bool], limit_s: float = LIMIT_S) -> Any:
        """Give the first message for which `fact` is true, waiting for it; what came before is done with."""
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s:
            while self.told:
                message = self.told.pop(0)
                if fact(message):
                    return message
            try:
                data = self.link.recv(65_536)
            except socket.timeout:  # on 3.9 it is not TimeoutError
                continue
            assert data, f"it ended with {self.process.wait(LIMIT_S)}"
            self.told += [messages.read(line, messages.FROM_GPUWATCH) for line in self._splitter.feed(data)]
        raise AssertionError("it did not tell what was waited for")

    def tells_devices(self, fact: Callable[[Devices], bool] = lambda _: True) -> Devices:
        found: Devices = self.tells(lambda message: isinstance(message, Devices) and fact(message))
        return found

    def tells_fault(self) -> Fault:
        found: Fault = self.tells(lambda message: isinstance(message, Fault))
        return found

    def look(self, for_s: float = 60.0) -> None:
        """Ask it to look often, as the supervisor does while it waits for memory."""
        self.link.sendall(messages.write(Look(0.1, clock.now_s() + for_s)))
