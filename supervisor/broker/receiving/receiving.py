"""Receives messages: verifies the backend, then asks for no more than are wanted.

While something is wrong that only an operator can correct, nothing is received: every job would fail the same
way, and each failed delivery brings its message closer to the dead-letter queue. The check is repeated until
it passes.
"""

from __future__ import annotations

from typing import Callable, Optional, Union

from supervisor.broker.in_flight.in_flight_types import Phase
from supervisor.broker.ports.errors import BrokerError, Forbidden, Misconfigured, TryLater
from supervisor.broker.ports.ports import Message
from supervisor.broker.receiving.intake import Intake
from supervisor.broker.rules import lease_timing, permissions, refused_audio
from supervisor.broker.work.context import BrokerContext
from supervisor.broker.work.executor import POLL
from supervisor.contract import clock

PROVE_AGAIN_S = 30.0  # about how long a corrected setting, role or table goes unnoticed
_RECEIVE = ("queue", "receive")


class Receiver:
    """Calls the queue, one call at a time. Every method runs in the main thread."""

    def __init__(self, context: BrokerContext, intake: Intake) -> None:
        self.is_asking = False  # a check or a receive is in progress
        self.is_proved = False
        self._context = context
        self._intake = intake
        self._is_pausing = False  # between two calls
        self._tries = 0
        context.outages.on_misconfigured = self._stop

    def prove(self) -> None:
        """Check what the settings name and what the queue permits; then receive."""
        if self._context.is_leaving:
            return
        self.is_asking = True
        backend = self._context.backend

        def ask() -> tuple[bool, Optional[int]]:
            backend.prove()
            can_hold = backend.beat_queue.can_hold()
            try:
                return can_hold, backend.beat_queue.receives_most()
            except Forbidden:
                self._context.missing.report(*permissions.COUNT)
                return can_hold, None

        self._context.executor.do(POLL, ask, self._proved)

    def poll(self) -> None:
        """Receive the messages that are wanted and not on the way yet, unless a call is in progress."""
        context = self._context
        if self.is_asking or self._is_pausing or context.is_leaving:
            return
        if not self.is_proved:
            self._pause_before_proof()
            return
        coming = context.in_flight.on_the_way() + context.in_flight.waiting()
        count = min(context.wanted - coming, context.backend.batch_count)
        if count < 1:
            return
        self.is_asking = True
        backend, lease_s = context.backend, context.lease_s

        def receive() -> tuple[float, list[Message]]:
            asked_at_s = clock.now_s()
            return asked_at_s, backend.queue.receive(count, lease_s, backend.poll_s)

        context.executor.do(POLL, receive, self._received)

    def _stop(self) -> None:
        self.is_proved = False

    def _proved(self, outcome: Union[tuple[bool, Optional[int]], BrokerError]) -> None:
        self.is_asking = False
        if isinstance(outcome, Misconfigured):
            self._context.outages.check_failed(outcome)
            self._pause_before_proof()
            return
        if isinstance(outcome, BrokerError):
            self._failed(outcome, self.prove)
            return
        self._tries = 0
        self._context.outages.over("queue")
        self.is_proved = self._context.outages.check_passed(self._unproved())
        self._context.can_hold, self._context.receives_most = outcome
        if not self._context.can_hold:
            self._context.lease_s = self._context.backend.long_visibility_s
            self._context.missing.report(*permissions.HOLD)
        self.poll()

    def _unproved(self) -> tuple[str, ...]:
        """Return the places that only jobs can check: receiving, and writing transcripts."""
        phases = {job.phase for job in self._context.in_flight.jobs.values()}
        by_jobs = {Phase.COMMITTING: "transcripts", Phase.FETCHING: refused_audio.WHERE}
        return ("receive", *(where for phase, where in by_jobs.items() if phase in phases))

    def _received(self, outcome: Union[tuple[float, list[Message]], BrokerError]) -> None:
        self.is_asking = False
        if isinstance(outcome, BrokerError):
            self._failed(outcome, self.poll)
            return
        self._tries = 0
        self._context.outages.over(*_RECEIVE)
        asked_at_s, messages = outcome
        for message in messages:
            self._intake.take(message, asked_at_s + self._context.lease_s)
        rest_s = asked_at_s + self._context.backend.rest_s - clock.now_s()
        if messages or rest_s <= 0:
            self.poll()
        else:
            self._pause(rest_s, self.poll)

    def _pause(self, wait_s: float, then: Callable[[], None]) -> None:
        def rested() -> None:
            self._is_pausing = False
            then()

        self._is_pausing = True
        self._context.executor.after(wait_s, rested)

    def _pause_before_proof(self) -> None:
        self._pause(PROVE_AGAIN_S * (0.75 + 0.5 * self._context.chance()), self.prove)

    def _failed(self, error: BrokerError, again: Callable[[], None]) -> None:
        if isinstance(error, TryLater):
            self._context.outages.begin(error)
        if isinstance(error, Misconfigured):
            self._pause_before_proof()
            return
        self._tries += 1
        self._pause(lease_timing.back_off_s(self._tries, self._context.chance()), again)
