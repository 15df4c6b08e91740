"""Log lines about a job in the broker, with their levels.

Lines hold names and numbers only: never a receipt handle, a signed URL or text of a transcript.
"""

from __future__ import annotations

import logging
from typing import Any

from supervisor.broker.in_flight.in_flight_types import LiveJob, Settled
from supervisor.contract import clock
from supervisor.contract.wire.messages import Ending

log = logging.getLogger(__name__)


def step(event: str, sentence: str, job: LiveJob, **more: Any) -> None:
    """Log one step of a job at DEBUG."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug(sentence, extra={"event": event, "job_id": job.id, "attempt": job.attempt, **more})


def ended(job: LiveJob, how: Settled, audio_s: float, transcript_key: str, is_news: bool = True) -> None:
    """Log the end of a job, once. ERROR if the recording failed for good and was not logged before."""
    request = job.request
    facts: dict[str, Any] = {
        "job_id": job.id,
        "outcome": how.ending.value,
        "user_id": request.user_id,
        "bucket": request.source.bucket,
        "key": request.source.key,
        "attempt": job.attempt or how.attempt,
    }
    if how.ending is Ending.DONE and transcript_key:
        facts["transcript_key"] = transcript_key
    if audio_s:
        facts["audio_s"] = round(audio_s, 2)
    if job.begun_at_s:
        facts["took_s"] = round(clock.now_s() - job.begun_at_s, 2)
    if how.reason:
        facts["reason"] = how.reason
    failed = how.ending is Ending.FAILED
    log.log(
        logging.ERROR if failed and is_news else logging.INFO,
        "job ended",
        extra={"event": "job-ended", **facts},
    )


def end_not_written(job: LiveJob, reason: str) -> None:
    """Log that the job's end could not be written to its record."""
    facts = {"job_id": job.id, "attempt": job.attempt, "reason": reason}
    log.error("record could not be updated", extra={"event": "record-not-updated", **facts})


def rejected(job_id: str, user_id: str, reason: str) -> None:
    """Log a message that can't become a job, as a final failure."""
    facts = {"job_id": job_id, "outcome": Ending.FAILED.value, "user_id": user_id, "reason": reason}
    log.error("message rejected", extra={"event": "message-rejected", **facts})
