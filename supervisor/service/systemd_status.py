"""Decides when systemd is notified: ready, extend timeout, watchdog, stopping.

It only reads the pool and decides nothing about slots. A timer of the event loop sends the
watchdog notification, so a loop that hangs sends none, and a slow loop is detected by the
delay of that timer. Outside systemd there is no timer and nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Callable

from supervisor.contract import degraded
from supervisor.pool.pool import Pool
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import Mode
from supervisor.service.systemd import Notifier

log = logging.getLogger(__name__)

# The timeout is extended three times before it would expire.
REMIND_EVERY_S = 10.0
EXTEND_BY_S = 30.0
# A quarter: one wake may come late by up to half the interval and is still in time.
FEEDS_PER_INTERVAL = 4
STATUS_MOST_CHARS = 500  # what `systemctl status` shows of it fits few lines
LOOK_AGAIN_S = 1.0  # after one late timer: a single delay, or is the loop slow?


class SystemdStatus:
    """Keeps systemd informed of one service. `summary` gives the facts that `degraded.py` judges."""

    def __init__(self, notifier: Notifier, pool: Pool, summary: Callable[[], Mapping[str, Any]]) -> None:
        self._notifier = notifier
        self._pool = pool
        self._summary = summary
        self._was_late = False  # the last wake

    def begin(self) -> None:
        """Start the timers that systemd needs. Call it once, inside the loop."""
        self._loop = asyncio.get_running_loop()
        if self._notifier.is_heard:
            self._extend_timeout()
        if self._notifier.watchdog_s:
            self._feed_watchdog(self._loop.time(), self._notifier.watchdog_s)

    def tell(self) -> None:
        """Send what changed; called after each event."""
        if not self._notifier.is_heard:
            return
        # Ready means that recordings are transcribed. A drained host counts as ready: it is drained
        # on purpose, and a start that timed out would be restarted for ever.
        if self._ready_count() or self._pool.mode is Mode.DRAINED:
            self._notifier.ready()
        self._notifier.status(status_line(self._summary(), len(self._pool.jobs.entries)))

    def stopping(self) -> None:
        """Report that the service stops, and extend the timeout for the first time."""
        self._notifier.stopping()
        if self._notifier.is_heard:
            self._notifier.extend(EXTEND_BY_S)

    def on_pause_over(self) -> None:
        """Send the watchdog notification first after a pause: it may be overdue."""
        if self._notifier.watchdog_s and not self._was_late:
            self._notifier.alive()

    def reloaded(self) -> None:
        """Report a finished reload."""
        self._notifier.reloaded()

    def _ready_count(self) -> int:
        return sum(worker.slot.state is sl.SlotState.READY for worker in self._pool.workers())

    def _extend_timeout(self) -> None:
        """Extend the timeout while models load or jobs finish.

        In small steps, so that a supervisor that hangs is detected soon. The slots' own budget
        limits loading as a whole; a stop ends at its deadline.
        """
        loading = not self._notifier.is_ready
        if loading or self._pool.mode in (Mode.DRAINING, Mode.STOPPING):
            self._notifier.extend(EXTEND_BY_S)
        self._loop.call_later(REMIND_EVERY_S, self._extend_timeout)

    def _feed_watchdog(self, planned_s: float, interval_s: float) -> None:
        """Send the watchdog notification, unless this timer and the one before were too late.

        A single late timer is a pause of this process, its container or the machine.
        """
        now_s = self._loop.time()
        late_s = now_s - planned_s
        wait_s = interval_s / FEEDS_PER_INTERVAL
        is_late = is_too_late(late_s, interval_s)
        if is_late:
            wait_s = min(wait_s, LOOK_AGAIN_S)
        if is_late and self._was_late:
            facts = {"late_s": round(late_s, 3), "watchdog_s": interval_s}
            log.warning(
                "event loop lags; systemd watchdog not notified", extra={"event": "event-loop-lag", **facts}
            )
        else:
            self._notifier.alive()
        self._was_late = is_late
        self._loop.call_later(wait_s, self._feed_watchdog, now_s + wait_s, interval_s)


def is_too_late(late_s: float, interval_s: float) -> bool:
    """Return whether a timer was late by more than half of the watchdog's timeout."""
    return late_s > interval_s / 2


def status_line(summary: Mapping[str, Any], jobs: int) -> str:
    """Describe the service in one line: `degraded: 1 of 2 workers ready, 3 jobs; gpu1 is held: XID 79`."""
    count, ready = len(degraded.worker_slots(summary)), degraded.ready_count(summary)
    word, wrong = degraded.state_of(summary), degraded.reasons(summary)
    if word == "running" and (wrong or not ready):
        word = "degraded" if wrong else "starting"
    line = f"{word}: {ready} of {count} workers ready, {jobs} job{'s' * (jobs != 1)}"
    return "; ".join([line, *wrong])[:STATUS_MOST_CHARS]
