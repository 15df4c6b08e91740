"""`jobs` and `redrive`: list the jobs known on this host, and retry failed ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

from supervisor.broker.backends.connect import envelope_policy
from supervisor.broker.backends.failed_jobs import FailedJob, FailedJobs
from supervisor.broker.backends.local_queue import LocalQueue
from supervisor.broker.in_flight.lease_journal import saved_jobs
from supervisor.broker.ports.backend import Backend
from supervisor.broker.ports.errors import Misconfigured, TryLater
from supervisor.broker.ports.job_request import JobRequest
from supervisor.broker.rules import record_rules
from supervisor.broker.rules.envelope import parse
from supervisor.broker.verbs.submit import message_of
from supervisor.contract import clock, timestamps
from supervisor.contract.exits import Exit
from supervisor.settings.schema import Settings

Emit = Callable[..., None]


def show_jobs(only_failed: bool, settings: Settings, backend: Backend, emit: Emit) -> int:
    """Print every job known here: in flight in this service, waiting in an embedded queue, or failed.

    For SQS also print the number of messages; the exit code is not OK if the queue can't be read.
    """
    state_dir = Path(settings.state_dir)
    if not only_failed:
        held = saved_jobs(state_dir / "leases")
        for job_id, user_id in sorted(held.items()):
            emit(id=job_id, user_id=user_id, state="in-flight", reason="")
        for body, is_in_flight in _queued(backend):
            for job in parse(body, envelope_policy(settings, backend)).jobs:
                if job.job_id not in held:
                    emit(
                        id=job.job_id,
                        user_id=job.user_id,
                        state="in-flight" if is_in_flight else "waiting",
                        reason="",
                    )
    for failed in FailedJobs(state_dir).newest_first():
        emit(
            id=failed.id,
            user_id=failed.user_id,
            state="failed",
            reason=failed.reason,
            failure=failed.failure,
            attempt=failed.attempt,
            failed_at=timestamps.iso_utc(failed.failed_unix_s),
        )
    if backend.kind == "aws" and not only_failed:
        return _count_elsewhere(backend, emit)
    return Exit.OK


def _count_elsewhere(backend: Backend, emit: Emit) -> int:
    """Print the queue's message counts; SQS shows the messages themselves only to a receiver."""
    try:
        counts = backend.beat_queue.counts()
    except TryLater as error:
        emit(event="unknown", reason=str(error))
        return Exit.SETTINGS_WRONG if isinstance(error, Misconfigured) else Exit.FAILED
    emit(event="queue", waiting=counts.waiting, in_flight=counts.in_flight)
    return Exit.OK


def redrive(ids: Optional[Sequence[str]], settings: Settings, backend: Backend, emit: Emit) -> int:
    """Put failed jobs back into the queue: these, or all (None). Returns 1 if any could not be."""
    failed_jobs = FailedJobs(Path(settings.state_dir))
    known = {job.id: job for job in failed_jobs.newest_first()}
    code = Exit.OK
    for job_id in known if ids is None else ids:
        reason = _try_again(known.get(job_id), settings, backend)
        if reason:
            emit(event="refused", id=job_id, reason=reason)
            code = Exit.FAILED
        else:
            failed_jobs.forget(job_id)
            emit(event="queued", id=job_id)
    return code


def _try_again(failed: Optional[FailedJob], settings: Settings, backend: Backend) -> str:
    """Reopen the record and send the message; returns why not, or an empty text."""
    if failed is None:
        return "No failed job of this id is known here; `jobs --failed` lists them."
    jobs = parse(failed.body, envelope_policy(settings, backend)).jobs
    wanted = [job for job in jobs if job.job_id == failed.id] or list(jobs)
    if not wanted:
        return "Its message is unusable and would fail again the same way."
    for job in wanted:
        backend.records.update(job.record_key, record_rules.reopen(clock.wall_unix_s()))
        _send_again(job, failed, backend)
    return ""


def _send_again(job: JobRequest, failed: FailedJob, backend: Backend) -> None:
    """Send a new message, and remove the embedded queue's dead letter."""
    names = {"recordingId": job.recording_id, "deviceId": job.device_id}
    backend.queue.send(json.dumps(message_of(job)), names)
    if isinstance(backend.queue, LocalQueue):
        backend.queue.forget_dead(failed.message_id)


def _queued(backend: Backend) -> list[tuple[str, bool]]:
    return backend.queue.waiting_bodies() if isinstance(backend.queue, LocalQueue) else []
