"""`submit`: uploads audio to the raw bucket under REM's keys, creates the record, sends REM's message.

Works with or without a service on this host. The upload comes first, then the record, then the message: if
this process dies in between, an unreferenced object remains, never a job without audio.
"""

from __future__ import annotations

import json
import re
import stat
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from supervisor.broker.ports.backend import Backend
from supervisor.broker.ports.errors import JobRejected, TryLater
from supervisor.broker.ports.job_request import JobRequest, Source
from supervisor.broker.ports.ports import Item, ObjectFacts
from supervisor.broker.rules import record_rules
from supervisor.contract import clock
from supervisor.contract.exits import Exit
from supervisor.settings.schema import Settings

Emit = Callable[..., None]
DEVICE_ID = "submit"
_FIRST_POLL_S = 0.2
_LONGEST_POLL_S = 2.0
_LOCAL_POLL_S = 0.005  # per awaited recording: one poll takes a hundredth of that
_MIN_LOCAL_POLL_S, _MAX_LOCAL_POLL_S = 0.02, 0.2
_AUDIO_TYPE = "application/octet-stream"
_MAX_STEM_CHARS = 100


@dataclass(frozen=True)
class SubmitRequest:
    """The request's options, without the files."""

    language: Optional[str] = None
    force: bool = False
    options: str = ""  # a JSON object
    into: Optional[Path] = None
    wait: bool = False


@dataclass(frozen=True)
class Submitted:
    """One submitted file."""

    file: str
    request: JobRequest


def submit(
    files: Sequence[Path], submission: SubmitRequest, settings: Settings, backend: Backend, emit: Emit
) -> int:
    """Enqueue every usable file. Returns 0 if all were, and with `wait` if all have transcripts."""
    code = Exit.OK
    waiting = []
    for file in files:
        refusal = _refusal(file, settings.spool.max_file_bytes)
        if refusal:
            emit(event="refused", file=str(file), reason=refusal)
            code = Exit.FAILED
            continue
        request = _request(file, submission, settings.aws.default_user_id, backend.raw_bucket)
        _enqueue(file, request, backend)
        emit(event="queued", file=str(file), id=request.job_id)
        waiting.append(Submitted(str(file), request))
    if submission.wait and not _wait_for(waiting, submission.into, backend, emit):
        code = Exit.FAILED
    return code


def _refusal(file: Path, max_bytes: int) -> str:
    """Return why a file can't be submitted; empty if it can."""
    try:
        facts = file.stat()
        if stat.S_ISDIR(facts.st_mode):
            return f"{file} is a folder. Name the files in it."
        if not stat.S_ISREG(facts.st_mode):
            return f"{file} is not a regular file."
        with open(file, "rb"):
            pass
    except OSError as error:
        return f"{file} can't be read: {error.strerror}."
    except ValueError as error:
        return f"That can't be a file's name: {error}."
    if facts.st_size == 0:
        return f"{file} is empty (0 bytes)."
    if facts.st_size > max_bytes:
        return f"{file} has {facts.st_size} bytes; the largest allowed is {max_bytes} (spool.max_file_bytes)."
    return ""


def _request(file: Path, submission: SubmitRequest, user_id: str, bucket: str) -> JobRequest:
    now_ns = time.time_ns()
    at = time.gmtime(now_ns // 10**9)
    # Nanoseconds keep the ids of one command's files distinct.
    moment = f"{time.strftime('%Y%m%dT%H%M%S', at)}.{now_ns % 10**9:09d}Z"
    suffix = file.suffix.lower() if re.fullmatch(r"\.\w{1,8}", file.suffix, re.ASCII) else ".wav"
    key = f"raw/{DEVICE_ID}/{time.strftime('%Y/%m/%d', at)}/{DEVICE_ID}_{moment}_{moment}{suffix}"
    stem = re.sub(r"[^A-Za-z0-9.-]+", "-", file.stem).strip("-.")[:_MAX_STEM_CHARS] or "audio"
    return JobRequest(
        f"{stem}-{uuid.uuid4().hex[:8]}",
        user_id,
        DEVICE_ID,
        Source(bucket, key),
        moment,
        moment,
        submission.language,
        submission.force,
        submission.options,
    )


def message_of(request: JobRequest) -> dict[str, Any]:
    """Build a request's message as REM's dispatcher would, with our optional fields where set."""
    message: dict[str, Any] = {
        "recordingId": request.recording_id,
        "bucket": request.source.bucket,
        "key": request.source.key,
        "userId": request.user_id,
        "deviceId": request.device_id,
        "startedAt": request.started_at,
        "endedAt": request.ended_at,
    }
    if request.language:
        message["language"] = request.language
    if request.force:
        message["force"] = True
    if request.options:
        message["options"] = json.loads(request.options)
    return message


def _enqueue(file: Path, request: JobRequest, backend: Backend) -> None:
    backend.objects.put(request.source.bucket, request.source.key, file, _AUDIO_TYPE)
    backend.records.update(request.record_key, record_rules.uploaded(request, clock.wall_unix_s()))
    names = {"recordingId": request.recording_id, "deviceId": request.device_id}
    backend.queue.send(json.dumps(message_of(request)), names)


def _wait_for(waiting: list[Submitted], into: Optional[Path], backend: Backend, emit: Emit) -> bool:
    """Print each file's result when it arrives; True if all have transcripts."""
    all_done = True
    poll_s = _FIRST_POLL_S
    while waiting:
        still = []
        for one in waiting:
            item = _read(one, backend)
            if item.get("remState") == record_rules.DONE:
                _save(one, item, into, backend, emit)
            elif item.get("remState") == record_rules.FAILED:
                all_done = False
                reason = str(item.get("remReason", ""))
                emit(event="failed", id=one.request.job_id, file=one.file, reason=reason)
            else:
                still.append(one)
        if backend.kind == "local":
            poll_s = max(_MIN_LOCAL_POLL_S, min(_MAX_LOCAL_POLL_S, len(still) * _LOCAL_POLL_S))
        else:
            poll_s = _FIRST_POLL_S if len(still) < len(waiting) else min(_LONGEST_POLL_S, poll_s * 1.3)
        waiting = still
        if waiting:
            time.sleep(poll_s)
    return all_done


def _read(one: Submitted, backend: Backend) -> Item:
    try:
        return backend.records.get(one.request.record_key) or {}
    except TryLater:
        return {}  # the table does not answer now; retried


def _save(one: Submitted, item: Item, into: Optional[Path], backend: Backend, emit: Emit) -> None:
    """Download both files of a finished transcript into the folder and print their paths."""
    paths = {"json": "", "txt": ""}
    json_key = str(item.get("transcriptS3Key", ""))
    if into is not None:
        for suffix in paths:
            target = into / f"{one.request.recording_id}.{suffix}"
            target.unlink(missing_ok=True)
            key = f"{json_key[: -len('json')]}{suffix}"
            backend.objects.fetch(backend.transcripts_bucket, key, target, _admit_any)
            paths[suffix] = str(target)
    emit(
        event="done",
        id=one.request.job_id,
        file=one.file,
        json_path=paths["json"],
        text_path=paths["txt"],
        json_key=json_key,
    )


def _admit_any(facts: ObjectFacts) -> None:
    """Accept any size."""
    if facts.size_bytes > 2**30:
        raise JobRejected(f"The transcript has {facts.size_bytes} bytes.")
