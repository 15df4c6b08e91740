"""`doctor`'s checks of the backend.

The checks change no job (the embedded backend creates its folder). Write access is tested where that is
harmless; elsewhere the finding says that it was not tested.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Callable, TypeVar, Union

from supervisor.broker.backends import connect as backends
from supervisor.broker.in_flight import checkpoint_store
from supervisor.broker.ports.backend import Backend
from supervisor.broker.ports.errors import (
    CREDENTIALS,
    BrokerError,
    CannotServe,
    Forbidden,
    JobRejected,
    Misconfigured,
    TryLater,
)
from supervisor.broker.ports.ports import Change, Equals, ObjectFacts, RecordKey
from supervisor.broker.rules import permissions
from supervisor.contract.exits import Exit
from supervisor.contract.finding import Finding
from supervisor.settings.schema import Settings

if TYPE_CHECKING:
    from supervisor.broker.backends.sqs import SqsQueue

T = TypeVar("T")
Emit = Callable[..., None]
_PROBE = "rem-supervisor-check"  # an id that no recording has
_LEAST_RECEIVES = 10
_NEED_CREDENTIALS = ("queue", "table", "audio", "transcripts")
_NEED_QUEUE = {"aws": ("permissions on the queue", "redrive"), "local": ()}
_LOW_DISK_BYTES = 1024**3


def check(settings: Settings, emit: Emit) -> int:
    """Print every finding; 1 if any is a failure."""
    code = Exit.OK
    for finding in findings(settings):
        emit(check=finding.check, state=finding.state, detail=finding.detail, cure=finding.cure)
        if finding.state == "fail":
            code = Exit.FAILED
    return code


def findings(settings: Settings) -> Iterator[Finding]:
    """Check everything outside this process that the broker needs."""
    yield _check_spool(settings)
    try:
        backend = backends.connect(settings)
    except (CannotServe, TryLater) as error:
        yield Finding("backend", "fail", str(error), "Correct the settings named there.")
        return
    if backend.kind == "aws":
        credentials = _check_credentials(backend)
        yield credentials
        if credentials.state == "fail":
            # The other checks would fail for the same reason, with misleading advice.
            yield from (_skipped(name, "without credentials") for name in _NEED_CREDENTIALS)
            return
    yield from _check_queue(backend)
    yield _check_table(backend, settings)
    yield _check_audio(backend)
    transcripts = _check_transcripts(backend)
    yield transcripts
    if backend.kind != "aws" or not settings.spool.share_checkpoints:
        return
    if transcripts.state == "fail":
        yield _skipped(f"permission {permissions.CHECKPOINTS[0]}", "without the bucket of transcripts")
    else:
        yield _check_checkpoints(backend)


def _check_spool(settings: Settings) -> Finding:
    folder = Path(settings.state_dir)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return Finding(
            "spool", "fail", f"{existing} can't be written", "Give it to this user or set REM_STATE_DIR."
        )
    free_bytes = shutil.disk_usage(existing).free
    detail = f"{folder}, {free_bytes // 2**20} MiB free"
    if free_bytes < max(_LOW_DISK_BYTES, settings.spool.max_file_bytes // 2):
        return Finding("spool", "warn", detail, "Make room: jobs wait while their audio does not fit.")
    return Finding("spool", "ok", detail)


def _check_credentials(backend: Backend) -> Finding:
    """Check that there are credentials and that AWS accepts them: any answer to a call shows that."""
    found = _result_of(backend.credentials_from)
    if isinstance(found, BrokerError):
        return _failed("credentials", found, "", "")
    proof = _result_of(lambda: backend.prove())
    if isinstance(proof, Misconfigured) and proof.where == CREDENTIALS:
        return _failed("credentials", proof, "", "")
    return Finding("credentials", "ok", f"found in: {found}")


def _check_queue(backend: Backend) -> Iterator[Finding]:
    counts = _result_of(backend.beat_queue.counts)
    if isinstance(counts, BrokerError):
        yield _failed("queue", counts, "sqs:GetQueueAttributes", "SQS_QUEUE_URL")
        if not isinstance(counts, Forbidden):
            yield from (_skipped(name, "without the queue") for name in _NEED_QUEUE[backend.kind])
            return
    else:
        detail = f"{backend.detail}: {counts.waiting} waiting, {counts.in_flight} in flight"
        yield Finding("queue", "ok", detail)
    if backend.kind != "aws":
        return
    holds = _result_of(backend.beat_queue.can_hold)
    yield from _permission_finding(
        "sqs:ChangeMessageVisibility",
        holds,
        "leases can be extended and given back",
        permissions.HOLD[1],
        "Grant it to this role for short leases and immediate release.",
    )
    yield from _check_sending(backend)
    yield from _check_redrive(backend)


def _check_sending(backend: Backend) -> Iterator[Finding]:
    from supervisor.broker.backends.sqs import SqsQueue

    queue = backend.beat_queue
    if not isinstance(queue, SqsQueue):
        return
    yield from _permission_finding(
        "sqs:SendMessage",
        _result_of(queue.can_send),
        "messages can be enqueued and replaced by copies",
        f"{permissions.SEND[1]}; submit and redrive can't enqueue",
        "Grant it to this role on the queue itself.",
    )
    yield from _check_dead_letters(queue)


def _check_dead_letters(queue: SqsQueue) -> Iterator[Finding]:
    """Check that the queue's dead-letter queue exists and may be written to."""
    found = _result_of(queue.find_dead_letters)
    if isinstance(found, BrokerError) or (found.exist and not found.url):
        yield _skipped(f"permission {permissions.BURY[0]}", "the queue's redrive policy can't be read")
        return
    if not found.exist:
        return
    name = found.url.rsplit("/", 1)[-1]
    granted = _result_of(lambda: queue.can_bury(found.url))
    if isinstance(granted, Misconfigured) and granted.where != CREDENTIALS:
        yield Finding(
            "dead-letter queue",
            "fail",
            f"{name}, which the queue's redrive policy names, can't be used ({_aws_message(granted)}): "
            "failed messages return to the queue until their retention ends",
            f"Create {name} in the account and region of the queue, or correct the queue's redrive policy.",
        )
        return
    yield from _permission_finding(
        permissions.BURY[0],
        granted,
        f"failed messages go to {name} at once",
        permissions.BURY[1],
        f"Grant sqs:SendMessage on {name} to this role.",
    )


def _aws_message(error: Misconfigured) -> str:
    import botocore.exceptions  # slow to import: only where boto3 is in use

    from supervisor.broker.backends.aws_errors import describe

    cause = error.__cause__
    return describe(cause) if isinstance(cause, botocore.exceptions.ClientError) else error.detail


def _permission_finding(
    right: str, granted: Union[bool, BrokerError, None], good: str, costs: str, cure: str
) -> Iterator[Finding]:
    """Return whether an optional permission is granted; nothing if the check does not apply (None)."""
    name = f"permission {right}"
    if isinstance(granted, BrokerError):
        variable = _endpoint_variable(granted, "queue")
        checked = f"{variable} and the network" if variable else "the network"
        yield Finding(name, "fail", f"no answer: {granted}", f"Check {checked} and run this again.")
    elif granted:
        yield Finding(name, "ok", good)
    elif granted is False:
        yield Finding(name, "warn", f"not granted: {costs}", cure)


def _check_redrive(backend: Backend) -> Iterator[Finding]:
    from supervisor.broker.backends.sqs import SqsQueue

    queue = backend.beat_queue
    most = _result_of(queue.receives_most) if isinstance(queue, SqsQueue) else None
    if isinstance(most, BrokerError):
        yield _skipped("redrive", "the queue's attributes can't be read")
        return
    if most is None:
        yield Finding(
            "redrive",
            "warn",
            "the queue has no dead-letter queue: failed messages are deleted once their records say FAILED",
            "Give the queue a redrive policy.",
        )
    elif most < _LEAST_RECEIVES:
        yield Finding(
            "redrive",
            "warn",
            f"maxReceiveCount is {most}: SQS counts each return to the queue, and moves a good job to the "
            f"dead-letter queue after {most} of them",
            f"Set it to {_LEAST_RECEIVES} or more.",
        )
    else:
        yield Finding("redrive", "ok", f"maxReceiveCount is {most}")


def _check_table(backend: Backend, settings: Settings) -> Finding:
    key = RecordKey(_PROBE, _PROBE)
    # A condition that never holds tests the permission to update without changing anything.
    never = Change(Equals("remToken", _PROBE), put={"remState": _PROBE})
    answer = _result_of(lambda: (backend.beat_records.get(key), backend.beat_records.update(key, never)))
    if isinstance(answer, BrokerError):
        return _failed("table", answer, "dynamodb:GetItem and dynamodb:UpdateItem", "DYNAMODB_TABLE")
    return Finding("table", "ok", settings.aws.table if backend.kind == "aws" else "records beside the queue")


def _check_audio(backend: Backend) -> Finding:
    answer = _result_of(lambda: _ask_bucket(backend, backend.raw_bucket, "audio"))
    if isinstance(answer, Forbidden):
        detail = (
            f"bucket {backend.raw_bucket} answers 403, and AWS does not say which it is: no right to read, "
            "a bucket of another account, or only no right to list"
        )
        return Finding(
            "audio", "warn", detail, "Grant s3:GetObject; with s3:ListBucket missing keys are told apart."
        )
    if isinstance(answer, TryLater):
        return _failed("audio", answer, "s3:GetObject", "RAW_AUDIO_BUCKET")
    return Finding("audio", "ok", f"bucket {backend.raw_bucket} answers")


def _check_transcripts(backend: Backend) -> Finding:
    # Reading a missing key shows that the bucket exists; write access shows only by writing.
    answer = _result_of(lambda: _ask_bucket(backend, backend.transcripts_bucket, "transcripts"))
    if isinstance(answer, TryLater) and not isinstance(answer, Forbidden):
        return _failed("transcripts", answer, "s3:PutObject", "TRANSCRIPTS_BUCKET")
    answers = "exists (it answers 403 to a read)" if isinstance(answer, Forbidden) else "answers"
    detail = f"bucket {backend.transcripts_bucket} {answers}; writing was not tried"
    return Finding("transcripts", "ok", detail)


def _ask_bucket(backend: Backend, bucket: str, where: str) -> None:
    """Read an object that does not exist: "not found" is the expected answer."""
    if backend.kind == "aws":
        from supervisor.broker.backends.s3 import S3Objects

        if isinstance(backend.objects, S3Objects):
            backend.objects.prove(bucket, where)
            return
    backend.objects.fetch(bucket, _PROBE, Path(os.devnull), _reject_object)


def _check_checkpoints(backend: Backend) -> Finding:
    answer = _result_of(
        lambda: checkpoint_store.check_permissions(backend.objects, backend.transcripts_bucket)
    )
    right, costs = permissions.CHECKPOINTS
    if isinstance(answer, Forbidden):
        cure = "Grant them to this role, or set [spool] share_checkpoints = false."
        return Finding(f"permission {right}", "warn", f"not granted: {costs}", cure)
    if isinstance(answer, BrokerError):
        return _failed("checkpoints", answer, right, "TRANSCRIPTS_BUCKET")
    return Finding(f"permission {right}", "ok", "other machines can carry on with what this one gives back")


def _result_of(call: Callable[[], T]) -> Union[T, BrokerError]:
    try:
        return call()
    except BrokerError as error:
        return error


def _reject_object(facts: ObjectFacts) -> None:
    raise JobRejected(f"there is an object called {_PROBE}")


def _skipped(check_name: str, why: str) -> Finding:
    return Finding(check_name, "skip", f"skipped: {why}")


def _failed(check_name: str, error: BrokerError, rights: str, setting: str) -> Finding:
    if isinstance(error, Misconfigured):
        found, _, cure = error.detail.rpartition(". ")  # the last sentence says what to do
        return Finding(check_name, "fail", found, cure)
    if isinstance(error, Forbidden):
        return Finding(
            check_name, "fail", error.detail, f"Grant {rights} to this role, or correct its credentials."
        )
    variable = _endpoint_variable(error, check_name)
    first = f"{variable}, which says where this is sent, " if variable else ""
    return Finding(check_name, "fail", str(error), f"Check {first}{setting}, the region and the network.")


def _endpoint_variable(error: BrokerError, check_name: str) -> str:
    """Return the variable that overrides AWS's endpoint for a failed call; empty if none is set."""
    if type(error.__cause__).__module__.split(".")[0] != "botocore":
        return ""
    service = {"queue": "SQS", "table": "DYNAMODB"}.get(check_name, "S3")
    names = (f"AWS_ENDPOINT_URL_{service}", "AWS_ENDPOINT_URL")
    return next((name for name in names if os.environ.get(name)), "")
