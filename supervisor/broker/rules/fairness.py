"""Decides when a job that keeps failing yields its place to others. PURE.

A job that is retried in place keeps its lease, and at first its place too: during an outage, receiving more
messages would only use up their receives. If the error is specific to this job, or other jobs succeed
meanwhile, the job is set aside: it is retried on separate lanes, and another message is received.
"""

from __future__ import annotations

from supervisor.broker.ports.errors import Forbidden, Misconfigured, TryLater, Unexplained

ASIDE_MOST = 50  # jobs of one host; a guess: each costs a heartbeat and an occasional retry
UNANSWERED_S = 5.0  # a guess: an audio download that has not returned a byte for this long
_TRIES_IN_PLACE = 3  # a few seconds; then another job tests whether only this one fails
_SHARED_PLACES = ("spool", "broker", "queue")  # a full disk here, for example, affects every job


def concerns_one_recording(error: TryLater) -> bool:
    """Return whether an error concerns one recording only: its key is denied, or the error is unknown."""
    return error.where == "audio" and isinstance(error, (Forbidden, Unexplained))


def stands_aside(error: TryLater, tries: int, others_get_on: bool, aside_count: int) -> bool:
    """Return whether a job that failed with this error `tries` times in a row frees its place."""
    if error.where in _SHARED_PLACES or isinstance(error, Misconfigured) or aside_count >= ASIDE_MOST:
        return False
    return concerns_one_recording(error) or others_get_on or tries >= _TRIES_IN_PLACE
