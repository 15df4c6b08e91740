"""The messages between the supervisor and its children, as frozen dataclasses. PURE.

Each child has one link, a socket pair, on which both sides write JSON lines (`framing.py`) of the form
`{"is": "<class name>", ...fields}`. `read` rejects messages that the other side may not send. Messages carry
paths, never file contents; a job is identified by `job_id` and `attempt` on every link.

The messages of one job (B broker, S supervisor, W worker):

    W->S Room     S->B Wanted     B->S Ready     S->W Job     W->S Beat...     S->B Keep...
    W->S Staged   S->B Commit     B->S Done                   (or W->S Failed, S->B Fail, B->S Done)

In between, repeatedly: W->S Checkpoint, S->B Checkpoint. If there is no time to finish: S->W PutDown, W->S
Checkpoint, W->S Stopped; then another slot gets the job, or S->B Release.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from supervisor.contract import codec
from supervisor.contract.wire import framing
from supervisor.contract.wire.device_messages import Act as Act
from supervisor.contract.wire.device_messages import Device as Device
from supervisor.contract.wire.device_messages import Devices as Devices
from supervisor.contract.wire.device_messages import Fault as Fault
from supervisor.contract.wire.device_messages import Look as Look
from supervisor.contract.wire.device_messages import Xid as Xid
from supervisor.contract.wire.job_messages import Beat as Beat
from supervisor.contract.wire.job_messages import Checkpoint as Checkpoint
from supervisor.contract.wire.job_messages import Drain as Drain
from supervisor.contract.wire.job_messages import Failed as Failed
from supervisor.contract.wire.job_messages import Failure as Failure
from supervisor.contract.wire.job_messages import Help as Help
from supervisor.contract.wire.job_messages import Helped as Helped
from supervisor.contract.wire.job_messages import Job as Job
from supervisor.contract.wire.job_messages import JobCard as JobCard
from supervisor.contract.wire.job_messages import Parts as Parts
from supervisor.contract.wire.job_messages import Progress as Progress
from supervisor.contract.wire.job_messages import PutDown as PutDown
from supervisor.contract.wire.job_messages import Room as Room
from supervisor.contract.wire.job_messages import Staged as Staged
from supervisor.contract.wire.job_messages import StopJob as StopJob
from supervisor.contract.wire.job_messages import Stopped as Stopped


class Ending(str, enum.Enum):
    """How the broker settled a job."""

    DONE = "done"  # transcript published, record completed
    FAILED = "failed"  # the record has the status FAILED and the reason
    RELEASED = "released"  # returned to the queue for another attempt
    DROPPED = "dropped"  # lease lost, or another worker finished the job


# --- from every child ---------------------------------------------------------------


@dataclass(frozen=True)
class Up:
    """The child is ready: a worker has warmed up, or a broker is connected to its backend."""

    detail: str
    facts: dict[str, str] = field(default_factory=dict)


# --- from the broker ----------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """A job is claimed and its audio is in the spool. A replacement broker sends it again."""

    card: JobCard


@dataclass(frozen=True)
class Adopted:
    """A replacement broker has reported all jobs that it found: a job that is not listed here is lost."""

    job_ids: tuple[str, ...]


@dataclass(frozen=True)
class Lost:
    """The lease of a job is lost: stop the job and write nothing. The broker has dropped it already."""

    job_id: str
    why: str


@dataclass(frozen=True)
class Done:
    """The broker has settled a job."""

    job_id: str
    ending: Ending
    reason: str = ""
    audio_s: float = 0.0


@dataclass(frozen=True)
class QueueState:
    """The number of messages in the queue, if known, and of jobs in flight in the broker."""

    waiting: Optional[int]  # visible in the queue
    in_flight: Optional[int]  # received by a consumer and not yet deleted
    fetching: int  # received by this broker, not yet Ready


@dataclass(frozen=True)
class Trouble:
    """A dependency does not respond. Sent when an outage begins and, with an empty `detail`, when it ends."""

    where: str  # queue, table, audio, transcripts or spool; settings: an operator must correct them
    detail: str


# --- to the broker ------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """Receive at most this many jobs now: an absolute number, replaced by the next Wanted."""

    count: int


@dataclass(frozen=True)
class Keep:
    """These jobs make progress or wait for a slot: continue to extend their leases.

    `samples_bytes`: what their decoded samples now use of the spool's disk, in unnamed files.
    """

    job_ids: tuple[str, ...]
    samples_bytes: int = 0


@dataclass(frozen=True)
class Commit:
    """The transcript of this job is in the spool: publish it."""

    job_id: str
    attempt: int = 0  # as in JobCard; 0: the current one


@dataclass(frozen=True)
class Fail:
    """This job failed. The broker decides what follows and answers Done."""

    job_id: str
    failure: Failure
    detail: str
    attempt: int = 0  # as in JobCard; 0: the current one


@dataclass(frozen=True)
class Release:
    """Return this job to the queue now, without counting the attempt. The broker answers Done."""

    job_id: str
    why: str
    attempt: int = 0  # as in JobCard; 0: the current one


@dataclass(frozen=True)
class Leave:
    """Receive no more jobs; finish commits, release all other jobs, exit with 0.

    `deadline_at_s` is when the process will be killed. After Leave, a broker still accepts Commit, Fail and
    Release until the supervisor closes its end of the link.
    """

    deadline_at_s: float


FromWorker = Union[Up, Room, Beat, Staged, Failed, Checkpoint, Stopped, Parts, Helped]
ToWorker = Union[Job, Help, StopJob, PutDown, Drain]
FromBroker = Union[Up, Ready, Adopted, Lost, Done, QueueState, Trouble]
ToBroker = Union[Wanted, Keep, Checkpoint, Commit, Fail, Release, Leave]
FromGpuwatch = Union[Up, Devices, Xid, Fault]
ToGpuwatch = Look
Message = Union[FromWorker, ToWorker, FromBroker, ToBroker, FromGpuwatch, ToGpuwatch]

FROM_WORKER = (Up, Room, Beat, Staged, Failed, Checkpoint, Stopped, Parts, Helped)
TO_WORKER = (Job, Help, StopJob, PutDown, Drain)
FROM_BROKER = (Up, Ready, Adopted, Lost, Done, QueueState, Trouble)
TO_BROKER = (Wanted, Keep, Checkpoint, Commit, Fail, Release, Leave)
FROM_GPUWATCH = (Up, Devices, Xid, Fault)
TO_GPUWATCH = (Look,)


def write(message: Message) -> bytes:
    """Serialize one message as one line."""
    return framing.encode_line({"is": type(message).__name__, **codec.to_plain(message)})


def read(line: bytes, allowed: tuple[type, ...]) -> Any:
    """Parse one line as a message of a class in `allowed`. Raises `framing.BadLine`, which says why."""
    plain = framing.decode_line(line)
    name = plain.pop("is", None)
    for cls in allowed:
        if cls.__name__ == name:
            try:
                return codec.from_plain(cls, plain)
            except codec.BadValue as error:
                raise framing.BadLine(str(error)[:300]) from error
    raise framing.BadLine(f"message {str(name)[:60]!r} is not expected on this link")
