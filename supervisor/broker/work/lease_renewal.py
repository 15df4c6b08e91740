"""Extends visibility timeouts, renews record leases, and detects lost ones.

A lease is extended only while one of its jobs makes progress: in the broker itself, or in a worker that the
supervisor reported within the last 15 s. An expired lease is dropped before its deadline, and its handle is
not used again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Union

from supervisor.broker.in_flight import job_log
from supervisor.broker.in_flight.in_flight_types import Lease, LiveJob, Phase, Settled
from supervisor.broker.ports.errors import BrokerError, LeaseLost, TryLater
from supervisor.broker.ports.ports import NOT_NOW, REMOVED
from supervisor.broker.rules import lease_timing
from supervisor.broker.rules.retry_policy import RetryDecision
from supervisor.broker.work import commit
from supervisor.broker.work.context import BrokerContext
from supervisor.broker.work.executor import BEAT, QUICK, RENEW
from supervisor.broker.work.settlement import Settlement
from supervisor.contract import clock
from supervisor.contract.wire.messages import Ending, Failure, Lost

log = logging.getLogger(__name__)
TICK_S = 0.5
_BATCH_COUNT = 10
_RENEWED = (Phase.FETCHING, Phase.READY, Phase.COMMITTING, Phase.ENDING)
_MIN_EXTENSION_S = 2.0
_TOO_LONG = "It was not done in the time for which the queue lets a message be held."
_RESUMES = "The queue lets no message be held longer; it carries on from its checkpoint."
_AGAIN_MOST_S = 5.0  # a failed extension is retried soon: the lease is running out


class LeaseRenewal:
    """Checks every lease twice a second, and extends and renews those that are due."""

    def __init__(self, context: BrokerContext, settlement: Settlement) -> None:
        self._context = context
        self._in_flight = context.in_flight
        self._settlement = settlement

    def tick(self) -> None:
        """Check all leases now, and again periodically."""
        self._context.executor.after(TICK_S, self.tick)
        self.check()

    def check(self) -> None:
        """Drop expired leases, extend and renew those that are due."""
        now_s = clock.now_s()
        for lease in list(self._in_flight.leases.values()):
            if lease.is_gone:
                self._renew_without_message(lease, now_s)
            elif lease_timing.is_over(lease.deadline_at_s, now_s):
                self.lose(lease, "its time in the queue ran out")
            elif not lease.is_worn and lease_timing.is_worn(
                lease.received_at_s, self._context.hold_most_s, now_s
            ):
                self._return_before_limit(lease)
        if self._context.can_hold:
            self._extend_due(now_s)
        for job in list(self._in_flight.jobs.values()):
            is_due = job.renew_at_s <= now_s and not job.is_renewing
            if is_due and job.phase in _RENEWED and self._makes_progress(job, now_s):
                self._renew(job, now_s)

    def lose(self, lease: Lease, why: str) -> None:
        """Drop a lease without using its handle; report the jobs that are lost with it."""
        if not lease.open:
            self._settlement.remove_lease(lease)  # its jobs ended: only the message may be delivered again
            return
        for job in self._in_flight.remove(lease):
            log.warning(
                "lease lost",
                extra={"event": "lease-lost", "job_id": job.id, "attempt": job.attempt, "reason": why},
            )
            if job.announced:
                self._context.send(Lost(job.id, why))
            if job.phase in (Phase.FETCHING, Phase.READY):
                self._free(job)

    def _continue_without_message(self, lease: Lease, why: str) -> None:
        """Keep working on a removed message's jobs: nobody else can receive it, and the record is ours.

        If another host received it nevertheless, it would find the record held.
        """
        lease.is_gone = True
        jobs = self._in_flight.jobs_of(lease)
        if not any(self._in_flight.is_without_message(job) for job in jobs):
            self.lose(lease, why)  # each of them has another message
            return
        facts = {"message_id": lease.id, "jobs": ", ".join(sorted(lease.open)), "reason": why}
        log.warning(
            "message was removed from the queue; its jobs continue under their records",
            extra={"event": "message-removed", **facts},
        )
        self._in_flight.save(lease)

    def _renew_without_message(self, lease: Lease, now_s: float) -> None:
        """Renew the records of a removed message's jobs; release the jobs when no worker makes progress."""
        if self._in_flight.makes_progress(lease, now_s):
            if lease.extend_at_s <= now_s:
                self._set_deadline(lease, now_s, self._context.lease_s)
        elif lease_timing.is_over(lease.deadline_at_s, now_s):
            for job in self._in_flight.jobs_of(lease):
                if job.phase in (Phase.WAITING, Phase.FETCHING, Phase.READY):
                    self._settlement.release(job, "Nobody works on it any more.")

    def _return_before_limit(self, lease: Lease) -> None:
        """Release a message before the queue's time limit ends; the next receipt starts a new one.

        A job with a newer checkpoint than at its claim resumes from it, on any host. A job without one counts
        as failed once: if it did not finish in all this time, it may never finish.
        """
        lease.is_worn = True
        log.warning(
            "message held for the longest time that the queue allows",
            extra={"event": "message-hold-limit", "jobs": len(lease.open)},
        )
        self._settlement.release_waiting(lease, _TOO_LONG)
        for job in self._in_flight.jobs_of(lease):
            if job.phase not in (Phase.FETCHING, Phase.READY):
                continue
            if job.pointer is not None and job.pointer.done_s > job.resumed_s:
                self._settlement.release(job, _RESUMES)
            else:
                self._settlement.fail(job, Failure.FAILURE, _TOO_LONG)

    def _free(self, job: LiveJob) -> None:
        """Let other hosts claim the record at once; no effect if it is no longer ours."""
        verdict = RetryDecision(False, "", counts="remReleases")
        records = self._context.backend.beat_records
        self._context.executor.do(
            QUICK,
            lambda: commit.write_end(
                records, job.request.record_key, job.hold, verdict, job.source or job.request.source
            ),
            lambda outcome: None,
        )

    def _makes_progress(self, job: LiveJob, now_s: float) -> bool:
        return any(self._in_flight.makes_progress(lease, now_s) for lease in self._in_flight.leases_of(job))

    def _extend_due(self, now_s: float) -> None:
        due = [
            lease
            for lease in self._in_flight.leases.values()
            if lease.extend_at_s <= now_s
            and not (lease.is_extending or lease.is_gone)
            and self._in_flight.makes_progress(lease, now_s)
        ]
        lease_s = self._context.lease_s
        rest_s = {
            lease.id: lease_timing.extend_by_s(lease.received_at_s, self._context.hold_most_s, lease_s, now_s)
            for lease in due
        }
        whole = [lease for lease in due if rest_s[lease.id] == lease_s]
        for start in range(0, len(whole), _BATCH_COUNT):
            self._extend(whole[start : start + _BATCH_COUNT], lease_s)
        for lease in due:
            if _MIN_EXTENSION_S < rest_s[lease.id] < lease_s:
                self._extend([lease], rest_s[lease.id])

    def _extend(self, batch: Sequence[Lease], by_s: float) -> None:
        queue = self._context.backend.beat_queue
        handles = {lease.id: lease.message.handle for lease in batch}
        for lease in batch:
            lease.is_extending = True

        def extend() -> tuple[float, Mapping[str, str]]:
            asked_at_s = clock.now_s()  # before the call: the queue starts counting later
            return asked_at_s, queue.extend(list(handles.values()), by_s)

        def extended(outcome: Union[tuple[float, Mapping[str, str]], BrokerError]) -> None:
            for lease in batch:
                lease.is_extending = False
                if self._in_flight.leases.get(lease.id) is lease:
                    self._extended(lease, handles[lease.id], by_s, outcome)

        self._context.executor.do(BEAT, extend, extended)

    def _extended(
        self,
        lease: Lease,
        handle: str,
        by_s: float,
        outcome: Union[tuple[float, Mapping[str, str]], BrokerError],
    ) -> None:
        context = self._context
        if isinstance(outcome, BrokerError):
            self._extend_again(lease, outcome)
            return
        asked_at_s, refused = outcome
        if NOT_NOW not in refused.values():
            context.outages.over("queue")
        if handle != lease.message.handle:
            return  # a newer delivery was adopted meanwhile and is extended separately
        if refused.get(handle) == NOT_NOW:
            self._extend_again(lease, TryLater("queue", NOT_NOW))
            return
        if handle in refused:
            if refused[handle] == REMOVED and lease.open:
                self._continue_without_message(lease, REMOVED)
            else:
                self.lose(lease, f"the queue refused to extend it: {refused[handle]}")
            return
        lease.tries = 0
        self._set_deadline(lease, asked_at_s, by_s)
        facts = {"message_id": lease.id, "by_s": by_s, "jobs": ", ".join(sorted(lease.open))}
        log.debug("visibility timeout extended", extra={"event": "visibility-extended", **facts})

    def _extend_again(self, lease: Lease, error: BrokerError) -> None:
        if isinstance(error, TryLater):
            self._context.outages.begin(error)
        lease.tries += 1
        wait_s = lease_timing.back_off_s(lease.tries, self._context.chance(), most_s=_AGAIN_MOST_S)
        lease.extend_at_s = clock.now_s() + wait_s

    def _set_deadline(self, lease: Lease, from_s: float, by_s: float) -> None:
        lease.deadline_at_s = from_s + by_s
        lease.extend_at_s = lease_timing.extend_at_s(from_s, by_s, self._context.chance())
        self._in_flight.save(lease)
        for job in self._in_flight.jobs_of(lease):
            job.renew_at_s = 0.0  # renew the record at once, to match the new deadline

    def _renew(self, job: LiveJob, now_s: float) -> None:
        records = self._context.backend.beat_records
        job.renew_at_s = now_s + lease_timing.renew_after_s(self._context.lease_s)
        job.is_renewing = True

        def renewed(outcome: Union[BrokerError, None]) -> None:
            job.is_renewing = False
            if self._in_flight.jobs.get(job.id) is not job:
                return
            if isinstance(outcome, TryLater):
                self._context.outages.begin(outcome)
                job.renew_at_s = clock.now_s() + _AGAIN_MOST_S
            elif isinstance(outcome, LeaseLost) and job.phase in (Phase.FETCHING, Phase.READY):
                self._on_taken_over(job, str(outcome))
            elif outcome is None:
                job_log.step("record-lease-renewed", "record's lease renewed", job)

        key, folder = job.request.record_key, self._context.spool.folder(job.request.record_key)
        message = self._context.message_of(job)
        self._context.executor.do(
            RENEW, lambda: commit.renew(records, key, job.hold, folder, message), renewed
        )

    def _on_taken_over(self, job: LiveJob, why: str) -> None:
        """Stop a job whose record another host took over, without touching the message."""
        log.warning(
            "record was taken over by another host",
            extra={"event": "record-taken-over", "job_id": job.id, "attempt": job.attempt},
        )
        if job.announced:
            self._context.send(Lost(job.id, why))
            job.announced = False
        self._settlement.settle(job, Settled(Ending.DROPPED, why))
