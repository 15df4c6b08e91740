"""Turns a delivered message into a job: parse, claim the record, fetch the audio, report Ready."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from typing import Union

from supervisor.broker.backends.failed_jobs import FailedJob
from supervisor.broker.in_flight import checkpoint_store, job_log
from supervisor.broker.in_flight.in_flight_types import Lease, LiveJob, Phase, Settled
from supervisor.broker.ports.errors import BrokerError, Forbidden, JobRejected, TryLater, Unexplained
from supervisor.broker.ports.job_request import JobRequest, Parsed, Rejected, Source
from supervisor.broker.ports.ports import Message, ObjectFacts
from supervisor.broker.receiving.audio_fetch import fetch_audio
from supervisor.broker.receiving.duplicates import PUT_BACK_S, Duplicates, is_same_work
from supervisor.broker.rules import fairness, lease_timing, refused_audio
from supervisor.broker.rules.envelope import EnvelopePolicy, parse
from supervisor.broker.rules.record_rules import RecordHold
from supervisor.broker.rules.refusal import Busy, Finished, GivenUp
from supervisor.broker.rules.refused_audio import RefusedAudio
from supervisor.broker.rules.retry_policy import decide_too_many, failure_of, verdict_on
from supervisor.broker.work import commit
from supervisor.broker.work.commit import Claimed, MessageLease
from supervisor.broker.work.context import BrokerContext
from supervisor.broker.work.executor import QUICK
from supervisor.broker.work.settlement import Settlement
from supervisor.contract import clock
from supervisor.contract.wire.messages import Ending, Failure, JobCard, Ready

log = logging.getLogger(__name__)


class Intake:
    """Turns received messages into jobs."""

    def __init__(
        self, context: BrokerContext, settlement: Settlement, policy: EnvelopePolicy, max_receives: int
    ) -> None:
        self._context = context
        self._in_flight = context.in_flight
        self._settlement = settlement
        self._duplicates = Duplicates(context, settlement)
        self._policy = policy
        self._max_receives = max_receives
        self._refused = RefusedAudio()

    def take(self, message: Message, deadline_at_s: float) -> None:
        """Process one received message."""
        known = self._in_flight.leases.get(message.id)
        if known is not None:
            self._on_redelivery(known, message, deadline_at_s)
            return
        received_at_s = deadline_at_s - self._context.lease_s
        extend_at_s = clock.now_s() + self._context.lease_s / 3
        lease = Lease(message, deadline_at_s, extend_at_s=extend_at_s, received_at_s=received_at_s)
        if self._context.is_leaving:
            lease.settled["-"] = Settled(Ending.RELEASED)
            self._in_flight.add(lease, ())
            self._settlement.settle_message(lease)
            return
        self._open(lease, parse(message.body, self._policy))

    def start_waiting(self) -> None:
        """Start waiting jobs of multi-job messages while there are free places."""
        while self._context.wanted > self._in_flight.on_the_way() and not self._context.is_leaving:
            job = self._in_flight.next_waiting()
            if job is None:
                return
            self.claim(job)

    def claim(self, job: LiveJob) -> None:
        """Claim the record. Also resumes a job whose previous broker died before it was announced."""
        context = self._context
        job.begun_at_s = job.begun_at_s or clock.now_s()
        kept, message = self._settlement.failed_job(job, ""), context.message_of(job)
        if job.phase is not Phase.CLAIMING:
            self._in_flight.move(job, Phase.CLAIMING, clock.now_s())
        context.step(
            job,
            lambda: self._claim_once(job.request, job.hold, message, kept),
            lambda outcome: self._claimed(job, outcome),
        )

    def _claim_once(
        self, request: JobRequest, hold: RecordHold, message: MessageLease, kept: FailedJob
    ) -> Union[Claimed, Busy, Finished, GivenUp]:
        """Resume from a result that an earlier process left, or claim the record; runs in a lane."""
        records, spool, key = self._context.backend.records, self._context.spool, request.record_key
        left = spool.kept_attempt(key)
        if left is not None:
            taken = commit.take_over(records, request, hold, left, message)
            if taken is not None:
                spool.take_up(key)
                return taken
            spool.drop(key)
        answer = commit.claim(records, self._context.backend.objects, request, hold, message)
        if isinstance(answer, GivenUp):
            # The host that wrote it may have died before it recorded the failure and deleted the checkpoints.
            backend = self._context.backend
            checkpoint_store.delete_failed(records, backend.objects, backend.transcripts_bucket, request)
            self._context.failed_jobs.keep_found(replace(kept, reason=answer.reason))
        if isinstance(answer, Claimed) and answer.is_again:
            self._context.failed_jobs.forget(request.job_id)  # it is retried, or has new audio
        return answer

    def announce(self, job: LiveJob) -> None:
        """Tell the supervisor that the job is Ready to be transcribed, or only to be committed."""
        request = job.request
        if not job.announced:
            self._context.wanted = max(0, self._context.wanted - 1)
        job.announced = True
        job.kept_at_s = clock.now_s()
        self._in_flight.move(job, Phase.READY, clock.now_s())
        self._context.send(
            Ready(
                JobCard(
                    job.id,
                    job.attempt,
                    str(self._context.spool.folder(request.record_key)),
                    job.audio_bytes,
                    request.recording_id,
                    request.user_id,
                    request.device_id,
                    self._context.spool.is_staged(request.record_key, job.attempt),
                    request.language,
                    request.options,
                )
            )
        )

    def _on_redelivery(self, known: Lease, message: Message, deadline_at_s: float) -> None:
        """Use the newer handle: the old one is no longer valid."""
        known.message, known.deadline_at_s = message, deadline_at_s
        known.received_at_s = deadline_at_s - self._context.lease_s
        known.is_gone = False  # even if the queue reported it removed
        self._in_flight.save(known)
        log.warning(
            "message delivered again while its job is in progress",
            extra={"event": "message-delivered-twice", "receives": message.receives},
        )

    def _open(self, lease: Lease, parsed: Parsed) -> None:
        facts = {"message_id": lease.id, "receives": lease.message.receives}
        log.debug(
            "message received",
            extra={
                "event": "message-received",
                **facts,
                "jobs": ", ".join(job.job_id for job in parsed.jobs),
            },
        )
        for reason in parsed.ignored:
            log.info(
                "message ignored",
                extra={"event": "message-ignored", "message_id": lease.id, "reason": reason},
            )
        fresh, again = [], []
        for request in parsed.jobs:
            live = self._in_flight.jobs.get(request.job_id)
            if live is None:
                hold = RecordHold(uuid.uuid4().hex, self._context.owner)
                fresh.append(LiveJob(request, hold, Phase.WAITING, since_s=clock.now_s()))
            elif is_same_work(live.request, request):
                lease.open.add(live.id)  # sent twice: both messages end with this one job
                again.append((live, request.source))
            else:
                lease.settled[request.job_id] = Settled(Ending.RELEASED, after_s=PUT_BACK_S)
        for job in fresh[:1]:  # the jobs of one message occupy places like separate messages
            job.phase = Phase.CLAIMING
        rejected = {f"-{n}": found for n, found in enumerate(parsed.rejected)}
        lease.open.update(rejected)  # until it is written; a successor only needs to know how it ended
        lease.settled.update(
            {
                place: Settled(Ending.FAILED, found.reason, error="rejected")
                for place, found in rejected.items()
            }
        )
        self._in_flight.add(lease, fresh)
        for place, found in rejected.items():
            self._reject(lease, place, found)
        for live, source in again:
            self._duplicates.compare(lease, live, source)
        for job in fresh[:1]:
            self.claim(job)
        self.start_waiting()
        if not lease.open:
            self._settlement.settle_message(lease)

    def _claimed(self, job: LiveJob, outcome: Union[Claimed, Busy, Finished, GivenUp, BrokerError]) -> None:
        if isinstance(outcome, Claimed):
            job.attempt, job.failures, job.pointer = outcome.attempt, outcome.failures, outcome.pointer
            job.cuts = outcome.cuts
            job.resumed_s = outcome.pointer.done_s if outcome.pointer is not None else 0.0
            job.renew_at_s = clock.now_s() + lease_timing.renew_after_s(self._context.lease_s)
            receives = self._in_flight.receives(job)
            job_log.step("record-claimed", "record claimed", job, failures=job.failures, receives=receives)
            if receives > self._max_receives:
                verdict = decide_too_many(receives, self._max_receives, outcome.last_reason)
                self._settlement.write_end(job, verdict, Failure.REJECTED)
            elif outcome.is_staged:
                log.info(
                    "finished transcript of an earlier process found",
                    extra={"event": "staged-result-found", "job_id": job.id, "attempt": job.attempt},
                )
                self.announce(job)
            else:
                self._fetch(job)
        elif isinstance(outcome, Finished):
            self._settlement.settle(job, Settled(Ending.DONE), is_news=False)
        elif isinstance(outcome, GivenUp):
            self._settlement.settle(job, Settled(Ending.FAILED, outcome.reason), is_news=False)
        elif isinstance(outcome, Busy):
            self._settlement.settle(job, Settled(Ending.RELEASED, "another host has it", outcome.after_s))
        elif isinstance(outcome, (JobRejected, Unexplained)):
            self._settlement.write_end(
                job, verdict_on(outcome, self._in_flight.receives(job)), failure_of(outcome)
            )
        else:
            wait_s = lease_timing.give_back_s(self._in_flight.receives(job), self._context.chance())
            self._settlement.settle(job, Settled(Ending.RELEASED, str(outcome), wait_s))

    def _fetch(self, job: LiveJob) -> None:
        context = self._context
        # Not saved: a successor restarts a download from the claim.
        self._in_flight.move(job, Phase.FETCHING, clock.now_s(), is_saved=False)
        if context.is_leaving:
            self._settlement.release(job, "the service is leaving")
            return
        self._try_to_fetch(job)

    def _try_to_fetch(self, job: LiveJob) -> None:
        context, seen, tries = self._context, list[ObjectFacts](), job.tries

        def set_aside_if_unanswered() -> None:
            """Free the place of an unanswered download: its timeout may be a minute or more."""
            is_open = self._in_flight.is_at(job, Phase.FETCHING) and job.tries == tries and not seen
            if is_open and context.in_flight.aside() < fairness.ASIDE_MOST:
                job.is_aside = True

        context.executor.after(fairness.UNANSWERED_S, set_aside_if_unanswered)
        context.step(
            job,
            lambda: fetch_audio(context, job, seen),
            lambda outcome: self._fetched(job, outcome, seen),
        )

    def _fetched(
        self, job: LiveJob, outcome: Union[ObjectFacts, BrokerError], seen: list[ObjectFacts]
    ) -> None:
        source = job.request.source
        for facts in seen:
            job.source = Source(source.bucket, source.key, facts.version or source.version, facts.etag)
        if isinstance(outcome, ObjectFacts):
            job.audio_bytes = outcome.size_bytes
            where = {"bucket": source.bucket, "key": source.key}
            job_log.step("audio-fetched", "audio fetched", job, size_bytes=outcome.size_bytes, **where)
            self._refused.on_read(clock.now_s())
            self._context.outages.over(refused_audio.WHERE)
            self.announce(job)
            return
        if isinstance(outcome, Forbidden) and self._retry_denied(job, outcome):
            return
        verdict = verdict_on(outcome, self._in_flight.receives(job))
        if isinstance(outcome, Forbidden) and self._refused.concerns_all(clock.now_s()):
            verdict = refused_audio.return_for_later(outcome.detail)
        if verdict.is_final:
            self._context.outages.over("audio")  # only this key was refused
        self._settlement.write_end(job, verdict, failure_of(outcome))

    def _retry_denied(self, job: LiveJob, error: Forbidden) -> bool:
        """Keep retrying a job while all audio seems to be refused; stop receiving if too many are kept."""
        context = self._context
        self._refused.on_denied(job.id)
        if not self._refused.concerns_all(clock.now_s()) or context.is_leaving:
            return False
        trouble = refused_audio.all_denied(context.backend.raw_bucket, error.detail)
        job.is_aside = job.is_aside or context.in_flight.aside() < fairness.ASIDE_MOST
        report = context.outages.warn if job.is_aside else context.outages.begin
        report(trouble)
        if clock.now_s() - job.since_s >= refused_audio.HOLD_S:
            return False
        job.tries += 1

        def again() -> None:
            if self._in_flight.is_at(job, Phase.FETCHING):
                self._try_to_fetch(job)

        context.executor.after(lease_timing.back_off_s(job.tries, context.chance()), again)
        return True

    def _reject(self, lease: Lease, place: str, found: Rejected) -> None:
        """Set the record to FAILED if there is one, and keep the message's text for operators."""
        context = self._context
        message = lease.message
        kept = FailedJob(
            found.recording_id or message.id,
            found.user_id,
            message.id,
            found.reason,
            "rejected",
            0,
            message.body,
        )

        def write_down() -> None:
            context.failed_jobs.keep(kept)
            commit.reject(context.backend.records, found)

        by = f"refusal of {kept.id}"

        def written(outcome: Union[BrokerError, None]) -> None:
            if not isinstance(outcome, TryLater):
                context.outages.over("spool", by=by)
            if context.in_flight.leases.get(lease.id) is not lease:
                return
            if isinstance(outcome, TryLater):
                context.outages.begin(outcome, by)
                lease.tries += 1
                context.executor.after(
                    lease_timing.back_off_s(lease.tries, context.chance()),
                    lambda: context.executor.do(QUICK, write_down, written),
                )
                return
            lease.open.discard(place)
            job_log.rejected(kept.id, kept.user_id, found.reason)
            if not lease.open:
                self._settlement.settle_message(lease)

        context.executor.do(QUICK, write_down, written)
