"""Decides whether access is denied to one recording or to all of them. PURE.

S3 answers 403 for a key that is not there, where s3:ListBucket is not granted, and for a role that may read
nothing. One such answer is taken for the recording's own; several recordings in a row, with none read lately,
for the role's: their jobs are kept aside, not refused in turn, and others are tried. Where many are
kept, nothing more is received.
"""

from __future__ import annotations

from typing import Optional

from supervisor.broker.ports.errors import Misconfigured
from supervisor.broker.rules.retry_policy import RetryDecision, sentence

MANY = 3  # a guess: different recordings in a row
HOLD_S = 600.0  # a guess: then the next one may show that it was these recordings after all
_TRUST_S = 600.0  # a guess: a role that read something so lately may read
_AWAY_S = 3_600.0  # a guess: meanwhile others of the queue have their turn
WHERE = "reading"  # no proof can show it, a fetch alone


class RefusedAudio:
    """The recordings that were refused since one was read."""

    def __init__(self) -> None:
        self._recordings: set[str] = set()
        self._read_at_s: Optional[float] = None

    def read_one(self, now_s: float) -> None:
        """Note that a recording was read: the role may read."""
        self._recordings.clear()
        self._read_at_s = now_s

    def refuse(self, job_id: str) -> None:
        """Note a refusal."""
        if len(self._recordings) < MANY:
            self._recordings.add(job_id)

    def is_everybodys(self, now_s: float) -> bool:
        """Say whether all audio seems to be refused."""
        is_trusted = self._read_at_s is not None and now_s - self._read_at_s < _TRUST_S
        return len(self._recordings) >= MANY and not is_trusted


def all_refused(bucket: str, detail: str) -> Misconfigured:
    """Say it as what only a person can correct."""
    return Misconfigured(
        WHERE,
        f"Bucket {bucket} refuses the audio of {MANY} recordings in a row: {detail}. "
        "Grant s3:GetObject on it to this role, or correct RAW_AUDIO_BUCKET.",
    )


def give_way(detail: str) -> RetryDecision:
    """Give a refused recording back for a while: the next one may be read."""
    return RetryDecision(False, sentence(detail), after_s=_AWAY_S)
