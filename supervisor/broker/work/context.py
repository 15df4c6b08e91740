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
from supervisor.broker.ports.errors import BrokerError, Forbidden, Misconfigured, TryLater
from supervisor.broker.rules import fairness, lease_timing
from supervisor.broker.work.commit import MessageLease
from supervisor.broker.work.executor import AGAIN, COMMIT, FETCH, QUICK, Executor
from supervisor.contract import clock
from supervisor.contract.wire.messages import FromBroker

T = TypeVar("T")
_BY_FETCHES = "fetches"
_ROOM_AGAIN_S = 10.0  # how long freed room goes unnoticed while nothing is downloaded


@dataclass(frozen=True)
class StepRule:
    """Where a phase's call runs, what an answer to it proves, and when it is given up."""

    lane: str
    places: tuple[str, ...]  # these answer again if the call succeeds
    retry_s: Optional[float] = None  # from the phase's start; None: the length of a lease
    not_retried: tuple[type[BrokerError], ...] = ()


_RULES = {
    Phase.CLAIMING: StepRule(QUICK, ("table", "spool")),
    Phase.FETCHING: StepRule(FETCH, ("audio", "spool"), not_retried=(Forbidden,)),
    # 900 s is a guess at how long to wait for an outage: giving up a finished transcript wastes all its work.
    Phase.COMMITTING: StepRule(COMMIT, ("table", "transcripts"), retry_s=900.0),
    Phase.ENDING: StepRule(QUICK, ("table", "spool")),
}


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
        self, job: LiveJob, call: Callable[[], T], then: Callable[[Union[T, BrokerError]], None]
    ) -> None:
        """Run the call of the job's phase until it has an outcome, and pass that to `then`.

        TryLater is retried as the phase's rule says; other jobs may get its place meanwhile (`fairness.py`).
        If the job is lost or changes phase, the outcome is discarded.
        """
        phase, rule = job.phase, _RULES[job.phase]
        retry_s = self.lease_s if rule.retry_s is None else rule.retry_s
        # Any download shows that the spool has room for downloads; other steps report for themselves.
        by = _BY_FETCHES if phase is Phase.FETCHING else f"{phase.value} of {job.id}"

        def ended(outcome: Union[T, BrokerError]) -> None:
            if not self.in_flight.is_at(job, phase):
                self._clear_outage(by)
                self._clean_up(job)
                return
            if isinstance(outcome, TryLater):
                self._report_delay(job, outcome, by)
                if not self._is_given_up(job, outcome, rule, retry_s):
                    self._count_try(job, outcome)
                    self.executor.after(lease_timing.back_off_s(job.tries, self.chance()), again)
                    return
            self._clear_outage(by)
            if not isinstance(outcome, TryLater):
                refused = isinstance(outcome, BrokerError)  # possibly before a byte was written
                check_passed = (where for where in rule.places if not (refused and where == "spool"))
                self.outages.over(*check_passed, "broker", by=by)
            then(outcome)

        def again() -> None:
            if self.in_flight.is_at(job, phase):
                self.executor.do(AGAIN if job.is_aside else rule.lane, call, ended)
            else:
                self._clear_outage(by)

        self.executor.do(rule.lane, call, ended)

    def _report_delay(self, job: LiveJob, error: TryLater, by: str) -> None:
        if fairness.concerns_one_recording(error):
            job_log.step("job-delayed", "job delayed by an error that may pass", job, reason=error.detail)
        else:
            self.outages.begin(error, by)
            self._watch_for_room()

    def _clear_outage(self, by: str) -> None:
        """End one step's report of a full spool."""
        if by != _BY_FETCHES:
            self.outages.over("spool", by=by)

    def _count_try(self, job: LiveJob, error: TryLater) -> None:
        job.tries += 1
        others_get_on, aside = self.outages.answered_recently(error.where), self.in_flight.aside()
        job.is_aside = job.is_aside or fairness.stands_aside(error, job.tries, others_get_on, aside)

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

    def _is_given_up(self, job: LiveJob, error: TryLater, rule: StepRule, retry_s: float) -> bool:
        if isinstance(error, Misconfigured):
            # Requeued, it would fail the same way: keep it as long as its lease can be extended.
            return self.is_leaving
        return isinstance(error, rule.not_retried) or clock.now_s() - job.since_s >= retry_s

    def message_of(self, job: LiveJob) -> MessageLease:
        """Return a view of the job's latest message deadline that any thread may read."""
        leases: list[Lease] = self.in_flight.leases_of(job)
        return MessageLease(lambda: max((one.deadline_at_s for one in leases), default=0.0), self.lease_s)

    def _clean_up(self, job: LiveJob) -> None:
        """Clean up after a late download that wrote to the folder of an ended job."""
        if job.id not in self.in_flight.jobs:
            self.spool.keep_if_staged(job.request.record_key)
