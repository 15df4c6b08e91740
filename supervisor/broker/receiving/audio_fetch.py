"""Downloads a job's audio, and its checkpoint and split points if there are any, into the spool."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from supervisor.broker.in_flight import checkpoint_store, split_points
from supervisor.broker.in_flight.in_flight_types import LiveJob
from supervisor.broker.ports.errors import TryLater
from supervisor.broker.ports.ports import ObjectFacts
from supervisor.broker.work.context import BrokerContext
from supervisor.contract.job_folder import AUDIO

log = logging.getLogger(__name__)


def fetch_audio(context: BrokerContext, job: LiveJob, seen: list[ObjectFacts]) -> ObjectFacts:
    """Download the audio, and the state of an earlier attempt. Runs in a lane.

    `seen` receives the object's facts, even if the object is then rejected.
    """
    request = job.request
    spool, key = context.spool, request.record_key
    folder = spool.empty(key)
    # The name contains the token: a late download of a lost job can't overwrite a newer attempt's file.
    part = folder / f"part-{job.hold.token}"
    if job.pointer is not None and context.shares:
        objects, bucket = context.backend.objects, context.backend.transcripts_bucket
        reason = checkpoint_store.download(objects, bucket, request, job.pointer, job.failures, folder)
        if reason:
            log.warning(
                "job starts from the beginning",
                extra={"event": "job-restarted", "job_id": job.id, "reason": reason},
            )
    if job.cuts is not None:
        split_points.write(job.cuts, folder)

    def admit(facts: ObjectFacts) -> None:
        seen[:] = [facts]  # also of a rejected object: the failure is this version's, not the key's
        spool.admit(key, facts.size_bytes)

    source = request.source
    facts = context.backend.objects.fetch(source.bucket, source.key, part, admit, source.version)
    _rename(part, folder / AUDIO)
    return facts


def _rename(part: Path, to: Path) -> None:
    try:
        os.replace(part, to)
    except OSError as error:
        raise TryLater("spool", f"{to}: {error.strerror}") from error
