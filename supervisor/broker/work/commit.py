"""Claiming a record and committing a result: steps that are safe to repeat and to die in.

The only file that defines the order of writes to records and objects. Calls block; one call is one try, and
the caller repeats it after `TryLater`. `LeaseLost` means that another host has the job: write nothing more. A
commit is: fence, text, JSON, complete. Readers follow transcriptS3Key, which is written last, to a JSON whose
text is already there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Union

from supervisor.broker.in_flight import checkpoint_store, split_points
from supervisor.broker.in_flight.in_flight_types import Settled
from supervisor.broker.ports.errors import LeaseLost, TryLater, necessary
from supervisor.broker.ports.job_request import JobRequest, Rejected, Source
from supervisor.broker.ports.ports import Applied, Item, ObjectStore, RecordKey, RecordTable
from supervisor.broker.rules import lease_timing, record_rules, refusal
from supervisor.broker.rules.record_rules import Cuts, Pointer, RecordHold, Result, Term
from supervisor.broker.rules.refusal import Busy, Finished, GivenUp, Redo, SameName
from supervisor.broker.rules.retry_policy import RetryDecision
from supervisor.contract import clock
from supervisor.contract.wire.messages import Ending

log = logging.getLogger(__name__)
CONTENT_TYPES = {"txt": "text/plain", "json": "application/json"}


@dataclass(frozen=True)
class MessageLease:
    """The message's deadline, read anew for each step, and the length of the queue's leases."""

    deadline_at_s: Callable[[], float]
    lease_s: float

    def term(self, records: RecordTable) -> Term:
        """Return until when to hold the record: no longer than the message."""
        now_unix_s, deadline_at_s = records.unix_s(), self.deadline_at_s()
        until_unix_s = lease_timing.record_until_unix_s(
            now_unix_s, deadline_at_s, clock.now_s(), self.lease_s
        )
        return Term(now_unix_s, until_unix_s, self.lease_s)


@dataclass(frozen=True)
class Claimed:
    """The record is ours; the counters are the record's."""

    attempt: int
    failures: int
    is_staged: bool = False  # the result is in the spool: only the commit remains
    pointer: Optional[Pointer] = None  # the newest checkpoint of an earlier attempt
    cuts: Optional[Cuts] = None  # the split points of an earlier attempt
    is_again: bool = False  # the record had ended before: DONE or FAILED
    last_reason: str = ""  # why it was last released


@dataclass(frozen=True)
class CommitWork:
    """The input for publishing one result."""

    request: JobRequest
    hold: RecordHold
    attempt: int
    source: Source
    folder: Path
    result: Result
    bucket: str
    immutable_keys: bool = False

    @property
    def log_fields(self) -> dict[str, object]:
        """Fields for log lines."""
        return {"job_id": self.request.job_id, "attempt": self.attempt, "bucket": self.bucket}

    def key_of(self, suffix: str) -> str:
        """Return the final key of one of the two objects."""
        return self.request.transcript_key(suffix, self.attempt if self.immutable_keys else None)


def claim(
    records: RecordTable, objects: ObjectStore, request: JobRequest, hold: RecordHold, message: MessageLease
) -> Union[Claimed, Busy, Finished, GivenUp]:
    """Claim the record, or return why it can't be claimed."""
    term, is_again = message.term(records), False
    answer = records.update(request.record_key, record_rules.claim(request, hold, term))
    if not isinstance(answer, Applied):
        meaning = refusal.read_refusal(answer.item, request, term.now_unix_s)
        if isinstance(meaning, SameName):
            found = objects.look(request.source.bucket, request.source.key)
            meaning = refusal.read_object(answer.item, request, found)
        if isinstance(meaning, Finished):
            records.update(request.record_key, record_rules.restore_done_status())
        if isinstance(meaning, GivenUp):
            records.update(request.record_key, record_rules.restore_failed_status())
        if not isinstance(meaning, Redo):
            return meaning
        is_again = True
        answer = records.update(request.record_key, record_rules.claim(request, hold, term, again=True))
        if not isinstance(answer, Applied):
            return refusal.busy(answer.item, term.now_unix_s)
    attempt, failures = int(answer.item.get("remAttempt", 1)), int(answer.item.get("remFailures", 0))
    item = answer.item
    last_reason = str(item.get("remLastReason", ""))
    return Claimed(
        attempt,
        failures,
        False,
        record_rules.pointer_of(item),
        record_rules.cuts_of(item),
        is_again,
        last_reason,
    )


def take_over(
    records: RecordTable, request: JobRequest, hold: RecordHold, attempt: int, message: MessageLease
) -> Optional[Claimed]:
    """Resume an earlier process's attempt from its result, if the record still belongs to that attempt."""
    item = records.get(request.record_key) or {}
    if request.force or not record_rules.source_of(item).is_same(request.source):
        return None
    answer = records.update(request.record_key, record_rules.take_over(hold, attempt, message.term(records)))
    if not isinstance(answer, Applied):
        return None
    return Claimed(attempt, int(answer.item.get("remFailures", 0)), is_staged=True)


def publish(records: RecordTable, objects: ObjectStore, work: CommitWork, message: MessageLease) -> None:
    """Upload one result under its final keys and complete the record, once.

    Afterwards the record is DONE by this attempt. A repeat after any failure ends the same way, even if an
    earlier try got further than its caller learned.
    """
    fenced = _fenced(records, work, message)
    if fenced is None:
        return
    log.debug("record fenced for the commit", extra={"event": "record-fenced", **work.log_fields})
    for suffix in ("txt", "json"):
        _check_deadline(message)
        with necessary("s3:PutObject"):
            objects.put(
                work.bucket, work.key_of(suffix), work.folder / f"transcript.{suffix}", CONTENT_TYPES[suffix]
            )
        log.debug(
            "transcript object written",
            extra={"event": "transcript-written", **work.log_fields, "key": work.key_of(suffix)},
        )
    if "remCheckpoint" in fenced:
        # Before completing the record: if the process dies in between, no checkpoint is left for ever.
        checkpoint_store.clear(objects, work.bucket, work.request)
    change = record_rules.complete(
        work.key_of("json"),
        work.hold,
        work.result,
        work.source,
        records.unix_s(),
        split_points.read(work.folder),
    )
    answer = records.update(work.request.record_key, change)
    if not isinstance(answer, Applied) and not _is_our_own(answer.item, work):
        raise LeaseLost("the record was taken over during the commit")
    log.debug("record completed", extra={"event": "record-completed", **work.log_fields})


def renew(
    records: RecordTable, key: RecordKey, hold: RecordHold, folder: Path, message: MessageLease
) -> None:
    """Extend the record's lease. Raises LeaseLost if it is no longer ours."""
    change = record_rules.renew(hold, message.term(records), split_points.read(folder))
    if not isinstance(records.update(key, change), Applied):
        raise LeaseLost("the record belongs to somebody else")


def write_end(
    records: RecordTable, key: RecordKey, hold: RecordHold, verdict: RetryDecision, source: Source
) -> None:
    """Write a failure or release to the record. Raises LeaseLost if it is no longer ours."""
    if verdict.is_final:
        change = record_rules.give_up(hold, verdict.reason, verdict.counts, source, records.unix_s())
    else:
        change = record_rules.free(hold, verdict.counts, verdict.reason)
    answer = records.update(key, change)
    if isinstance(answer, Applied) or "remToken" not in answer.item:
        return  # no token: our own earlier try succeeded, or another process ended it
    raise LeaseLost("the record belongs to somebody else")


def read_ending(records: RecordTable, key: RecordKey, hold: RecordHold) -> Optional[Settled]:
    """Return how an earlier process ended this attempt; None if the record is still ours."""
    item = records.get(key) or {}
    if item.get("remToken") == hold.token:
        return None
    if "remToken" in item:
        return Settled(Ending.DROPPED, "somebody else has it")
    if item.get("remState") == record_rules.FAILED:
        return Settled(Ending.FAILED, str(item.get("remReason", "")))
    if item.get("remState") == record_rules.DONE:
        return Settled(Ending.DONE)
    return Settled(Ending.RELEASED, "given back by an earlier life")


def reject(records: RecordTable, rejected: Rejected) -> None:
    """Set the record of an invalid message to FAILED, if the message is about the record's audio."""
    if rejected.key:
        key = RecordKey(rejected.user_id, rejected.recording_id)
        records.update(key, record_rules.reject(rejected.reason, rejected.key, records.unix_s()))


def _fenced(records: RecordTable, work: CommitWork, message: MessageLease) -> Optional[Item]:
    """Fence the record and return it; None if an earlier try of ours has completed it."""
    _check_deadline(message)
    answer = records.update(work.request.record_key, record_rules.fence(work.hold, message.term(records)))
    if isinstance(answer, Applied):
        return answer.item
    if _is_our_own(answer.item, work):
        return None
    raise LeaseLost("the record was taken over before the commit")


def _is_our_own(item: dict[str, object], work: CommitWork) -> bool:
    return record_rules.was_completed_by(item, work.attempt, work.result)


def _check_deadline(message: MessageLease) -> None:
    if not lease_timing.may_fence(message.deadline_at_s(), clock.now_s(), message.lease_s):
        raise TryLater("queue", "the lease is about to end")
