"""Rules of a record: who may claim, fence, complete, fail or release it. PURE.

Our state stands in attributes of our own (`rem...`); REM's `status` is written for REM's
readers and never decides anything, because REM's dispatcher resets it at will. Each rule
is a conditional change; nothing here reads or writes.
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
    """Our claim on a record: the token fences, the owner is this state directory for ever."""

    token: str
    owner: str


@dataclass(frozen=True)
class Term:
    """Now, and until when a hold is good, by the table's clock; `lease_s` is this queue's."""

    now_unix_s: float
    until_unix_s: float
    lease_s: float


@dataclass(frozen=True)
class Result:
    """What a finished transcript says of itself."""

    language: str
    duration_s: float
    sha256_json: str


@dataclass(frozen=True)
class Pointer:
    """Where the newest checkpoint lies; the sum says that it is the one its holder meant."""

    key: str
    sha256: str
    done_s: float


@dataclass(frozen=True)
class Cuts:
    """Where a long recording was cut into parts: samples in order, with blanks between them.

    `of` names the audio and options that this holds for. Only workers read either.
    """

    of: str
    at: str


def claim(request: JobRequest, hold: RecordHold, term: Term, again: bool = False) -> Change:
    """Take a record that is free, expired, ours from a dead life, or (`again`) over."""
    return Change(
        condition=AnyOf((_is_free(hold, term), *(_IS_OVER if again else ()))),
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
        # What counted against other audio, or before a person asked anew, counts no more.
        remove=("remReason", *(("remFailures", "remCrashes") if again else ())),
    )


_IS_OVER: tuple[Condition, ...] = (Equals("remState", DONE), Equals("remState", FAILED))


def _is_free(hold: RecordHold, term: Term) -> Condition:
    """Nobody's, expired, or our own: whoever asks knows that no live job of ours has it."""
    is_held = AnyOf((Equals("remState", CLAIMED), Equals("remState", PUBLISHING)))
    may_go = AnyOf(
        (
            Missing("remLeaseUnix"),
            Below("remLeaseUnix", term.now_unix_s),
            # Further ahead than any honest clock would write: a wrong clock wrote it.
            Above("remLeaseUnix", term.now_unix_s + 2 * term.lease_s),
            Equals("remOwner", hold.owner),
        )
    )
    return AnyOf((Missing("remState"), AllOf((is_held, may_go))))


def take_over(hold: RecordHold, attempt: int, term: Term) -> Change:
    """Go on with an attempt of our own dead life, whose result still stands in the spool.

    Nobody claimed since, or the attempt would have another number.
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
    """Say to other hosts that we are still at it, and in which parts."""
    return Change(_is_ours(hold), put={"remLeaseUnix": _lease_end(term), **_cuts_map(cuts)})


def point(hold: RecordHold, pointer: Pointer, cuts: Optional[Cuts] = None) -> Change:
    """Name the newest checkpoint and the parts that it is of; while the job is ours and not yet published."""
    parts = {"key": pointer.key, "sha256": pointer.sha256, "doneSeconds": round(pointer.done_s, 2)}
    return Change(
        AllOf((_is_ours(hold), Equals("remState", CLAIMED))), put={"remCheckpoint": parts, **_cuts_map(cuts)}
    )


def pointer_of(item: Item) -> Optional[Pointer]:
    """Read where the newest checkpoint lies; None where there is none, or nothing to be understood."""
    found = item.get("remCheckpoint")
    if not isinstance(found, dict):
        return None
    try:
        return Pointer(str(found["key"]), str(found["sha256"]), float(found["doneSeconds"]))
    except (KeyError, TypeError, ValueError):
        return None


def cuts_of(item: Item) -> Optional[Cuts]:
    """Read where the recording was cut; None where it was not, or nothing is to be understood."""
    found = item.get("remCuts")
    if not isinstance(found, dict):
        return None
    of, at = found.get("of"), found.get("at")
    return Cuts(of, at) if isinstance(of, str) and isinstance(at, str) else None


def fence(hold: RecordHold, term: Term) -> Change:
    """Close the record to everybody else; only then may final names be written."""
    return Change(_is_ours(hold), put={"remState": PUBLISHING, "remLeaseUnix": _lease_end(term)})


def complete(
    json_key: str,
    hold: RecordHold,
    result: Result,
    source: Source,
    now_unix_s: float,
    cuts: Optional[Cuts] = None,
) -> Change:
    """Say that JSON and text are in place: the last word on this recording."""
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
    """Say whether a record that refuses our token does so because our own try got through."""
    return (
        item.get("remState") == DONE
        and item.get("remAttempt") == attempt
        and item.get("remTranscriptSha256") == result.sha256_json
    )


def say_done_again() -> Change:
    """Mend REM's status where its dispatcher reset it on a finished record."""
    return Change(Equals("remState", DONE), put={"status": "TRANSCRIBED"})


def say_failed_again() -> Change:
    """Mend REM's status where its dispatcher reset it on a record that stays failed."""
    return Change(Equals("remState", FAILED), put={"status": "FAILED"})


def give_up(hold: RecordHold, reason: str, counts: str, source: Source, now_unix_s: float) -> Change:
    """Say FAILED and why, for good: of this source, no other."""
    return Change(
        _is_ours(hold),
        put={**_failed(reason, now_unix_s), "remSource": source_map(source)},
        increment={counts: 1} if counts else {},
        remove=(*_HOLD, "remLastReason"),
    )


def forget_checkpoint() -> Change:
    """Name no checkpoint of a record that failed for good: there is none left."""
    return Change(Equals("remState", FAILED), remove=("remCheckpoint",))


def reject(reason: str, key: str, now_unix_s: float) -> Change:
    """Tell readers of a message about this very audio that can't be a job.

    It decides nothing (no remState): the recording may have another message, and that is as good as ever.
    """
    told = {name: value for name, value in _failed(reason, now_unix_s).items() if name != "remState"}
    return Change(AllOf((Equals("s3KeyRaw", key), Missing("remState"))), put=told)


def free(hold: RecordHold, counts: str, why: str) -> Change:
    """Let the record go, so that anybody may claim it at once; the reason stays for whoever gives up."""
    return Change(
        _is_ours(hold),
        put={"remLastReason": why} if why else {},
        increment={counts: 1} if counts else {},
        remove=("remState", *_HOLD, *(() if why else ("remLastReason",))),
    )


def reopen(now_unix_s: float) -> Change:
    """Forget that it failed, with all that counted against it: a person wants another try."""
    return Change(
        Equals("remState", FAILED),
        put={"status": "UPLOADED", "updatedAt": timestamps.iso_utc(now_unix_s)},
        remove=("remState", "remReason", "remFailures", "remCrashes", *_HOLD),
    )


def uploaded(request: JobRequest, now_unix_s: float) -> Change:
    """Begin the record of a new recording as REM's dispatcher would."""
    return Change(
        Missing("status"),
        put={"status": "UPLOADED", "updatedAt": timestamps.iso_utc(now_unix_s)},
        put_if_missing=rem_table.dispatched(request, now_unix_s),
    )


def source_map(source: Source) -> dict[str, str]:
    """Write a source as the record has it; what is unknown is left out."""
    parts = {"bucket": source.bucket, "key": source.key, "version": source.version, "etag": source.etag}
    return {name: value for name, value in parts.items() if value}


def source_of(item: Item) -> Source:
    """Read the source from a record; a broken or missing one is like no other."""
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
