"""Who kills and stops processes at random: workers, brokers, watchers and supervisors alike."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from typing import Optional

from tests.end_to_end.running_service import Service

VICTIMS = ("worker", "worker", "worker", "broker", "broker", "gpuwatch", "supervisor", "everything")
LONGEST_STOP_S = 30.0  # longer than the lease and the silence that the soak sets


class Monkey:
    """One seeded sequence of deeds. `act` is called often and does something seldom."""

    def __init__(self, services: list[Service], seed: int, every_s: float) -> None:
        self.deeds: Counter[str] = Counter()
        self._services = services
        self._chance = random.Random(seed)
        self._every_s = every_s
        self._next_at_s = time.monotonic() + every_s
        self._stopped: dict[int, float] = {}  # pid -> when it goes on

    def act(self) -> None:
        """Wake whom it is time for; do the next deed if that is due."""
        now_s = time.monotonic()
        for pid, at_s in list(self._stopped.items()):
            if at_s <= now_s:
                self._wake(pid)
        for service in self._services:
            if service.process.poll() is not None:
                service.start_again()
                self.deeds["supervisor started again"] += 1
        if now_s >= self._next_at_s:
            self._next_at_s = now_s + self._every_s * self._chance.uniform(0.3, 1.7)
            self._do_one(now_s)

    def rest(self) -> None:
        """Let everything go on and do nothing more."""
        for pid in list(self._stopped):
            self._wake(pid)
        self._next_at_s = float("inf")

    def _do_one(self, now_s: float) -> None:
        # All draws come first: the sequence is the seed's, whoever happens to be alive.
        service = self._chance.choice(self._services)
        kind, is_kill = self._chance.choice(VICTIMS), self._chance.random() < 0.7
        stop_s = self._chance.choice((0.5, 5.0, LONGEST_STOP_S)) * self._chance.uniform(0.5, 1.0)
        if kind == "everything":
            self._stop(service.pids_from_the_top(), now_s + stop_s)
            self.deeds["everything stopped"] += 1
            return
        pid = self._pid(service, kind)
        if pid is None:
            return
        self.deeds[f"{kind} {'killed' if is_kill else 'stopped'}"] += 1
        if not is_kill:
            self._stop([pid], now_s + stop_s)
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _stop(self, pids: list[int], until_s: float) -> None:
        """Stop these as docker pause, a snapshot or a machine that sleeps does; the first goes on first."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self._stopped[pid] = until_s

    def _pid(self, service: Service, kind: str) -> Optional[int]:
        if kind == "supervisor":
            return service.process.pid
        pids = [slot["pid"] for slot in service.slots(kind) if slot["pid"]]
        return self._chance.choice(pids) if pids else None

    def _wake(self, pid: int) -> None:
        del self._stopped[pid]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
