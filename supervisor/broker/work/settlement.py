"""Ends jobs, and a message with the last of its jobs.

`commit`, `fail` and `release` are what the supervisor asks for. The record is written first, by
`commit.publish` or `write_end`. Then the job ends in `settle`, its message in `settle_message`, and the lease
in `remove_lease`. Only a job whose lease is lost ends elsewhere: `LeaseRenewal.lose`.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Callable, Optional, Union

from supervisor.broker.backends.failed_jobs import FailedJob
from supervisor.broker.in_flight import checkpoint_store, job_log
from supervisor.broker.in_flight.in_flight_types import Lease, LiveJob, Phase, Settled
from supervisor.broker.ports.errors import BrokerError, JobRejected, LeaseLost, ResultBroken, TryLater
from supervisor.broker.rules import lease_timing, permissions
from supervisor.broker.rules.record_rules import Result
from supervisor.broker.rules.retry_policy import RetryDecision, decide, failure_of, sentence, verdict_on
from supervisor.broker.work import commit
from supervisor.broker.work.commit import CommitWork, MessageLease
from supervisor.broker.work.context import BrokerContext
from supervisor.broker.work.executor import QUICK
from supervisor.contract import clock
from supervisor.contract.wire.messages import Done, Ending, Failure

log = logging.getLogger(__name__)
_REMOVED = "Its message was removed from the queue, and this service may not send it anew."
_AFTER_RECORD_S = 5.0  # a copy becomes visible only after its record is free


class Settlement:
    """Ends jobs, and ends a message when all its jobs have ended."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._in_flight = context.in_flight

    def commit(self, job: LiveJob) -> None:
        """Publish the job's result. Also resumes a job whose previous broker died in the commit."""
        context = self._context
        self._in_flight.move(job, Phase.COMMITTING, clock.now_s())
        job_log.step("transcript-publishing", "publishing the transcript", job)
        message = context.message_of(job)
        context.step(job, lambda: self._publish(job, message), lambda outcome: self._committed(job, outcome))

    def fail(self, job: LiveJob, failure: Failure, detail: str) -> None:
        """Handle a failed attempt according to its failure class."""
        verdict = decide(failure, detail, job.failures, self._in_flight.receives(job))
        self.write_end(job, verdict, failure)

    def failed_job(self, job: LiveJob, reason: str, error: str = "") -> FailedJob:
        """Return the entry of a failed job for `jobs --failed`."""
        message = self._in_flight.leases_of(job)[0].message
        return FailedJob(job.id, job.request.user_id, message.id, reason, error, job.attempt, message.body)

    def release(self, job: LiveJob, why: str) -> None:
        """Release the job to any host at once, together with jobs of its messages that were not started."""
        for lease in self._in_flight.leases_of(job):
            self.release_waiting(lease, why)
        if job.phase is not Phase.WAITING:
            self.write_end(job, RetryDecision(False, why, counts="remReleases"))

    def release_waiting(self, lease: Lease, why: str) -> None:
        """Release a message's jobs that were not started: their records are unchanged."""
        for settled in self._in_flight.settle_waiting(lease, Settled(Ending.RELEASED, why)):
            self.settle_message(settled)

    def write_end(self, job: LiveJob, verdict: RetryDecision, failure: Optional[Failure] = None) -> None:
        """Write a failure or release to the record, then settle the job.

        The record comes first: if the message were visible while the record is still claimed, its next
        delivery would be wasted.
        """
        self._in_flight.move(job, Phase.ENDING, clock.now_s())
        kept = self.failed_job(job, "", failure.value if failure else "")
        leases = self._in_flight.leases_of(job) if self._in_flight.is_without_message(job) else []
        self._context.step(
            job,
            lambda: self._write_end(job, verdict, kept, leases),
            lambda outcome: self._end_written(job, verdict, kept.failure, outcome),
        )

    def settle(self, job: LiveJob, how: Settled, audio_s: float = 0.0, is_news: bool = True) -> None:
        """End the job on this host; a message ends with the last of its jobs.

        `is_news` is False if the record had already ended before this message arrived.
        """
        # A recording that failed before any worker got it is reported too.
        is_told = job.announced or how.ending is Ending.FAILED
        closing = self._in_flight.settle(job, how, audio_s if is_told else None)
        if not closing:
            self._context.spool.clear(job.request.record_key)
        if is_told and not closing:
            self._context.send(Done(job.id, how.ending, how.reason, audio_s))
        for lease in closing:
            self.settle_message(lease)
        attempt = job.attempt if self._context.backend.immutable_keys else None
        transcript_key = job.request.transcript_key("json", attempt) if is_news else ""
        job_log.ended(job, how, audio_s, transcript_key, is_news)

    def settle_message(self, lease: Lease) -> None:
        """Delete, return, dead-letter or leave the message, depending on how its jobs ended."""
        if self._in_flight.leases.get(lease.id) is not lease:
            return
        action, handle = self._action(lease), lease.message.handle

        def answered(outcome: Optional[BrokerError]) -> None:
            if self._in_flight.leases.get(lease.id) is not lease:
                return
            if isinstance(outcome, TryLater):
                self._context.outages.begin(outcome)
                if not lease_timing.is_over(lease.deadline_at_s, clock.now_s()):
                    lease.tries += 1
                    wait_s = lease_timing.back_off_s(lease.tries, self._context.chance())
                    self._context.executor.after(wait_s, lambda: self.settle_message(lease))
                    return
            else:
                self._context.outages.over("queue")
                if lease.message.handle != handle:
                    # Our own receive got it again before we learned that it was released.
                    self.settle_message(lease)
                    return
            self.remove_lease(lease)

        self._context.executor.do(QUICK, action, answered)

    def remove_lease(self, lease: Lease) -> None:
        """Send the outstanding Done messages of a settled lease, then remove it and its jobs' files.

        Done is sent first: if this process dies in between, its successor sends it again.
        """
        for job_id, audio_s in lease.tell.items():
            how = lease.settled[job_id]
            self._context.send(Done(job_id, how.ending, how.reason, audio_s))
        self._in_flight.remove(lease)
        # Removing the files takes as long as everything before; nobody waits for it.
        for key in lease.clears:
            self._context.spool.clear(key)

    def _publish(self, job: LiveJob, message: MessageLease) -> Result:
        """Try the whole commit once; runs in a lane."""
        context, key = self._context, job.request.record_key
        result = context.spool.staged(key, job.attempt)
        folder: Path = context.spool.folder(key)
        work = CommitWork(
            job.request,
            job.hold,
            job.attempt,
            job.source or job.request.source,
            folder,
            result,
            context.backend.transcripts_bucket,
            context.backend.immutable_keys,
        )
        commit.publish(context.backend.records, context.backend.objects, work, message)
        return result

    def _committed(self, job: LiveJob, outcome: Union[Result, BrokerError]) -> None:
        if isinstance(outcome, Result):
            self.settle(job, Settled(Ending.DONE), outcome.duration_s)
        elif isinstance(outcome, LeaseLost):
            self.settle(job, Settled(Ending.DROPPED, str(outcome)))
        elif isinstance(outcome, ResultBroken):
            self.fail(job, Failure.FAILURE, str(outcome))
        else:
            self.write_end(job, verdict_on(outcome, self._in_flight.receives(job)), failure_of(outcome))

    def _write_end(
        self, job: LiveJob, verdict: RetryDecision, kept: FailedJob, leases: Sequence[Lease]
    ) -> RetryDecision:
        """Write the verdict to the record once, and return what was written; runs in a lane."""
        backend, request = self._context.backend, job.request
        if not verdict.is_final and not _send_copies(self._context, leases, verdict.after_s):
            verdict = RetryDecision(True, f"{sentence(verdict.reason)} {_REMOVED}")
        try:
            source = job.source or request.source
            commit.write_end(backend.beat_records, request.record_key, job.hold, verdict, source)
        except JobRejected as error:
            # The record rejects the change: still report the failure on this host.
            job_log.end_not_written(job, str(error))
            verdict = verdict if verdict.is_final else RetryDecision(True, sentence(str(error)))
        else:
            if verdict.is_final:
                bucket = backend.transcripts_bucket
                checkpoint_store.delete_failed(backend.beat_records, backend.objects, bucket, request)
        if verdict.is_final:
            self._context.failed_jobs.keep(replace(kept, reason=verdict.reason))
        return verdict

    def _end_written(
        self, job: LiveJob, asked: RetryDecision, error: str, outcome: Union[RetryDecision, BrokerError]
    ) -> None:
        verdict = outcome if isinstance(outcome, RetryDecision) else asked
        if isinstance(outcome, LeaseLost):
            self.settle(job, Settled(Ending.DROPPED, str(outcome)))
        elif not verdict.is_final:
            self.settle(job, Settled(Ending.RELEASED, verdict.reason, verdict.after_s))
        elif isinstance(outcome, TryLater):
            wait_s = lease_timing.give_back_s(self._in_flight.receives(job), self._context.chance())
            self.settle(job, Settled(Ending.RELEASED, outcome.detail, wait_s))  # will fail again
        else:
            self.settle(job, Settled(Ending.FAILED, verdict.reason, attempt=job.attempt, error=error))

    def _action(self, lease: Lease) -> Callable[[], None]:
        queue = self._context.backend.beat_queue
        message = lease.message
        ends = list(lease.settled.values())
        back = [how.after_s for how in ends if how.ending is Ending.RELEASED]
        facts = {"message_id": message.id, "receives": message.receives}
        if any(how.ending is Ending.DROPPED for how in ends):
            log.debug(
                "message not touched: another host has it", extra={"event": "message-left-alone", **facts}
            )
            return lambda: None  # another host has it: don't touch it
        if back:
            log.debug(
                "returning the message to the queue",
                extra={"event": "message-returned", **facts, "visible_in_s": min(back)},
            )
            return lambda: _give_back(self._context, lease, min(back))
        failed = [how for how in ends if how.ending is Ending.FAILED]
        if failed:
            log.debug(
                "moving the message to the dead-letter queue",
                extra={"event": "message-dead-lettered", **facts},
            )
            return lambda: _dead_letter(self._context, lease, failed[0])
        log.debug("deleting the message", extra={"event": "message-deleting", **facts})
        return lambda: queue.delete(message.handle)


def _give_back(context: BrokerContext, lease: Lease, after_s: float) -> None:
    """Make the message visible again; send a copy if the queue would not deliver it again."""
    queue, message = context.backend.beat_queue, lease.message
    if lease.is_gone:
        if not _send_copies(context, [lease], after_s):  # of several jobs, some were not started
            kept = FailedJob(message.id, "", message.id, _REMOVED, "released", 0, message.body)
            context.failed_jobs.keep(kept)
        return
    if lease.is_worn or lease_timing.runs_out(message.receive_count, context.receives_most):
        lease.is_copied = lease.is_copied or queue.send_copy(message, after_s)
        if lease.is_copied:
            queue.delete(message.handle)
            return
        context.missing.report(*permissions.SEND)
    if context.can_hold:
        queue.release(message.handle, after_s)


def _send_copies(context: BrokerContext, leases: Sequence[Lease], after_s: float) -> bool:
    """Send copies of removed messages, each once: nothing else would deliver their jobs again."""
    for lease in leases:
        wait_s = max(after_s, _AFTER_RECORD_S)
        lease.is_copied = lease.is_copied or context.backend.beat_queue.send_copy(lease.message, wait_s)
        if not lease.is_copied:
            context.missing.report(*permissions.SEND)
            return False
    return True


def _dead_letter(context: BrokerContext, lease: Lease, how: Settled) -> None:
    facts = {"remAttempt": str(how.attempt), "remHost": platform.node(), "remError": how.error}
    if not context.backend.beat_queue.bury(lease.message, how.reason, facts):
        context.missing.report(*permissions.BURY)
        log.info(
            "failed message left to the queue's redrive policy",
            extra={"event": "message-left-to-redrive", "receives": lease.message.receives},
        )
