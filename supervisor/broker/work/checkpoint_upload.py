"""Uploads checkpoints for other hosts, one at a time per job.

A newer checkpoint waits for the upload in progress and replaces one that waited before. A release waits for
the upload too, so that the next host resumes from the latest checkpoint, but only for a limited time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Optional, Union

from supervisor.broker.in_flight import checkpoint_store
from supervisor.broker.in_flight.in_flight_types import LiveJob, Phase
from supervisor.broker.ports.errors import BrokerError, Forbidden, LeaseLost, TryLater
from supervisor.broker.rules import permissions
from supervisor.broker.rules.record_rules import Pointer
from supervisor.broker.work.context import BrokerContext
from supervisor.broker.work.executor import COMMIT
from supervisor.broker.work.settlement import Settlement
from supervisor.contract import clock

log = logging.getLogger(__name__)
_RETRY_S = 600.0  # permissions and credentials may be corrected meanwhile
_RELEASE_WAIT_S = 10.0  # a guess: losing a checkpoint costs less than losing the machine before the release


@dataclass
class _Upload:
    """One job's upload in progress."""

    job: LiveJob
    next_done_s: Optional[float] = None  # a newer checkpoint waits
    release_why: Optional[str] = None  # release the job when all uploads are done


class CheckpointUpload:
    """Uploads checkpoints if the settings and permissions allow it."""

    def __init__(self, context: BrokerContext, settlement: Settlement) -> None:
        self._context = context
        self._settlement = settlement
        self._uploads: dict[str, _Upload] = {}  # by job id
        self._is_permitted = False  # permissions were tested
        self._not_before_s = 0.0

    def share(self, job: LiveJob, done_s: float) -> None:
        """Upload a new checkpoint from the job's folder."""
        if not self._may_share():
            return
        upload = self._uploads.get(job.id)
        if upload is not None and upload.job is job:
            upload.next_done_s = done_s
            return
        self._uploads[job.id] = _Upload(job)
        self._begin(self._uploads[job.id], done_s)

    def release(self, job: LiveJob, why: str) -> None:
        """Release the job when no upload of it is in progress, or after a timeout."""
        upload = self._uploads.get(job.id)
        if upload is None or upload.job is not job:
            self._settlement.release(job, why)
        elif upload.release_why is None:
            upload.release_why = why
            self._context.executor.after(_RELEASE_WAIT_S, lambda: self._release_if_asked(upload))

    def _may_share(self) -> bool:
        return self._context.shares and clock.now_s() >= self._not_before_s

    def _begin(self, upload: _Upload, done_s: float) -> None:
        context, job = self._context, upload.job
        backend, is_permitted = context.backend, self._is_permitted
        folder, before = context.spool.folder(job.request.record_key), job.pointer

        def share() -> Pointer:
            if not is_permitted:
                checkpoint_store.check_permissions(backend.objects, backend.transcripts_bucket)
            return checkpoint_store.share(
                backend.records,
                backend.objects,
                backend.transcripts_bucket,
                job.request,
                job.hold,
                folder,
                done_s,
                before,
            )

        context.executor.do(COMMIT, share, lambda outcome: self._ended(upload, outcome))

    def _ended(self, upload: _Upload, outcome: Union[Pointer, BrokerError]) -> None:
        job, context = upload.job, self._context
        facts = {"job_id": job.id, "attempt": job.attempt}
        if isinstance(outcome, Pointer):
            self._is_permitted = True
            job.pointer = outcome
            for lease in context.in_flight.leases_of(job):
                context.in_flight.save(lease)
            log.info(
                "checkpoint shared",
                extra={"event": "checkpoint-shared", **facts, "done_s": round(outcome.done_s, 2)},
            )
        elif isinstance(outcome, Forbidden):
            self._not_before_s = clock.now_s() + _RETRY_S
            context.missing.report(*permissions.CHECKPOINTS)
        elif isinstance(outcome, LeaseLost):
            job.renew_at_s = clock.now_s()  # renew at once, to learn what happened to the record
        elif isinstance(outcome, TryLater):
            log.warning(
                "checkpoint not shared",
                extra={"event": "checkpoint-not-shared", **facts, "reason": outcome.detail},
            )
        done_s, upload.next_done_s = upload.next_done_s, None
        is_ours = context.in_flight.is_at(job, Phase.READY)
        if done_s is not None and is_ours and self._may_share() and not isinstance(outcome, LeaseLost):
            self._begin(upload, done_s)
            return
        if self._uploads.get(job.id) is upload:
            del self._uploads[job.id]
        self._release_if_asked(upload)

    def _release_if_asked(self, upload: _Upload) -> None:
        why, upload.release_why = upload.release_why, None
        if why is not None and self._context.in_flight.is_at(upload.job, Phase.READY):
            self._settlement.release(upload.job, why)
