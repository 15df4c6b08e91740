"""Detects that this process did not run: SIGSTOP, a frozen container, a suspended machine.

A timer comes once a second. Where it is overdue by seconds nobody could be heard meanwhile: what children
said lies unread, and what they did not say proves nothing. Timers may fire before sockets are
read (asyncio does so after SIGCONT), so whoever acts on time asks here first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from supervisor.contract import clock

PULSE_S = 1.0
LATE_S = 2.0  # a guess: more than a busy machine does to a loop, far less than any budget


class PauseDetector:
    """Knows when this process ran last. `woke` is called at each pulse."""

    def __init__(self, woke: Callable[[], None]) -> None:
        self._woke = woke
        self._seen_at_s = clock.now_s()

    def begin(self) -> None:
        """Start the timer. Call it once, inside the loop."""
        self._loop = asyncio.get_running_loop()
        self._seen_at_s = clock.now_s()
        self._loop.call_later(PULSE_S, self._beat)

    def missed_s(self, now_s: float) -> float:
        """Say for how long this process did not run until just now; 0 where it did. Told once."""
        gap_s, self._seen_at_s = now_s - self._seen_at_s, now_s
        return gap_s if gap_s > PULSE_S + LATE_S else 0.0

    def _beat(self) -> None:
        self._loop.call_later(PULSE_S, self._beat)
        self._woke()
