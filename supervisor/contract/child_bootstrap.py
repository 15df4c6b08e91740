"""What a child process receives in its environment: socket, parent pid, settings.

The supervisor starts a child with the number of the inherited socket, its own pid and the child's settings as
JSON. These settings contain no secrets: only the broker receives credentials, in the standard AWS variables.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, field
from typing import TypeVar

from supervisor.contract import codec
from supervisor.contract.job_options import Options

LINK_FD = "REM_LINK_FD"
PARENT_PID = "REM_PARENT_PID"
SETTINGS = "REM_CHILD_SETTINGS"
INSTANCE_OPTION = "--life"  # for a process whose environment is unreadable: INSTANCE_VARIABLE's value
INSTANCE_VARIABLE = "REM_LIFE"  # "instance id/slot": marks every process that a supervisor started

T = TypeVar("T")


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of one worker."""

    slot: str
    model: str  # as configured; written into transcripts
    model_path: str  # a folder or file on this host; the worker never contacts a hub
    device: str  # cuda or cpu
    compute_type: str  # as CTranslate2 names them
    threads: int
    profile: str
    stacks_path: str  # SIGUSR2 writes all stacks to this file
    beat_s: float
    max_audio_s: float
    idle_beat_s: float = 10.0  # while it has no job
    engine: str = "faster-whisper"  # one of `engine/engines.py`
    options: Options = field(default_factory=Options)  # for a job that sets none itself
    log_level: str = "INFO"
    cpus: tuple[int, ...] = ()  # CPU affinity; empty: all CPUs
    checkpoint_s: float = 30.0  # interval between the checkpoints of a job
    recycle_jobs: int = 0  # the worker is recycled after this many jobs; 0: never
    recycle_s: float = 0.0  # or at this age; 0: never
    recycle_bytes: int = 0  # or at this resident memory; 0: never
    batch_size: int = 1  # the number of jobs whose windows are computed in one call
    chooses_rows: bool = False  # or fewer, where measurements show that to be faster


@dataclass(frozen=True)
class GpuwatchSettings:
    """Settings of gpuwatch. `pretend_path`: the file that describes simulated GPUs; empty: real ones."""

    xid: dict[str, str] = field(default_factory=dict)
    pretend_count: int = 0
    pretend_path: str = ""
    log_level: str = "INFO"


def link() -> socket.socket:
    """Take over the inherited socket. Raises KeyError if none was inherited."""
    return socket.socket(fileno=int(os.environ[LINK_FD]))


def parent_pid() -> int:
    """Return the pid of the supervisor that started this process."""
    return int(os.environ[PARENT_PID])


def settings(cls: type[T]) -> T:
    """Read this child's settings as `cls`."""
    return codec.from_plain(cls, json.loads(os.environ[SETTINGS]))


def dump_settings(value: object) -> str:
    """Serialize settings for the environment."""
    return json.dumps(codec.to_plain(value))
