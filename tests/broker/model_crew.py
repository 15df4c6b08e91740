"""A crew without threads: one call, event or timer at a time, in an order that the test chooses."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import Any, Callable, Optional

from supervisor.broker.ports.errors import BrokerError
from supervisor.broker.work.executor import LANES

Event = Callable[[], None]


class Timers:
    """What is due at its moment, in order."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Event]] = []
        self._number = itertools.count()

    def add(self, at_s: float, event: Event) -> None:
        heapq.heappush(self._heap, (at_s, next(self._number), event))

    def next_at_s(self) -> Optional[float]:
        return self._heap[0][0] if self._heap else None

    def is_due(self, now_s: float) -> bool:
        return bool(self._heap) and self._heap[0][0] <= now_s

    def pop(self) -> Event:
        return heapq.heappop(self._heap)[2]

    def clear(self) -> None:
        self._heap.clear()


class StepCrew:
    """In the place of `crew.Crew`. A lane's calls begin in order, but any begun one may be next to end.

    Nothing is caught but our own errors: what the desk did not foresee fails the test.
    """

    def __init__(self, now_s: Callable[[], float], choose: Callable[[int], int]) -> None:
        self._now_s = now_s
        self._choose = choose
        self._events: list[Event] = []
        self._calls: dict[str, list[Event]] = {name: [] for name in LANES}
        self.timers = Timers()
        self.hung: set[str] = set()  # lanes whose calls get no answer for now

    def do(self, lane: str, call: Callable[[], Any], then: Callable[[Any], None]) -> None:
        def run() -> None:
            try:
                outcome: Any = call()
            except BrokerError as error:
                outcome = error
            self.post(lambda: then(outcome))

        self._calls[lane].append(run)

    def post(self, event: Event) -> None:
        self._events.append(event)

    def after(self, wait_s: float, event: Event) -> None:
        self.timers.add(self._now_s() + wait_s, event)

    def can_turn(self) -> bool:
        """Say whether anything can happen now, without time passing."""
        calls = any(calls for lane, calls in self._calls.items() if lane not in self.hung)
        return bool(self._events or calls or self.timers.is_due(self._now_s()))

    def waiting(self, lane: str) -> int:
        """Count the calls of a lane that have not ended."""
        return len(self._calls[lane])

    def turn(self) -> None:
        """Let one thing happen."""
        choices = self._choices()
        take = choices[self._choose(len(choices))]
        take()()

    def forget(self) -> None:
        """Die: nothing of what was begun goes on."""
        self._events.clear()
        self.timers.clear()
        for calls in self._calls.values():
            calls.clear()

    def _choices(self) -> Sequence[Callable[[], Event]]:
        found: list[Callable[[], Event]] = []
        if self._events:
            found.append(lambda: self._events.pop(0))
        if self.timers.is_due(self._now_s()):
            found.append(self.timers.pop)
        for lane, calls in self._calls.items():
            for place in range(0 if lane in self.hung else min(len(calls), LANES[lane])):
                found.append(lambda calls=calls, place=place: calls.pop(place))  # type: ignore[misc]
        return found
