"""Shared checkpoints: an object in the bucket and a fenced pointer in the record.

An object never changes: each checkpoint has its own key. The record's pointer says which one is current, and
only the holder of the record's token can change it, so a checkpoint written by a host that lost the job is
never read. The pointer's SHA-256 verifies the download. Calls block; run them in a lane.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import Optional

from supervisor.broker.in_flight import split_points
from supervisor.broker.ports.errors import Forbidden, JobRejected, LeaseLost, TryLater
from supervisor.broker.ports.job_request import JobRequest
from supervisor.broker.ports.ports import Applied, ObjectFacts, ObjectStore, RecordTable
from supervisor.broker.ports.streams import spool_errors
from supervisor.broker.rules import record_rules
from supervisor.broker.rules.record_rules import Pointer, RecordHold
from supervisor.contract.job_folder import CHECKPOINT

log = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024**2
_TOP = "checkpoints/"
_PROBE = f"{_TOP}permission-probe/none"


def prefix_of(request: JobRequest) -> str:
    """Return the key prefix of a recording's checkpoints."""
    return f"{_TOP}{request.user_id}/{request.recording_id}/"


def check_permissions(objects: ObjectStore, bucket: str) -> None:
    """Check that checkpoints can be written and deleted here, before one is written that can't be deleted.

    Raises Forbidden if a permission is missing.
    """
    objects.delete(bucket, _PROBE)
    objects.names(bucket, f"{_TOP}permission-probe/")
    with contextlib.suppress(JobRejected):  # readable, and not there
        objects.fetch(bucket, _PROBE, Path(os.devnull), _admit)


def share(
    records: RecordTable,
    objects: ObjectStore,
    bucket: str,
    request: JobRequest,
    hold: RecordHold,
    folder: Path,
    done_s: float,
    previous: Optional[Pointer],
) -> Pointer:
    """Upload the spool's checkpoint, point the record at it, and delete the previous one.

    Raises LeaseLost if the job is no longer ours; the uploaded object is deleted in that case.
    """
    # Copy to a name of our own first: the worker may replace its checkpoint during the upload.
    copy = folder / f"shared-{hold.token}"
    with spool_errors(copy):
        shutil.copyfile(folder / CHECKPOINT, copy)
    key = f"{prefix_of(request)}{hold.token}-{uuid.uuid4().hex[:12]}.json"
    pointer = Pointer(key, _sha256_of(copy), done_s)
    try:
        objects.put(bucket, pointer.key, copy, "application/json")
    finally:
        copy.unlink(missing_ok=True)
    change = record_rules.point(hold, pointer, split_points.read(folder))
    if not isinstance(records.update(request.record_key, change), Applied):
        objects.delete(bucket, pointer.key)
        raise LeaseLost("the record belongs to somebody else, or is published")
    if previous is not None:
        objects.delete(bucket, previous.key)
    return pointer


def download(
    objects: ObjectStore, bucket: str, request: JobRequest, pointer: Pointer, failures: int, folder: Path
) -> str:
    """Download the checkpoint into the job's folder; returns why the job must start over, or ""."""
    if failures:
        return "it failed before, and what it had reached may be why"
    if not pointer.key.startswith(prefix_of(request)):
        return "the record names a checkpoint that is not this recording's"
    part = folder / f"part-checkpoint-{pointer.sha256[:16]}"
    try:
        objects.fetch(bucket, pointer.key, part, _admit)
    except (Forbidden, JobRejected) as error:
        return str(error)
    if _sha256_of(part) != pointer.sha256:
        part.unlink()
        return "the checkpoint is not the one that the record names"
    with spool_errors(part):
        os.replace(part, folder / CHECKPOINT)
    return ""


def clear(objects: ObjectStore, bucket: str, request: JobRequest) -> None:
    """Delete all checkpoints of a finished recording; log those that can't be deleted."""
    try:
        for key in objects.names(bucket, prefix_of(request)):
            objects.delete(bucket, key)
    except (Forbidden, JobRejected) as error:
        # Not a reason to fail: the transcript is published. The permission existed at the first upload.
        log.warning(
            "checkpoints not removed",
            extra={"event": "checkpoints-not-removed", "job_id": request.job_id, "reason": str(error)},
        )


def delete_failed(records: RecordTable, objects: ObjectStore, bucket: str, request: JobRequest) -> None:
    """Delete the checkpoints that a FAILED record still names; called wherever such a record is read.

    The pointer is removed last: if this process dies in between, the next reader of the record finishes.
    """
    item = records.get(request.record_key) or {}
    if item.get("remState") == record_rules.FAILED and "remCheckpoint" in item:
        clear(objects, bucket, request)
        records.update(request.record_key, record_rules.forget_checkpoint())


def _admit(facts: ObjectFacts) -> None:
    if facts.size_bytes > MOST_BYTES:
        raise JobRejected(f"The checkpoint has {facts.size_bytes} bytes, more than {MOST_BYTES}.")


def _sha256_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise TryLater("spool", f"{path.parent}: {error.strerror}") from error
