"""What the parts of the broker share: backend, executor, jobs in flight, link."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Callable, Optional, TypeVar, Union

from supervisor.broker.backends.failed_jobs import FailedJobs
from supervisor.broker.in_flight import job_log
from supervisor.broker.in_flight.in_flight import InFlight
from supervisor.broker.in_flight.in_flight_types import Lease, LiveJob, Phase
from supervisor.broker.in_flight.outages import MissingPermissions, OutageReporter
from supervisor.broker.in_flight.spool import Spool
from supervisor.broker.ports.backend import Backend
from supervisor.broker.ports.errors import BrokerError, Misconfigured, TryLater
from supervisor.broker.rules import fairness, lease_timing
from supervisor.broker.work.commit import MessageLease
from supervisor.broker.work.executor import AGAIN, QUICK, Executor
from supervisor.contract import clock
from supervisor.contract.wire.messages import FromBroker

T = TypeVar("T")
_BY_FETCHES = "fetches"
_ROOM_AGAIN_S = 10.0  # how long freed room goes unnoticed while nothing is downloaded


@dataclass
class BrokerContext:
    """One instance for the whole broker. With `is_leaving`, no more jobs are received."""

    backend: Backend
    executor: Executor
    in_flight: InFlight
    spool: Spool
    failed_jobs: FailedJobs
    outages: OutageReporter
    send: Callable[[FromBroker], None]
    owner: str
    lease_s: float
    hold_most_s: float = 43_200.0  # from a message's receipt; then its job is requeued
    can_hold: bool = True
    shares: bool = True  # upload checkpoints for other hosts
    receives_most: Optional[int] = None  # the queue dead-letters a message after this many deliveries
    missing: MissingPermissions = field(default_factory=MissingPermissions)
    is_leaving: bool = False
    wanted: int = 0  # jobs that the supervisor would take now
    chance: Callable[[], float] = random.random
    _is_watching_room: bool = False

    def step(
        self,
        job: LiveJob,
        phase: Phase,
        lane: str,
        call: Callable[[], T],
        then: Callable[[Union[T, BrokerError]], None],
        places: tuple[str, ...],
        patience_s: float,
        hopeless: tuple[type[BrokerError], ...] = (),
    ) -> None:
        """Run one step of a job until it has an outcome, and pass that to `then`.

        TryLater is retried until `patience_s` after the phase started, except errors that are `hopeless`;
        other jobs may get its place meanwhile (`fairness.py`). If the job is lost or changes phase, the
        outcome is discarded.
        """

        # Any download shows that the spool has room for downloads; other steps report for themselves.
        by = _BY_FETCHES if phase is Phase.FETCHING else f"{phase.value} of {job.id}"

        def clear_outage() -> None:
            if by != _BY_FETCHES:
                self.outages.over("spool", by=by)

        def ended(outcome: Union[T, BrokerError]) -> None:
            if not self.in_flight.is_at(job, phase):
                clear_outage()
                self._clean_up(job)
                return
            if not isinstance(outcome, TryLater):
                clear_outage()
                refused = isinstance(outcome, BrokerError)  # possibly before a byte was written
                check_passed = (where for where in places if not (refused and where == "spool"))
                self.outages.over(*check_passed, "broker", by=by)
                then(outcome)
                return
            if fairness.concerns_one_recording(outcome):
                job_log.step(
                    "job-delayed", "job delayed by an error that may pass", job, reason=outcome.detail
                )
            else:
                self.outages.begin(outcome, by)
                self._watch_for_room()
            if self._is_given_up(job, outcome, patience_s, hopeless):
                clear_outage()
                then(outcome)
                return
            job.tries += 1
            others_get_on, aside = self.outages.answered_recently(outcome.where), self.in_flight.aside()
            job.is_aside = job.is_aside or fairness.stands_aside(outcome, job.tries, others_get_on, aside)
            self.executor.after(lease_timing.back_off_s(job.tries, self.chance()), again)

        def again() -> None:
            if self.in_flight.is_at(job, phase):
                self.executor.do(AGAIN if job.is_aside else lane, call, ended)
            else:
                clear_outage()

        self.executor.do(lane, call, ended)

    def _watch_for_room(self) -> None:
        """Detect that a full disk has room again while no download shows it."""
        if self._is_watching_room or not self.outages.is_reported("spool", _BY_FETCHES):
            return
        self._is_watching_room = True

        def check() -> None:
            phases = [job.phase for job in self.in_flight.jobs.values()]
            if Phase.FETCHING in phases:
                checked(TryLater("spool", "a fetch will show it"))
            else:
                self.executor.do(QUICK, self.spool.prove_room, checked)

        def checked(outcome: Union[BrokerError, None]) -> None:
            self._is_watching_room = False
            if outcome is None:
                self.outages.over("spool", by=_BY_FETCHES)
            self._watch_for_room()

        self.executor.after(_ROOM_AGAIN_S, check)

    def _is_given_up(
        self, job: LiveJob, error: TryLater, patience_s: float, hopeless: tuple[type[BrokerError], ...]
    ) -> bool:
        if isinstance(error, Misconfigured):
            # Requeued, it would fail the same way: keep it as long as its lease can be extended.
            return self.is_leaving
        return isinstance(error, hopeless) or clock.now_s() - job.since_s >= patience_s

    def message_of(self, job: LiveJob) -> MessageLease:
        """Return a view of the job's latest message deadline that any thread may read."""
        leases: list[Lease] = self.in_flight.leases_of(job)
        return MessageLease(lambda: max((one.deadline_at_s for one in leases), default=0.0), self.lease_s)

    def _clean_up(self, job: LiveJob) -> None:
        """Clean up after a late download that wrote to the folder of an ended job."""
        if job.id not in self.in_flight.jobs:
            self.spool.keep_if_staged(job.request.record_key)
