"""Messages about jobs between supervisor, workers and broker. PURE.

A recording may be received again while a worker still has its earlier attempt. So every message about a
job names the attempt too (JobCard.attempt); 0 stands for the one that the receiver has.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Optional


class Failure(str, enum.Enum):
    """Why a job did not end in a transcript. `broker/rules/retry_policy.py` decides what follows."""

    REJECTED = "rejected"  # nobody can cure it: not audio, too long, no such key
    CRASH = "crash"  # the worker died while this job was alone in it
    FAILURE = "failure"  # an error in the engine that a second try may not repeat
    OUT_OF_MEMORY = "out-of-memory"
    DEPENDENCY = "dependency"  # network, throttling, storage: time cures it
    SICK_DEVICE = "sick-device"
    STALL = "stall"


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
    options: str = ""  # a JSON object of those that the message asks for: contract/job_options.py


@dataclass(frozen=True)
class Progress:
    """How far one begun job is. `phase` is decoding, listening (for speech), transcribing or writing."""

    job_id: str
    phase: str
    done_s: float  # seconds of audio that are through this phase
    audio_s: float  # seconds of audio in all; 0 while unknown
    attempt: int = 0


# --- from a worker ------------------------------------------------------------------


@dataclass(frozen=True)
class Room:
    """How many more jobs the worker can take now: an absolute number.

    `holding` is how many jobs it had when it sent this: a job dispatched meanwhile takes
    one of the free places. `rows`: how many it computes together; `rows_fit`: how
    many at most, since more of them ran out of memory (None: they never did). `token_ms`: what a
    token takes, by rows, where the worker chooses among them. `windows`: how many it has computed,
    `full`, `fit` or `redone_REASON` (engine/fit_encoding.py).
    """

    free: int
    holding: Optional[int] = None
    rows: Optional[int] = None
    rows_fit: Optional[int] = None
    token_ms: dict[str, float] = field(default_factory=dict)
    windows: dict[str, int] = field(default_factory=dict)


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
    """The transcript is in the job's folder, ready to be committed."""

    job_id: str
    audio_s: float
    took_s: float
    attempt: int = 0


@dataclass(frozen=True)
class Failed:
    """The worker could not finish a job; the worker itself is healthy. `detail` is for people."""

    job_id: str
    failure: Failure
    detail: str
    attempt: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """`checkpoint.json` in the job's folder says how to carry on after `done_s` seconds of audio.

    The supervisor passes it on to the broker, which keeps it for other machines.
    """

    job_id: str
    done_s: float
    attempt: int = 0


@dataclass(frozen=True)
class Stopped:
    """The job was suspended as requested; its progress is in its checkpoint, if there is one."""

    job_id: str
    attempt: int = 0


@dataclass(frozen=True)
class Parts:
    """This recording is split; `left` is the number of parts that another worker could take."""

    job_id: str
    left: int
    attempt: int = 0


@dataclass(frozen=True)
class Helped:
    """No part of another worker's recording is left to take."""

    job_id: str
    attempt: int = 0


# --- to a worker --------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """Transcribe this. `alone`: take no other job beside it (it is a suspect).

    `sharers`: among so many workers, this one included, the parts of a long recording may be shared.
    """

    card: JobCard
    alone: bool = False
    sharers: int = 1


@dataclass(frozen=True)
class Help:
    """Take parts of another worker's long recording until none is left; then send Helped."""

    card: JobCard
    sharers: int = 2  # as in Job


@dataclass(frozen=True)
class StopJob:
    """Forget this job: its lease is lost or it was given back. Write nothing more of it."""

    job_id: str
    why: str
    attempt: int = 0


@dataclass(frozen=True)
class PutDown:
    """Write a checkpoint of this job and suspend it; answer Stopped.

    `unbegun_only`: nothing is to be lost by it; once the engine had a window of the job, do nothing.
    """

    job_id: str
    why: str
    unbegun_only: bool = False
    attempt: int = 0


@dataclass(frozen=True)
class Drain:
    """Finish the current jobs, take no more, exit with 0 before `deadline_at_s`."""

    deadline_at_s: float
