"""Handles further messages about a recording in progress: the same job, unless the audio was replaced.

REM's messages name a key, not a version, so each of them costs one GetObject call, whose body is not read.
If the object differs from the audio in progress, the message is a separate job that runs after this one.
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
PUT_BACK_S = 30.0  # other audio under the same id is in progress
_AGAIN_S = 1.0  # until the audio is downloaded, or the bucket answers


def is_same_work(one: JobRequest, other: JobRequest) -> bool:
    """Return whether two requests are for the same audio, as far as their messages show."""
    return one.user_id == other.user_id and one.source.is_same(other.source)


class Duplicates:
    """Compares the audio of further messages with the audio in progress."""

    def __init__(self, context: BrokerContext, settlement: Settlement) -> None:
        self._context = context
        self._in_flight = context.in_flight
        self._settlement = settlement

    def compare(self, lease: Lease, job: LiveJob, asked: Source) -> None:
        """Check whether this message's audio is the audio that the job downloaded."""
        if asked.version or asked.etag:
            # An S3 event names its version. Deferred, because the message is still being added.
            self._context.executor.after(0.0, lambda: self._compared(lease, job, asked, asked))
            return
        objects = self._context.backend.objects

        def read_source() -> Source:
            found = objects.look(asked.bucket, asked.key)
            return asked if found is None else replace(asked, version=found.version, etag=found.etag)

        self._context.executor.do(
            QUICK, read_source, lambda outcome: self._compared(lease, job, asked, outcome)
        )

    def _compared(
        self, lease: Lease, job: LiveJob, asked: Source, outcome: Union[Source, BrokerError]
    ) -> None:
        leases = self._in_flight.leases_of(job)
        if lease not in leases or self._in_flight.jobs.get(job.id) is not job or len(leases) == 1:
            return  # the job or one of its leases has ended
        if isinstance(outcome, BrokerError) or job.source is None:
            self._context.executor.after(_AGAIN_S, lambda: self.compare(lease, job, asked))
            return
        if job.source.is_same(outcome):
            return
        log.info(
            "audio was uploaded again during transcription",
            extra={"event": "audio-replaced", "job_id": job.id},
        )
        lease.open.discard(job.id)
        why = "other audio of this name is being worked on"
        lease.settled[job.id] = Settled(Ending.RELEASED, why, PUT_BACK_S)
        self._in_flight.save(lease)
        if not lease.open:
            self._settlement.settle_message(lease)
