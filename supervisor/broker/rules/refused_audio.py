"""Decides whether access is denied to one recording or to all of them. PURE.

S3 returns 403 for a missing key if s3:ListBucket is not granted, and also if the role may read nothing. A
single 403 is taken to concern that recording only. Several recordings in a row, without a successful read
lately, mean that the role lacks the permission: their jobs are set aside instead of failed, and others are
tried. If many are set aside, nothing more is received.
"""

from __future__ import annotations

from typing import Optional

from supervisor.broker.ports.errors import Misconfigured
from supervisor.broker.rules.retry_policy import RetryDecision, sentence

MANY = 3  # a guess: different recordings in a row
HOLD_S = 600.0  # a guess: then the next job may show that only these recordings were denied
_TRUST_S = 600.0  # a guess: a role that read something this recently has the permission
_RETURN_S = 3_600.0  # a guess: other messages of the queue have their turn meanwhile
WHERE = "reading"  # a place of its own: only a download can test it


class RefusedAudio:
    """The recordings that were denied since the last successful read."""

    def __init__(self) -> None:
        self._recordings: set[str] = set()
        self._read_at_s: Optional[float] = None

    def on_read(self, now_s: float) -> None:
        """Record a successful read: the role has the permission."""
        self._recordings.clear()
        self._read_at_s = now_s

    def on_denied(self, job_id: str) -> None:
        """Record a denied read."""
        if len(self._recordings) < MANY:
            self._recordings.add(job_id)

    def concerns_all(self, now_s: float) -> bool:
        """Return whether all audio seems to be denied."""
        is_trusted = self._read_at_s is not None and now_s - self._read_at_s < _TRUST_S
        return len(self._recordings) >= MANY and not is_trusted


def all_denied(bucket: str, detail: str) -> Misconfigured:
    """Return the error that tells an operator what to correct."""
    return Misconfigured(
        WHERE,
        f"Bucket {bucket} refuses the audio of {MANY} recordings in a row: {detail}. "
        "Grant s3:GetObject on it to this role, or correct RAW_AUDIO_BUCKET.",
    )


def return_for_later(detail: str) -> RetryDecision:
    """Return a denied recording to the queue for a while: the next one may be readable."""
    return RetryDecision(False, sentence(detail), after_s=_RETURN_S)
