"""Messages about jobs between supervisor, workers and broker. PURE.

A recording may be received again while a worker still has an earlier attempt. Therefore every message about a
job also names the attempt (JobCard.attempt); 0 means the receiver's current one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Optional


class Failure(str, enum.Enum):
    """Why a job produced no transcript. `broker/rules/retry_policy.py` decides what follows."""

    REJECTED = "rejected"  # permanent: not audio, too long, no such key
    CRASH = "crash"  # the worker exited while this was its only job
    FAILURE = "failure"  # an engine error that may not occur again
    OUT_OF_MEMORY = "out-of-memory"
    DEPENDENCY = "dependency"  # transient: network, throttling, storage
    SICK_DEVICE = "sick-device"
    STALL = "stall"


@dataclass(frozen=True)
class JobCard:
    """What a worker needs to know about a job, and all that the supervisor knows about it.

    `folder` is the job's folder in the spool. It contains `audio` (the recording as downloaded) and possibly
    `checkpoint.json`, from which the job resumes. A worker writes `transcript.txt`, `transcript.json` and
    last `staged.json` into it, each by rename. `staged` is True if all three existed when the broker adopted
    the job: only the commit is missing.
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
    options: str = ""  # a JSON object of the options in the message: contract/job_options.py


@dataclass(frozen=True)
class Progress:
    """The progress of a started job. `phase` is decoding, listening (for speech), transcribing or writing."""

    job_id: str
    phase: str
    done_s: float  # seconds of audio that this phase has processed
    audio_s: float  # seconds of audio in total; 0: not known yet
    attempt: int = 0


# --- from a worker ------------------------------------------------------------------


@dataclass(frozen=True)
class Room:
    """How many more jobs the worker can take now: an absolute number.

    `holding` is the number of jobs it had when it sent this: a job dispatched since then takes one of the
    free places. `rows`: how many jobs it computes in one call; `rows_fit`: the most that fit, after a larger
    call ran out of memory (None: none did). `token_ms`: milliseconds per token by number of rows, if the
    worker chooses that number. `windows`: how many it has computed, `full`, `fit` or `redone_REASON`
    (engine/whisper/fit_encoding.py).
    """

    free: int
    holding: Optional[int] = None
    rows: Optional[int] = None
    rows_fit: Optional[int] = None
    token_ms: dict[str, float] = field(default_factory=dict)
    windows: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Beat:
    """A heartbeat. `phase` is loading, warming, idle or working.

    `moves` counts all progress since the process started (bytes read, windows decoded, tokens). A heartbeat
    with an unchanged `moves` shows that a thread is alive, not that the worker makes progress.
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
    """`checkpoint.json` was written: the job can resume after `done_s` seconds of audio.

    The supervisor forwards this to the broker, which uploads the file for other hosts.
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
    """Transcribe this job. `alone`: run no other job beside it, since it is a suspect.

    `sharers`: the number of workers, including this one, that may share the parts of a long recording.
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
    """Stop this job: its lease is lost or it was returned to the queue. Write nothing more for it."""

    job_id: str
    why: str
    attempt: int = 0


@dataclass(frozen=True)
class PutDown:
    """Write a checkpoint of this job and suspend it; answer Stopped.

    `unbegun_only`: do nothing if the engine has already started on the job, so that no work is lost.
    """

    job_id: str
    why: str
    unbegun_only: bool = False
    attempt: int = 0


@dataclass(frozen=True)
class Drain:
    """Finish the current jobs, accept no more, exit with 0 before `deadline_at_s`."""

    deadline_at_s: float
