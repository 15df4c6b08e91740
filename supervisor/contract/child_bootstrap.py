"""What a child process receives in its environment: socket, parent pid, settings.

The supervisor starts a child with the inherited socket's number, its own pid and the
child's settings as JSON. Nothing in these settings is secret: credentials
travel to the broker alone, as the usual AWS names.
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
INSTANCE_OPTION = "--life"  # the same on the command line, for a process that hides its environment
INSTANCE_VARIABLE = "REM_LIFE"  # "instance id/slot": marks every process that a supervisor started

T = TypeVar("T")


@dataclass(frozen=True)
class WorkerSettings:
    """All that one worker needs to know before its first job."""

    slot: str
    model: str  # as configured: the name that goes into transcripts
    model_path: str  # a folder on this host; the worker never asks a hub
    device: str  # cuda or cpu
    compute_type: str  # as CTranslate2 names them
    threads: int
    profile: str
    stacks_path: str  # SIGUSR2 writes all stacks to this file
    beat_s: float
    max_audio_s: float
    idle_beat_s: float = 10.0  # `beat_s` while there is something to tell
    options: Options = field(default_factory=Options)  # of a job that asks for none of its own
    log_level: str = "INFO"
    cpus: tuple[int, ...] = ()  # to run on; empty: wherever the kernel likes
    checkpoint_s: float = 30.0  # between two checkpoints of a job
    recycle_jobs: int = 0  # the worker is recycled after this many jobs; 0: never
    recycle_s: float = 0.0  # the same for its age
    recycle_bytes: int = 0  # the same for its resident memory
    batch_size: int = 1  # windows of so many jobs are computed in one call
    chooses_rows: bool = False  # or one by one, where that is faster by measure


@dataclass(frozen=True)
class GpuwatchSettings:
    """What the watching child needs. `pretend_path`: the file of simulated GPUs, empty for real ones."""

    xid: dict[str, str] = field(default_factory=dict)
    pretend_count: int = 0
    pretend_path: str = ""
    log_level: str = "INFO"


def link() -> socket.socket:
    """Take over the inherited socket. Raises KeyError if none was inherited."""
    return socket.socket(fileno=int(os.environ[LINK_FD]))


def parent_pid() -> int:
    """Give the pid of the supervisor that started this process."""
    return int(os.environ[PARENT_PID])


def settings(cls: type[T]) -> T:
    """Read this child's settings as `cls`."""
    return codec.from_plain(cls, json.loads(os.environ[SETTINGS]))


def dump_settings(value: object) -> str:
    """Write settings as the environment carries them."""
    return json.dumps(codec.to_plain(value))
