"""Reports queue length to the supervisor every few seconds; also the broker's heartbeat.

The heartbeat does not wait for the count, which may be slow: a silent broker is assumed to hang and is
replaced before its leases expire. Until a new count arrives, the last one is repeated.
"""

from __future__ import annotations

from typing import Union

from supervisor.broker.ports.errors import BrokerError, Forbidden, Misconfigured
from supervisor.broker.ports.ports import Counts
from supervisor.broker.receiving.receiving import Receiver
from supervisor.broker.rules import permissions
from supervisor.broker.work.context import BrokerContext
from supervisor.broker.work.executor import COUNT
from supervisor.contract.wire.messages import QueueState

BEAT_S = 5.0  # the supervisor waits for at least two of them: `broker_silence_s`
_COUNT_S = 10.0
_COUNT_SOON_S = 0.25  # the embedded queue: a count is cheap


class Counting:
    """Counts periodically, and sooner after a change."""

    def __init__(self, context: BrokerContext, receiver: Receiver) -> None:
        self._context = context
        self._receiver = receiver
        self._last = Counts(None, None)
        self._is_due = False

    def begin(self) -> None:
        self._count_periodically()
        self._context.executor.after(BEAT_S, self._beat)

    def count_soon(self) -> None:
        self._schedule(_COUNT_SOON_S if self._context.backend.kind == "local" else _COUNT_S / 2)

    def _count_periodically(self) -> None:
        self._schedule(0.0)
        self._context.executor.after(_COUNT_S, self._count_periodically)

    def _beat(self) -> None:
        self._context.executor.after(BEAT_S, self._beat)
        self._report()

    def _schedule(self, wait_s: float) -> None:
        """Schedule one count, however often this is called before it runs."""
        if self._is_due:
            return
        self._is_due = True
        count = self._context.backend.beat_queue.counts
        self._context.executor.after(wait_s, lambda: self._context.executor.do(COUNT, count, self._counted))

    def _counted(self, outcome: Union[Counts, BrokerError]) -> None:
        self._is_due = False
        self._last = outcome if isinstance(outcome, Counts) else Counts(None, None)
        if isinstance(outcome, Forbidden):
            self._context.missing.report(*permissions.COUNT)
        elif isinstance(outcome, Misconfigured) and self._receiver.is_proved:
            self._context.outages.begin(outcome)
        self._report()

    def _report(self) -> None:
        on_the_way = self._context.in_flight.on_the_way()
        self._context.send(QueueState(self._last.waiting, self._last.in_flight, on_the_way))
