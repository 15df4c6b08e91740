"""Detects that this process did not run: SIGSTOP, a frozen container, a suspended machine.

A timer runs once a second. If it is seconds late, no message was read meanwhile, so a child's silence
proves nothing. Timers may fire before sockets are read (asyncio does so after SIGCONT), so code that
acts on elapsed time asks here first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from supervisor.contract import clock

PULSE_S = 1.0
LATE_S = 2.0  # a guess: more than the delay of a loop on a busy machine, far less than any budget


class PauseDetector:
    """Records when this process last ran. `woke` is called at each tick of the timer."""

    def __init__(self, woke: Callable[[], None]) -> None:
        self._woke = woke
        self._seen_at_s = clock.now_s()

    def begin(self) -> None:
        """Start the timer. Call it once, inside the loop."""
        self._loop = asyncio.get_running_loop()
        self._seen_at_s = clock.now_s()
        self._loop.call_later(PULSE_S, self._beat)

    def missed_s(self, now_s: float) -> float:
        """Return for how long this process did not run until now; 0: it ran. Each pause is reported once."""
        gap_s, self._seen_at_s = now_s - self._seen_at_s, now_s
        return gap_s if gap_s > PULSE_S + LATE_S else 0.0

    def _beat(self) -> None:
        self._loop.call_later(PULSE_S, self._beat)
        self._woke()
