"""Every message between the supervisor and its children, as frozen values. PURE.

One child has one link: a socket pair on which both sides write JSON lines (`framing.py`)
of the form `{"is": "<class name>", ...fields}`. `read` accepts only what that side may
send. Paths travel, payloads do not; a job is named by `job_id` on every link.

The way of one job, by message (B broker, S supervisor, W worker):

    W->S Room     S->B Wanted     B->S Ready     S->W Job     W->S Beat...     S->B Keep...
    W->S Staged   S->B Commit     B->S Done                   (or W->S Failed, S->B Fail, B->S Done)

On the way, again and again: W->S Checkpoint, S->B Checkpoint. Where there is no time to finish:
S->W PutDown, W->S Checkpoint, W->S Stopped; then another slot gets the job, or S->B Release.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from supervisor.contract import codec, framing
from supervisor.contract.device_messages import Act as Act
from supervisor.contract.device_messages import Device as Device
from supervisor.contract.device_messages import Devices as Devices
from supervisor.contract.device_messages import Fault as Fault
from supervisor.contract.device_messages import Look as Look
from supervisor.contract.device_messages import Xid as Xid


class Failure(str, enum.Enum):
    """Why a job did not end in a transcript. What follows is decided in `broker/outcome.py`."""

    REJECTED = "rejected"  # nobody can cure it: not audio, too long, no such key
    CRASH = "crash"  # the worker died while this job was alone in it
    FAILURE = "failure"  # an error in the engine that a second try may not repeat
    OUT_OF_MEMORY = "out-of-memory"
    DEPENDENCY = "dependency"  # network, throttling, storage: time cures it
    SICK_DEVICE = "sick-device"
    STALL = "stall"


class Ending(str, enum.Enum):
    """How the broker's part in a job ended."""

    DONE = "done"  # transcript in place, record complete, message gone
    FAILED = "failed"  # the record says FAILED and why
    RELEASED = "released"  # given back to the queue, to be tried again
    DROPPED = "dropped"  # no longer ours: lease lost, or somebody finished it


@dataclass(frozen=True)
class JobCard:
    """All that a worker needs of one job, and all that the supervisor knows of it.

    `folder` is the job's place in the spool. It holds `audio` (the recording as it was
    fetched) and maybe `checkpoint.json`, which says how to carry on. A worker writes
    `transcript.txt`, `transcript.json` and last `staged.json` into it, each by rename.
    `staged` is True where all three stood there already when the broker took the job over:
    then only the commit is missing.
    """

    job_id: str
    attempt: int
    folder: str
    audio_bytes: int
    recording_id: str
    user_id: str
    device_id: str
    staged: bool = False
    language: Optional[str] = None
    options: str = ""  # a JSON object of those that the message asks for: contract/options.py


@dataclass(frozen=True)
class Progress:
    """How far one begun job is. `phase` is decoding, transcribing or writing."""

    job_id: str
    phase: str
    done_s: float  # seconds of audio that are through this phase
    audio_s: float  # seconds of audio in all; 0 while unknown


# --- from every child ---------------------------------------------------------------


@dataclass(frozen=True)
class Up:
    """The child is ready for its work: a worker after its warm-up, a broker with its backend."""

    detail: str
    facts: dict[str, str] = field(default_factory=dict)


# --- from a worker ------------------------------------------------------------------


@dataclass(frozen=True)
class Room:
    """How many more jobs the worker would take now: an absolute number.

    `holding` is how many it counted as its own when it said so: a job that is on its way
    meanwhile takes one of the free places.
    """

    free: int
    holding: Optional[int] = None


@dataclass(frozen=True)
class Beat:
    """A sign of progress. `phase` is loading, warming, idle or working.

    `moves` counts all that was ever achieved (bytes read, windows decoded, tokens): a beat
    whose `moves` stands still proves a live thread, not a live worker.
    """

    phase: str
    moves: int
    jobs: tuple[Progress, ...] = ()


@dataclass(frozen=True)
class Staged:
    """The transcript stands in the job's folder, ready to be committed."""

    job_id: str
    audio_s: float
    took_s: float


@dataclass(frozen=True)
class Failed:
    """The worker gave a job up; the worker itself is well. `detail` is for people."""

    job_id: str
    failure: Failure
    detail: str


@dataclass(frozen=True)
class Checkpoint:
    """`checkpoint.json` in the job's folder says how to carry on after `done_s` seconds of audio.

    The supervisor passes it on to the broker, which keeps it for other machines.
    """

    job_id: str
    done_s: float


@dataclass(frozen=True)
class Stopped:
    """The job is put down, as was asked; what had been reached stands in its checkpoint, if in any."""

    job_id: str


# --- to a worker --------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """Transcribe this. `alone`: take no other job beside it (it is a suspect)."""

    card: JobCard
    alone: bool = False


@dataclass(frozen=True)
class StopJob:
    """Forget this job: its lease is lost or it was given back. Write nothing more of it."""

    job_id: str
    why: str


@dataclass(frozen=True)
class PutDown:
    """Write a checkpoint of this job where it stands and let it go; answer Stopped."""

    job_id: str
    why: str


@dataclass(frozen=True)
class Drain:
    """Finish what you have, take nothing more, end with exit 0 before `deadline_at_s`."""

    deadline_at_s: float


# --- from the broker ----------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """A job is claimed and its audio is in the spool. Sent again by a broker's heir."""

    card: JobCard


@dataclass(frozen=True)
class Adopted:
    """The heir of a dead broker has told all that it found: what is not named here is lost."""

    job_ids: tuple[str, ...]


@dataclass(frozen=True)
class Lost:
    """The lease of a job is lost: stop it, write nothing. The broker has let go already."""

    job_id: str
    why: str


@dataclass(frozen=True)
class Done:
    """The broker is through with a job, one way or another."""

    job_id: str
    ending: Ending
    reason: str = ""
    audio_s: float = 0.0


@dataclass(frozen=True)
class QueueState:
    """What the queue holds, as far as known, and what the broker has on its hands."""

    waiting: Optional[int]  # visible in the queue
    in_flight: Optional[int]  # received by somebody and not yet deleted
    fetching: int  # received by this broker, not yet Ready


@dataclass(frozen=True)
class Trouble:
    """Something outside does not answer. Sent once when it begins and once, with an
    empty `detail`, when it is over."""

    where: str  # queue, table, audio, transcripts, spool
    detail: str


# --- to the broker ------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """Receive at most so many jobs now: an absolute number, replaced by the next Wanted."""

    count: int


@dataclass(frozen=True)
class Keep:
    """These jobs move, or wait in line behind one that moves: go on extending their leases."""

    job_ids: tuple[str, ...]


@dataclass(frozen=True)
class Commit:
    """The transcript of this job stands in the spool: publish it."""

    job_id: str


@dataclass(frozen=True)
class Fail:
    """This job failed. The broker decides what follows and answers Done."""

    job_id: str
    failure: Failure
    detail: str


@dataclass(frozen=True)
class Release:
    """Give this job back to the queue now; uncounted. The broker answers Done."""

    job_id: str
    why: str


@dataclass(frozen=True)
class Leave:
    """Receive nothing more; finish commits, give back what else is held, end with exit 0.

    `deadline_at_s` is when the process will be killed. A broker that is told to leave
    still takes Commit, Fail and Release until the supervisor closes its end of the link.
    """

    deadline_at_s: float


FromWorker = Union[Up, Room, Beat, Staged, Failed, Checkpoint, Stopped]
ToWorker = Union[Job, StopJob, PutDown, Drain]
FromBroker = Union[Up, Ready, Adopted, Lost, Done, QueueState, Trouble]
ToBroker = Union[Wanted, Keep, Checkpoint, Commit, Fail, Release, Leave]
FromGpuwatch = Union[Up, Devices, Xid, Fault]
ToGpuwatch = Look
Message = Union[FromWorker, ToWorker, FromBroker, ToBroker, FromGpuwatch, ToGpuwatch]

FROM_WORKER = (Up, Room, Beat, Staged, Failed, Checkpoint, Stopped)
TO_WORKER = (Job, StopJob, PutDown, Drain)
FROM_BROKER = (Up, Ready, Adopted, Lost, Done, QueueState, Trouble)
TO_BROKER = (Wanted, Keep, Checkpoint, Commit, Fail, Release, Leave)
FROM_GPUWATCH = (Up, Devices, Xid, Fault)
TO_GPUWATCH = (Look,)


def write(message: Message) -> bytes:
    """Write one message as one line."""
    return framing.encode_line({"is": type(message).__name__, **codec.to_plain(message)})


def read(line: bytes, allowed: tuple[type, ...]) -> Any:
    """Read one line as one of `allowed`. Raises `framing.BadLine`, which says what is wrong."""
    plain = framing.decode_line(line)
    name = plain.pop("is", None)
    for cls in allowed:
        if cls.__name__ == name:
            try:
                return codec.from_plain(cls, plain)
            except codec.BadValue as error:
                raise framing.BadLine(str(error)[:300]) from error
    raise framing.BadLine(f"message {str(name)[:60]!r} is not expected on this link")
