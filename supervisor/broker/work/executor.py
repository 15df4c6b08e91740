"""A thread pool with lanes: runs blocking calls and returns their results to the dispatcher.

The main thread owns all state. A lane is a small thread pool for blocking calls; their outcomes are put into
the inbox, and the main thread processes them one at a time. So no state needs a lock.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, TypeVar, Union

from supervisor.broker.ports.errors import BrokerError, TryLater
from supervisor.contract import clock

log = logging.getLogger(__name__)
T = TypeVar("T")
Event = Callable[[], None]

POLL, BEAT, QUICK, FETCH, COMMIT, COUNT = "poll", "beat", "quick", "fetch", "commit", "count"
RENEW = "renew"  # of records: separate from BEAT, so that a slow table does not delay visibility extensions
AGAIN = "again"  # jobs that were set aside: their waits block no other job
LANES = {POLL: 1, BEAT: 1, QUICK: 8, FETCH: 32, COMMIT: 16, COUNT: 1, RENEW: 4, AGAIN: 4}


class Executor:
    """Runs blocking calls in lanes and returns their outcomes to the main thread."""

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Event]] = []
        self._number = itertools.count()
        self._lanes = {
            name: ThreadPoolExecutor(size, thread_name_prefix=f"broker-{name}")
            for name, size in LANES.items()
        }

    def do(self, lane: str, call: Callable[[], T], then: Callable[[Union[T, BrokerError]], None]) -> None:
        """Run `call` in a lane; `then` gets its value or BrokerError, in the main thread."""
        self._lanes[lane].submit(self._run, call, then)

    def post(self, event: Event) -> None:
        """Run `event` in the main thread. May be called from any thread."""
        self._inbox.put(event)

    def after(self, wait_s: float, event: Event) -> None:
        """Run `event` in the main thread after `wait_s`. Main thread only."""
        heapq.heappush(self._timers, (clock.now_s() + wait_s, next(self._number), event))

    def turn(self) -> None:
        """Wait for the next event or timer and process it."""
        wait_s = self._timers[0][0] - clock.now_s() if self._timers else 60.0
        with contextlib.suppress(queue.Empty):  # from `get` alone: `_run_event` raises nothing
            _run_event(self._inbox.get(timeout=max(0.0, min(wait_s, 60.0))))
        while self._timers and self._timers[0][0] <= clock.now_s():
            _run_event(heapq.heappop(self._timers)[2])

    def _run(self, call: Callable[[], T], then: Callable[[Union[T, BrokerError]], None]) -> None:
        outcome: Union[T, BrokerError]
        try:
            outcome = call()
        except BrokerError as error:
            outcome = error
        except Exception as error:  # outermost frame of a lane: the dispatcher must get an outcome
            log.exception("unexpected error in a call", extra={"event": "executor-error"})
            outcome = TryLater("broker", f"unexpected {type(error).__name__}")
        self._inbox.put(lambda: then(outcome))


def _run_event(event: Event) -> None:
    """Run one event. An unexpected error ends only this event, not the process with all its leases."""
    try:
        event()
    except Exception:  # outermost frame of the main thread
        log.exception("unexpected error in the dispatcher", extra={"event": "dispatcher-error"})
