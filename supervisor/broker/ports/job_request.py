"""A job as requested by a message. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from supervisor.broker.ports.ports import RecordKey

UNKNOWN_DEVICE = "unknown-device"  # used if neither the message nor the key names a device


@dataclass(frozen=True)
class Source:
    """The audio object as the record stores it. Version and etag are empty while unknown."""

    bucket: str
    key: str
    version: str = ""
    etag: str = ""

    def is_same(self, other: Source) -> bool:
        """Return whether both are the same audio, as far as both are known."""
        if (self.bucket, self.key) != (other.bucket, other.key):
            return False
        if self.version and other.version:
            return self.version == other.version
        return not (self.etag and other.etag) or self.etag == other.etag


@dataclass(frozen=True)
class JobRequest:
    """One recording to be transcribed, with validated ids. Its `recording_id` is the job's id."""

    recording_id: str
    user_id: str
    device_id: str
    source: Source
    started_at: str = ""
    ended_at: str = ""
    language: Optional[str] = None
    force: bool = False
    options: str = ""  # the message's engine options, as a JSON object

    @property
    def job_id(self) -> str:
        return self.recording_id

    @property
    def record_key(self) -> RecordKey:
        return RecordKey(self.user_id, self.recording_id)

    def transcript_key(self, suffix: str, attempt: Optional[int] = None) -> str:
        """Return REM's key of the transcript object, or a key that only this attempt writes.

        `suffix` is json or txt. Ids contain no slash, so the two kinds of key never collide.
        """
        own = f"/{attempt}" if attempt is not None else ""
        return f"transcripts/{self.user_id}/{self.device_id}/{self.recording_id}{own}.{suffix}"


@dataclass(frozen=True)
class Rejected:
    """A message, or one part of it, that can never be a job; with its ids if they are usable.

    `key` is empty unless the message names audio that this service reads: only then can it be about the
    recording with that id.
    """

    reason: str
    recording_id: str = ""
    user_id: str = ""
    key: str = ""


@dataclass(frozen=True)
class Parsed:
    """The content of one message. `ignored` gives the reason for each part that is ignored."""

    jobs: tuple[JobRequest, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    ignored: tuple[str, ...] = ()
