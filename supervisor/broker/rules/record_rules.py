"""Rules of a record: who may claim, fence, complete, fail or release it. PURE.

Our state is in attributes of our own (`rem...`). REM's `status` is written for REM's readers and never read
for a decision, because REM's dispatcher resets it at any time. Each rule is a conditional change; nothing
here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from supervisor.broker.ports import rem_table
from supervisor.broker.ports.job_request import JobRequest, Source
from supervisor.broker.ports.ports import (
    Above,
    AllOf,
    AnyOf,
    Below,
    Change,
    Condition,
    Equals,
    Item,
    Missing,
)
from supervisor.contract import timestamps

CLAIMED, PUBLISHING, DONE, FAILED = "CLAIMED", "PUBLISHING", "DONE", "FAILED"
_HOLD = ("remToken", "remOwner", "remLeaseUnix")


@dataclass(frozen=True)
class RecordHold:
    """Our claim on a record: a fencing token, and the id of this state directory as the owner."""

    token: str
    owner: str


@dataclass(frozen=True)
class Term:
    """The current time and the end of the record's lease, by the table's clock; `lease_s` is the queue's."""

    now_unix_s: float
    until_unix_s: float
    lease_s: float


@dataclass(frozen=True)
class Result:
    """A finished transcript's metadata."""

    language: str
    duration_s: float
    sha256_json: str


@dataclass(frozen=True)
class Pointer:
    """The location of the newest checkpoint, with the SHA-256 that its writer computed."""

    key: str
    sha256: str
    done_s: float


@dataclass(frozen=True)
class Cuts:
    """Where a long recording was split: sample positions in ascending order, separated by blanks.

    `of` identifies the audio and options that they are valid for. Only workers interpret either.
    """

    of: str
    at: str


def claim(request: JobRequest, hold: RecordHold, term: Term, again: bool = False) -> Change:
    """Claim a record that is free, expired, held by an earlier process of ours, or (`again`) ended."""
    return Change(
        condition=AnyOf((_is_free(hold, term), *(_HAS_ENDED if again else ()))),
        put={
            "status": "TRANSCRIBING",
            "updatedAt": timestamps.iso_utc(term.now_unix_s),
            "remState": CLAIMED,
            "remToken": hold.token,
            "remOwner": hold.owner,
            "remLeaseUnix": _lease_end(term),
            "remSource": source_map(request.source),
        },
        put_if_missing=rem_table.dispatched(request, term.now_unix_s),
        increment={"remAttempt": 1},
        # Failures of other audio, or from before an operator's retry, no longer count.
        remove=("remReason", *(("remFailures", "remCrashes") if again else ())),
    )


_HAS_ENDED: tuple[Condition, ...] = (Equals("remState", DONE), Equals("remState", FAILED))


def _is_free(hold: RecordHold, term: Term) -> Condition:
    """Free, expired, or our own: the caller knows that no live job of ours holds it."""
    is_held = AnyOf((Equals("remState", CLAIMED), Equals("remState", PUBLISHING)))
    may_go = AnyOf(
        (
            Missing("remLeaseUnix"),
            Below("remLeaseUnix", term.now_unix_s),
            # Further ahead than a correct clock would write.
            Above("remLeaseUnix", term.now_unix_s + 2 * term.lease_s),
            Equals("remOwner", hold.owner),
        )
    )
    return AnyOf((Missing("remState"), AllOf((is_held, may_go))))


def take_over(hold: RecordHold, attempt: int, term: Term) -> Change:
    """Resume an attempt of an earlier process of ours whose result is still in the spool.

    Nobody claimed the record since, or its attempt number would differ.
    """
    is_held = AnyOf((Equals("remState", CLAIMED), Equals("remState", PUBLISHING)))
    is_our_own = AllOf((is_held, Equals("remOwner", hold.owner)))
    return Change(
        AllOf((Equals("remAttempt", attempt), AnyOf((Missing("remState"), is_our_own)))),
        put={
            "status": "TRANSCRIBING",
            "remState": CLAIMED,
            "remToken": hold.token,
            "remOwner": hold.owner,
            "remLeaseUnix": _lease_end(term),
        },
    )


def renew(hold: RecordHold, term: Term, cuts: Optional[Cuts] = None) -> Change:
    """Extend the record's lease, and store the split points."""
    return Change(_is_ours(hold), put={"remLeaseUnix": _lease_end(term), **_cuts_map(cuts)})


def point(hold: RecordHold, pointer: Pointer, cuts: Optional[Cuts] = None) -> Change:
    """Store the newest checkpoint's location and split points, while the job is ours and unpublished."""
    parts = {"key": pointer.key, "sha256": pointer.sha256, "doneSeconds": round(pointer.done_s, 2)}
    return Change(
        AllOf((_is_ours(hold), Equals("remState", CLAIMED))), put={"remCheckpoint": parts, **_cuts_map(cuts)}
    )


def pointer_of(item: Item) -> Optional[Pointer]:
    """Return the newest checkpoint's location; None if there is none or it is invalid."""
    found = item.get("remCheckpoint")
    if not isinstance(found, dict):
        return None
    try:
        return Pointer(str(found["key"]), str(found["sha256"]), float(found["doneSeconds"]))
    except (KeyError, TypeError, ValueError):
        return None


def cuts_of(item: Item) -> Optional[Cuts]:
    """Return where the recording was split; None if it was not, or the value is invalid."""
    found = item.get("remCuts")
    if not isinstance(found, dict):
        return None
    of, at = found.get("of"), found.get("at")
    return Cuts(of, at) if isinstance(of, str) and isinstance(at, str) else None


def fence(hold: RecordHold, term: Term) -> Change:
    """Lock the record against all other hosts; only then may the final keys be written."""
    return Change(_is_ours(hold), put={"remState": PUBLISHING, "remLeaseUnix": _lease_end(term)})


def complete(
    json_key: str,
    hold: RecordHold,
    result: Result,
    source: Source,
    now_unix_s: float,
    cuts: Optional[Cuts] = None,
) -> Change:
    """Mark the recording as done: JSON and text are in place."""
    return Change(
        AllOf((_is_ours(hold), Equals("remState", PUBLISHING))),
        put={
            "status": "TRANSCRIBED",
            "transcriptS3Key": json_key,
            "language": result.language,
            "durationSeconds": round(result.duration_s, 2),
            "updatedAt": timestamps.iso_utc(now_unix_s),
            "remState": DONE,
            "remSource": source_map(source),
            "remTranscriptSha256": result.sha256_json,
            **_cuts_map(cuts),
        },
        remove=(*_HOLD, "remCheckpoint", "remReason", "remLastReason", *(() if cuts else ("remCuts",))),
    )


def was_completed_by(item: Item, attempt: int, result: Result) -> bool:
    """Return whether a record rejects our token because our own earlier try completed it."""
    return (
        item.get("remState") == DONE
        and item.get("remAttempt") == attempt
        and item.get("remTranscriptSha256") == result.sha256_json
    )


def restore_done_status() -> Change:
    """Restore REM's status if its dispatcher reset it on a finished record."""
    return Change(Equals("remState", DONE), put={"status": "TRANSCRIBED"})


def restore_failed_status() -> Change:
    """Restore REM's status if its dispatcher reset it on a failed record."""
    return Change(Equals("remState", FAILED), put={"status": "FAILED"})


def give_up(hold: RecordHold, reason: str, counts: str, source: Source, now_unix_s: float) -> Change:
    """Mark the record as FAILED for good, with the reason; valid for this source only."""
    return Change(
        _is_ours(hold),
        put={**_failed(reason, now_unix_s), "remSource": source_map(source)},
        increment={counts: 1} if counts else {},
        remove=(*_HOLD, "remLastReason"),
    )


def forget_checkpoint() -> Change:
    """Remove the checkpoint pointer of a FAILED record, after its objects are deleted."""
    return Change(Equals("remState", FAILED), remove=("remCheckpoint",))


def reject(reason: str, key: str, now_unix_s: float) -> Change:
    """Show readers that a message about this very audio was invalid.

    It decides nothing (no remState): another message may still transcribe the recording.
    """
    attributes = {name: value for name, value in _failed(reason, now_unix_s).items() if name != "remState"}
    return Change(AllOf((Equals("s3KeyRaw", key), Missing("remState"))), put=attributes)


def free(hold: RecordHold, counts: str, why: str) -> Change:
    """Free the record so that any host may claim it at once; the reason is kept for a later failure."""
    return Change(
        _is_ours(hold),
        put={"remLastReason": why} if why else {},
        increment={counts: 1} if counts else {},
        remove=("remState", *_HOLD, *(() if why else ("remLastReason",))),
    )


def reopen(now_unix_s: float) -> Change:
    """Clear a failure and its counters for an operator's retry."""
    return Change(
        Equals("remState", FAILED),
        put={"status": "UPLOADED", "updatedAt": timestamps.iso_utc(now_unix_s)},
        remove=("remState", "remReason", "remFailures", "remCrashes", *_HOLD),
    )


def uploaded(request: JobRequest, now_unix_s: float) -> Change:
    """Create a new recording's record as REM's dispatcher would."""
    return Change(
        Missing("status"),
        put={"status": "UPLOADED", "updatedAt": timestamps.iso_utc(now_unix_s)},
        put_if_missing=rem_table.dispatched(request, now_unix_s),
    )


def source_map(source: Source) -> dict[str, str]:
    """Return a source as the record stores it, without unknown parts."""
    parts = {"bucket": source.bucket, "key": source.key, "version": source.version, "etag": source.etag}
    return {name: value for name, value in parts.items() if value}


def source_of(item: Item) -> Source:
    """Read the source from a record; an invalid or missing one equals no other."""
    found = item.get("remSource")
    parts: Mapping[str, Any] = found if isinstance(found, dict) else {}
    return Source(*(str(parts.get(name, "")) for name in ("bucket", "key", "version", "etag")))


def _cuts_map(cuts: Optional[Cuts]) -> dict[str, Any]:
    return {} if cuts is None else {"remCuts": {"of": cuts.of, "at": cuts.at}}


def _is_ours(hold: RecordHold) -> Condition:
    return Equals("remToken", hold.token)


def _lease_end(term: Term) -> float:
    return round(term.until_unix_s, 1)


def _failed(reason: str, now_unix_s: float) -> dict[str, Any]:
    return {
        "status": "FAILED",
        "remState": FAILED,
        "remReason": reason,
        "updatedAt": timestamps.iso_utc(now_unix_s),
    }
