"""Parses a message body into jobs, or into a reason for rejection. PURE.

Accepts REM's own JSON, S3 notifications with any number of records, EventBridge events of S3, and each of
these wrapped by SNS. All input is untrusted: sizes, types, ids and the bucket are validated here, once, so
that later code can use ids in file names and keys.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import unquote_plus

from supervisor.broker.ports.job_request import UNKNOWN_DEVICE, JobRequest, Parsed, Rejected, Source
from supervisor.contract import job_options
from supervisor.contract.job_options import BadOption, Options
from supervisor.contract.whisper_names import language_mistake

MAX_BODY_BYTES = 256 * 1024
MAX_RECORDS = 1_000
MAX_ID_CHARS = 200
MAX_ID_BYTES = 240  # leaves room for a suffix in a file name
MAX_KEY_BYTES = 1_024  # S3's limit
MAX_VERSION_CHARS = 1_024  # S3's limit
# raw/{deviceId}/{yyyy}/{mm}/{dd}/{deviceId}_{startedAt}_{endedAt}.wav
_KEY_LAYOUT = re.compile(
    r"raw/(?P<device>[^/]+)/\d{4}/\d\d/\d\d/(?P=device)_(?P<start>[^_/]+)_(?P<end>[^_/]+)\.\w+"
)


_TEST_EVENT = "s3:TestEvent"
_SUBSCRIPTION_TYPES = ("SubscriptionConfirmation", "UnsubscribeConfirmation")
_SNS_LAYERS_MOST = 3  # nested SNS notifications
_BYTE_ORDER_MARKS = ("\ufeff", "\u00ef\u00bb\u00bf")
_EMPTY = (None, "")
_READABLE_EVENTS = ("ObjectCreated:", "ObjectRestore:Completed", "ObjectSynced:Create")  # the last is Ceph's
_FOLDER_SUFFIXES = ("/", "_$folder$")  # written by S3's console and sync tools, and by Hadoop
_READABLE_DETAILS = ("Object Created", "Object Restore Completed")


@dataclass(frozen=True)
class EnvelopePolicy:
    """Which buckets messages may name, and defaults for missing fields."""

    raw_bucket: str
    default_user_id: str
    allowed_buckets: tuple[str, ...] = ()  # in addition to the raw bucket

    def allows(self, bucket: object) -> bool:
        """Return whether audio may be read from this bucket."""
        return bucket == self.raw_bucket or bucket in self.allowed_buckets


class _Reason(Exception):
    """A reason that may quote the message; safe to store in records and logs."""

    def __str__(self) -> str:
        return super().__str__().encode("utf-8", "replace").decode()


class _Ignored(_Reason):
    """This part is not a recording; the text says what it is."""


class _Invalid(_Reason):
    """This part is invalid; the text is the reason."""


def parse(body: str, policy: EnvelopePolicy) -> Parsed:
    """Parse one message. Never raises: invalid input is returned as Rejected."""
    try:
        envelope = _unwrapped(_read_json(body))
        if _TEST_EVENT in (envelope.get("Event"), envelope.get("EventName")):
            return Parsed(ignored=(f"a test of the notification ({_TEST_EVENT})",))
        if "Records" in envelope:
            return _parse_notification(envelope["Records"], policy)
        if envelope.get("source") == "aws.s3" and "detail-type" in envelope:
            return _parse_event(envelope, policy)
    except _Ignored as ignored:
        return Parsed(ignored=(str(ignored),))
    except _Invalid as invalid:
        return Parsed(rejected=(Rejected(str(invalid)),))
    return _parse_rem(envelope, policy)


def is_usable_id(text: object) -> bool:
    """Return whether a text is usable as an id in keys, file names and records."""
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_ID_CHARS or text in (".", ".."):
        return False
    if any(sign in "/\\" or ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in text):
        return False
    return _fits(text, MAX_ID_BYTES)


def _fits(text: str, max_bytes: int) -> bool:
    try:
        return len(text.encode("utf-8")) <= max_bytes
    except UnicodeEncodeError:  # an unpaired surrogate
        return False


def _read_json(body: str) -> dict[str, Any]:
    if not _fits(body, MAX_BODY_BYTES):
        raise _Invalid(f"The message is larger than {MAX_BODY_BYTES // 1024} KiB or not Unicode text.")
    try:
        envelope = json.loads(_without_mark(body))
    except (ValueError, RecursionError):
        raise _Invalid("The message is not JSON.") from None
    if not isinstance(envelope, dict):
        raise _Invalid("The message is JSON but not an object with recordingId, bucket and key.")
    return envelope


def _without_mark(body: str) -> str:
    """Remove the byte order mark that some producers write, even if it was decoded as Latin-1."""
    for mark in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return body[len(mark) :]
    return body


def _unwrapped(envelope: dict[str, Any]) -> dict[str, Any]:
    """Remove each layer of SNS wrapping; with raw delivery there is none."""
    for _ in range(_SNS_LAYERS_MOST):
        if envelope.get("Type") in _SUBSCRIPTION_TYPES:
            raise _Ignored(f"SNS's {envelope['Type']}: a person must confirm the subscription in SNS")
        if envelope.get("Type") != "Notification" or "Message" not in envelope:
            break
        if not isinstance(envelope["Message"], str):
            raise _Invalid("The SNS notification's Message is not a text.")
        envelope = _read_json(envelope["Message"])
    return envelope


def _parse_rem(envelope: dict[str, Any], policy: EnvelopePolicy) -> Parsed:
    recording_id, user_id = envelope.get("recordingId"), envelope.get("userId")
    if user_id in _EMPTY:
        user_id = policy.default_user_id
    try:
        return Parsed(jobs=(_rem_job(envelope, recording_id, user_id, policy),))
    except _Invalid as invalid:
        if not (is_usable_id(recording_id) and is_usable_id(user_id)):
            return Parsed(rejected=(Rejected(str(invalid)),))
        key = envelope.get("key") if policy.allows(envelope.get("bucket")) else None
        known = str(recording_id), str(user_id), key if isinstance(key, str) else ""
        return Parsed(rejected=(Rejected(str(invalid), *known),))


def _rem_job(envelope: dict[str, Any], recording_id: Any, user_id: Any, policy: EnvelopePolicy) -> JobRequest:
    missing = [name for name in ("recordingId", "bucket", "key") if not envelope.get(name)]
    if missing:
        raise _Invalid(f"The message lacks {', '.join(missing)}.")
    bucket, key = _checked_bucket(envelope["bucket"], policy), _checked_key(envelope["key"])
    source = Source(bucket, key, _version(envelope.get("versionId")))
    layout = _KEY_LAYOUT.fullmatch(source.key)
    device_id = envelope.get("deviceId") or (layout["device"] if layout else UNKNOWN_DEVICE)
    return JobRequest(
        _checked_id("recordingId", recording_id),
        _checked_id("userId", user_id),
        _checked_id("deviceId", device_id),
        source,
        started_at=_short_text(envelope.get("startedAt")) or (layout["start"] if layout else ""),
        ended_at=_short_text(envelope.get("endedAt")) or (layout["end"] if layout else ""),
        language=_checked_language(envelope.get("language")),
        force=envelope.get("force") is True,
        options=_checked_options(envelope.get("options")),
    )


def _parse_notification(records: Any, policy: EnvelopePolicy) -> Parsed:
    """Parse each record as a separate job: an invalid record does not affect the others."""
    if not isinstance(records, list) or not 1 <= len(records) <= MAX_RECORDS:
        raise _Invalid(f"The S3 notification has no list of 1 to {MAX_RECORDS} Records.")
    jobs: dict[str, JobRequest] = {}
    rejected, ignored = [], []
    for record in records:
        try:
            found = _notified_job(record, policy)
            jobs[found.job_id] = found  # the same object twice is one job
        except _Ignored as nothing:
            ignored.append(str(nothing))
        except _Invalid as invalid:
            rejected.append(Rejected(str(invalid)))
    return Parsed(tuple(jobs.values()), tuple(rejected), tuple(ignored))


def _notified_job(record: Any, policy: EnvelopePolicy) -> JobRequest:
    try:
        _check_event(record.get("eventName"))
        stored, bucket = record["s3"]["object"], record["s3"]["bucket"]["name"]
        key, version, etag = unquote_plus(stored["key"]), stored.get("versionId"), stored.get("eTag")
        size = stored.get("size")
    except (AttributeError, KeyError, TypeError):
        raise _Invalid("A record of the S3 notification names no bucket and key.") from None
    return _object_job(bucket, key, version, etag, size, policy)


def _check_event(name: Any) -> None:
    """Accept events after which the object can be read: created, or restored from an archive.

    MinIO, Ceph and others put `s3:` before AWS's event names. A record without an event name is accepted.
    """
    if name in _EMPTY:
        return
    plain = str(name)[len("s3:") :] if str(name).startswith("s3:") else str(name)
    if not plain.startswith(_READABLE_EVENTS):
        raise _Ignored(f"an event that puts no object there ({str(name)[:80]})")


def _parse_event(event: dict[str, Any], policy: EnvelopePolicy) -> Parsed:
    """Parse an EventBridge event: one object, whose key is not URL-encoded."""
    kind = event["detail-type"]
    if kind not in _READABLE_DETAILS:
        raise _Ignored(f"an event that puts no object there ({str(kind)[:80]})")
    try:
        stored, bucket = event["detail"]["object"], event["detail"]["bucket"]["name"]
        key, version, etag = stored["key"], stored.get("version-id"), stored.get("etag")
        size = stored.get("size")
    except (AttributeError, KeyError, TypeError):
        raise _Invalid("The EventBridge event names no bucket and key.") from None
    return Parsed(jobs=(_object_job(bucket, key, version, etag, size, policy),))


def _object_job(
    bucket: Any, key: Any, version: Any, etag: Any, size: Any, policy: EnvelopePolicy
) -> JobRequest:
    """Build a job from an object notification, which contains no ids."""
    bucket, key = _checked_bucket(bucket, policy), _checked_key(key)
    if key.endswith(_FOLDER_SUFFIXES) and size in (0, "0", None):
        raise _Ignored(f"the mark of a folder, not a recording ({key[-80:]})")
    source = Source(bucket, key, _version(version), _short_text(etag))
    layout = _KEY_LAYOUT.fullmatch(key)
    device_id = layout["device"] if layout and is_usable_id(layout["device"]) else UNKNOWN_DEVICE
    return JobRequest(
        hashlib.sha256(f"{bucket}/{key}/{source.version}".encode()).hexdigest()[:32],
        policy.default_user_id,
        device_id,
        source,
        started_at=layout["start"] if layout else "",
        ended_at=layout["end"] if layout else "",
    )


def _checked_id(name: str, value: Any) -> str:
    if not is_usable_id(value):
        raise _Invalid(
            f"The message's {name} is not usable: 1 to {MAX_ID_CHARS} characters without slashes are."
        )
    return str(value)


def _checked_bucket(value: Any, policy: EnvelopePolicy) -> str:
    if not isinstance(value, str) or not policy.allows(value):
        shown = value[:80] if isinstance(value, str) and value.isprintable() else "something else"
        allowed = ", ".join((policy.raw_bucket, *policy.allowed_buckets))
        raise _Invalid(f"The message names bucket {shown}; this service reads from {allowed} only.")
    return value


def _checked_key(value: Any) -> str:
    if not isinstance(value, str) or not value or not _fits(value, MAX_KEY_BYTES):
        raise _Invalid(f"The message's key is not a text of 1 to {MAX_KEY_BYTES} bytes.")
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in value):
        raise _Invalid("The message's key holds control characters.")
    return value


def _checked_language(value: Any) -> Optional[str]:
    if value in (None, ""):
        return None
    wrong = language_mistake(value) if isinstance(value, str) else "must be a text such as en or de"
    if wrong is not None:
        raise _Invalid(_sentence(f"The message's language: {wrong}"))
    return str(value)


def _checked_options(value: Any) -> str:
    """Validate the message's engine options; the error names an invalid one."""
    if value in (None, {}):
        return ""
    if not isinstance(value, dict):
        raise _Invalid('The message\'s options are no object such as {"task": "translate"}.')
    value = {name: _repaired(given) for name, given in value.items()}
    try:
        job_options.merged(Options(), value)
    except BadOption as invalid:
        raise _Invalid(_sentence(f"The message's {invalid}")) from None
    return json.dumps(value, sort_keys=True)


def _repaired(value: Any) -> Any:
    """Replace surrogates that a producer separated (half an emoji, for example) by U+FFFD."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


def _version(value: Any) -> str:
    """Return a version id; "null" is S3's for an object in a bucket without versioning."""
    return "" if value == "null" else _short_text(value, MAX_VERSION_CHARS)


def _short_text(value: Any, most_chars: int = MAX_ID_CHARS) -> str:
    """Return a descriptive text, or an empty text if it is invalid: never a reason to reject a message."""
    return value if isinstance(value, str) and len(value) <= most_chars and value.isprintable() else ""
