"""Handles further messages about a recording in progress: the same job, unless the audio was replaced.

REM's messages name a key and not what lies there, so each of these costs one look at the object: other
bytes than those in work are a job of their own, after this one.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Union

from supervisor.broker.in_flight.in_flight_types import Lease, LiveJob, Settled
from supervisor.broker.ports.errors import BrokerError
from supervisor.broker.ports.job_request import JobRequest, Source
from supervisor.broker.work.context import BrokerContext
from supervisor.broker.work.executor import QUICK
from supervisor.broker.work.settlement import Settlement
from supervisor.contract.wire.messages import Ending

log = logging.getLogger(__name__)
PUT_BACK_S = 30.0  # another recording of the same name is being worked on
_AGAIN_S = 1.0  # until the audio in work is fetched, or the bucket answers


def is_same_work(one: JobRequest, other: JobRequest) -> bool:
    """Say whether two requests ask for the same, as far as their messages tell."""
    return one.user_id == other.user_id and one.source.is_same(other.source)


class Duplicates:
    """Compares what further messages are about with what is in work."""

    def __init__(self, context: BrokerContext, settlement: Settlement) -> None:
        self._context = context
        self._in_flight = context.in_flight
        self._settlement = settlement

    def compare(self, held: Lease, job: LiveJob, asked: Source) -> None:
        """Find out whether the audio that this message is about is what the job has fetched."""
        if asked.version or asked.etag:
            # An event of S3 says itself which bytes it means. Not at once: its message is being taken in.
            self._context.executor.after(0.0, lambda: self._compared(held, job, asked, asked))
            return
        objects = self._context.backend.objects

        def look() -> Source:
            found = objects.look(asked.bucket, asked.key)
            return asked if found is None else replace(asked, version=found.version, etag=found.etag)

        self._context.executor.do(QUICK, look, lambda outcome: self._compared(held, job, asked, outcome))

    def _compared(
        self, held: Lease, job: LiveJob, asked: Source, outcome: Union[Source, BrokerError]
    ) -> None:
        leases = self._in_flight.leases_of(job)
        if held not in leases or self._in_flight.jobs.get(job.id) is not job or len(leases) == 1:
            return  # one of them is over
        if isinstance(outcome, BrokerError) or job.source is None:
            self._context.executor.after(_AGAIN_S, lambda: self.compare(held, job, asked))
            return
        if job.source.is_same(outcome):
            return
        log.info(
            "audio was uploaded again during transcription",
            extra={"event": "audio-replaced", "job_id": job.id},
        )
        held.open.discard(job.id)
        why = "other audio of this name is being worked on"
        held.settled[job.id] = Settled(Ending.RELEASED, why, PUT_BACK_S)
        self._in_flight.save(held)
        if not held.open:
            self._settlement.close(held)
