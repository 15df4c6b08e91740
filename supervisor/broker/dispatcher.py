"""The dispatcher: handles every event of the broker, one after the other.

It receives the supervisor's messages, adopts the leases of a previous broker, and shuts down in order.
`receiving/receiving.py` receives messages; `receiving/intake.py` and `work/settlement.py` start and end jobs;
`work/lease_renewal.py` keeps their leases.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Optional, Union

from supervisor.broker.in_flight import checkpoint_store
from supervisor.broker.in_flight.in_flight_types import LiveJob, Phase, Settled
from supervisor.broker.in_flight.lease_journal import LeaseJournal, restored
from supervisor.broker.ports.errors import BrokerError
from supervisor.broker.receiving.counting import Counting
from supervisor.broker.receiving.intake import Intake
from supervisor.broker.receiving.receiving import Receiver
from supervisor.broker.work import commit
from supervisor.broker.work.checkpoint_upload import CheckpointUpload
from supervisor.broker.work.context import BrokerContext
from supervisor.broker.work.lease_renewal import LeaseRenewal
from supervisor.broker.work.settlement import Settlement
from supervisor.contract import clock
from supervisor.contract.wire.messages import (
    Adopted,
    Checkpoint,
    Commit,
    Done,
    Ending,
    Fail,
    Keep,
    Leave,
    Release,
    ToBroker,
    Up,
    Wanted,
)

log = logging.getLogger(__name__)
_SUPERVISOR_GONE_S = 2.0  # time to release jobs after the supervisor died
_RELEASABLE = (Phase.WAITING, Phase.FETCHING, Phase.READY)
_LEAVE_MARGIN_S = 3.0  # all jobs are released this long before the supervisor's deadline


class Dispatcher:
    """Owns the broker's state; every method runs in the main thread."""

    def __init__(
        self,
        context: BrokerContext,
        intake: Intake,
        settlement: Settlement,
        lease_renewal: LeaseRenewal,
        checkpoint_upload: CheckpointUpload,
        files: LeaseJournal,
    ) -> None:
        self.is_over = False
        self._context = context
        self._in_flight = context.in_flight
        self._intake = intake
        self._settlement = settlement
        self._lease_renewal = lease_renewal
        self._checkpoint_upload = checkpoint_upload
        self._files = files
        self._receiver = Receiver(context, intake)
        self._is_supervisor_gone = False
        self._counting = Counting(context, self._receiver)
        self._leases_count = 0

    def open(self) -> None:
        """Adopt saved leases, then start. Sends Ready for each job, then Adopted, then Up."""
        self._adopt()
        backend = self._context.backend
        self._context.send(
            Up(backend.detail, {"backend": backend.kind, "lease_s": str(self._context.lease_s)})
        )
        self._lease_renewal.tick()
        self._receiver.prove()
        self._counting.begin()

    def on_message(self, message: ToBroker) -> None:
        """Process one message from the supervisor."""
        if isinstance(message, Wanted):
            self._context.wanted = message.count
            self._receiver.poll()
        elif isinstance(message, Keep):
            self._context.spool.count_samples(message.samples_bytes)
            self._on_keep(message.job_ids)
        elif isinstance(message, Leave):
            self._on_leave(message.deadline_at_s)
        elif isinstance(message, Checkpoint):
            self._on_checkpoint(message)
        else:
            self._on_job_message(message)
        self._end_if_finished()

    def on_supervisor_gone(self) -> None:
        """Release all jobs and exit within two seconds; a running commit may use that time."""
        if self._is_supervisor_gone:
            return
        log.warning(
            "supervisor process is gone; returning jobs to the queue",
            extra={"event": "supervisor-gone", "jobs": len(self._in_flight.jobs)},
        )
        self._is_supervisor_gone = self._context.is_leaving = True
        self._context.executor.after(_SUPERVISOR_GONE_S, self._end)
        self._release(_RELEASABLE, "the supervisor is gone")
        self._end_if_finished()

    def turn(self) -> None:
        """Wait for one event and process it."""
        self._context.executor.turn()
        self._intake.start_waiting()  # a place may have become free
        self._receiver.poll()
        if len(self._in_flight.leases) != self._leases_count:
            self._leases_count = len(self._in_flight.leases)
            self._counting.count_soon()
        self._end_if_finished()

    def _adopt(self) -> None:
        now_s = clock.now_s()
        for saved in self._files.load(now_s):
            lease, jobs = restored(saved, now_s)
            self._in_flight.add(lease, jobs)
        jobs_left = list(self._in_flight.jobs.values())
        ended = {job_id for lease in self._in_flight.leases.values() for job_id in lease.settled}
        self._context.spool.keep_only((job.request.record_key for job in jobs_left), ended)
        for job in jobs_left:
            job.announced = job.announced and self._has_files(job)
        # The supervisor knows the announced jobs, and those whose Done is still to be sent.
        known = {job.id for job in jobs_left if job.announced}
        known.update(job_id for lease in self._in_flight.leases.values() for job_id in lease.tell)
        for job in jobs_left:
            if job.phase is Phase.WAITING:
                continue
            if not job.announced:
                self._intake.claim(job)
            elif job.phase is Phase.COMMITTING:
                self._settlement.commit(job)
            elif job.phase is Phase.ENDING:
                self._resume_ending(job)
            else:
                self._intake.announce(job)
        for lease in list(self._in_flight.leases.values()):
            if not lease.open:
                self._settlement.settle_message(lease)
        self._context.send(Adopted(tuple(sorted(known))))
        if known:
            log.info(
                "leases of the previous broker adopted", extra={"event": "leases-adopted", "jobs": len(known)}
            )

    def _resume_ending(self, job: LiveJob) -> None:
        """Resume a job whose previous broker died while writing its end: check whether the record has it.

        If it were announced without this check, a worker might transcribe a job that is already free.
        """
        context = self._context
        kept = self._settlement.failed_job(job, "")

        def read_record() -> Optional[Settled]:
            settled = commit.read_ending(context.backend.beat_records, job.request.record_key, job.hold)
            if settled is not None and settled.ending is Ending.FAILED:
                backend = context.backend
                bucket = backend.transcripts_bucket
                checkpoint_store.delete_failed(backend.beat_records, backend.objects, bucket, job.request)
                context.failed_jobs.keep_found(replace(kept, reason=settled.reason))
            return settled

        def on_read(outcome: Union[Settled, BrokerError, None]) -> None:
            if isinstance(outcome, Settled):
                self._settlement.settle(job, outcome)
            else:
                self._intake.announce(job)

        context.step(job, read_record, on_read)

    def _has_files(self, job: LiveJob) -> bool:
        """Return whether the spool has what the job's phase needs; if not, the job starts over."""
        key = job.request.record_key
        if job.phase is Phase.COMMITTING:
            return self._context.spool.is_staged(key, job.attempt)
        return self._context.spool.holds(key)

    def _on_keep(self, job_ids: Iterable[str]) -> None:
        now_s = clock.now_s()
        for job_id in job_ids:
            if job_id in self._in_flight.jobs:
                self._in_flight.jobs[job_id].kept_at_s = now_s

    def _on_checkpoint(self, message: Checkpoint) -> None:
        job = self._in_flight.jobs.get(message.job_id)
        if job is not None and job.phase is Phase.READY and message.attempt in (0, job.attempt):
            self._checkpoint_upload.share(job, message.done_s)

    def _on_job_message(self, message: Union[Commit, Fail, Release]) -> None:
        job = self._in_flight.jobs.get(message.job_id)
        if job is None:
            if not any(message.job_id in lease.tell for lease in self._in_flight.leases.values()):
                self._context.send(Done(message.job_id, Ending.DROPPED, "no longer held"))
            return
        if job.phase is not Phase.READY:
            log.info(
                "ignoring late message for a job already in progress",
                extra={"event": "message-out-of-turn", "job_id": job.id, "phase": job.phase.value},
            )
        elif message.attempt not in (0, job.attempt):
            log.info(
                "ignoring late message of an earlier attempt",
                extra={
                    "event": "message-of-earlier-attempt",
                    "job_id": job.id,
                    "attempt": job.attempt,
                    "of_attempt": message.attempt,
                },
            )
        elif isinstance(message, Commit):
            self._settlement.commit(job)
        elif isinstance(message, Fail):
            self._settlement.fail(job, message.failure, message.detail)
        else:
            self._checkpoint_upload.release(job, message.why)

    def _on_leave(self, deadline_at_s: float) -> None:
        self._context.is_leaving = True
        self._context.wanted = 0
        self._release((Phase.WAITING, Phase.FETCHING), "the service is leaving")
        left_s = deadline_at_s - _LEAVE_MARGIN_S - clock.now_s()
        self._context.executor.after(
            max(0.0, left_s), lambda: self._release(_RELEASABLE, "the service is leaving")
        )

    def _release(self, phases: tuple[Phase, ...], why: str) -> None:
        for job in list(self._in_flight.jobs.values()):
            if job.phase in phases and job.id in self._in_flight.jobs:
                self._settlement.release(job, why)

    def _end_if_finished(self) -> None:
        # A receive in progress may take messages that we just released: stay to release them again.
        if self._context.is_leaving and not self._in_flight.leases and not self._receiver.is_asking:
            self._end()

    def _end(self) -> None:
        self.is_over = True
