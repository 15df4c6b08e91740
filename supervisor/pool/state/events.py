"""Events and actions of the pool. PURE."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from supervisor.contract.exits import Exit
from supervisor.contract.wire import messages as m
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.oom_fallback import Load
from supervisor.pool.state.slot_types import Slot, SlotState

BROKER = "broker"
GPUWATCH = "gpuwatch"


class Mode(str, enum.Enum):
    RUNNING = "running"
    DRAINING = "draining"  # a drain was requested; workers still finish
    DRAINED = "drained"  # no worker runs, no job is received; `resume` ends it
    STOPPING = "stopping"  # the process ends when all jobs are finished or released


@dataclass
class Member:
    """A slot, and what its child reported about itself."""

    slot: Slot
    policy: sl.Policy
    free: int = 0  # free places for jobs, after those dispatched
    places: int = 0  # for jobs, free or taken
    job_s: Optional[float] = None  # how long one takes, as a moving average
    rows: Optional[int] = None  # jobs that its worker computes in one batch
    token_ms: Mapping[str, float] = field(default_factory=dict)  # by rows, as measured
    windows: Mapping[str, int] = field(default_factory=dict)  # that its worker computed, by kind
    moves: int = -1
    last_message_at_s: float = 0.0  # when its last message arrived
    facts: Mapping[str, str] = field(default_factory=dict)
    done: int = 0
    failed: int = 0
    audio_s_done: float = 0.0
    took_s: float = 0.0
    device: str = ""  # of a worker: the UUID of its GPU or MIG device; empty on the CPU
    parent: str = ""  # the GPU of a MIG device
    load: Optional[Load] = None  # the model that its next process loads
    need_bytes: int = 0  # of the device's memory; 0: not known
    refusal: str = ""  # why no process may start here until settings change
    gone_at_s: float = 0.0  # when its last process was reaped
    by_device: bool = False  # its process was ended because of its device
    blocked_since_s: Optional[float] = None  # another process holds its place's lock


@dataclass
class Totals:
    done: int = 0
    failed: int = 0
    released: int = 0
    crashed: int = 0


# --- events -------------------------------------------------------------------------


@dataclass(frozen=True)
class MessageReceived:
    """A message arrived on a child's link."""

    name: str
    message: Any  # one of FROM_WORKER, FROM_BROKER, FROM_GPUWATCH; checked by the reader


@dataclass(frozen=True)
class SlotEvent:
    """An event of a single slot: Spawned, SpawnFailed, Kill, HoldIt, Begin."""

    name: str
    event: sl.Event


@dataclass(frozen=True)
class Died:
    """A child was reaped. `out_of_memory`: the OOM killer ended it; None: not known."""

    name: str
    returncode: int
    jitter_ratio: float
    out_of_memory: Optional[bool] = False
    said: str = ""  # the reason in its last output lines, if any
    cure: str = ""  # what to do, if a replacement would fail in the same way


@dataclass(frozen=True)
class DrainSlots:
    """Drain workers by the deadline; no names: all workers, and the host is drained."""

    names: tuple[str, ...]
    deadline_at_s: float
    why: str
    next: sl.Next = sl.Next.REST


@dataclass(frozen=True)
class Resume:
    """Start stopped and held slots; no names: all."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class ReleaseSlot:
    """An operator releases a held slot and its device: start it."""

    name: str


@dataclass(frozen=True)
class Stop:
    """End the process: settle jobs by the deadline. A second Stop: now. `fails`: exit as failed."""

    deadline_at_s: float
    why: str
    fails: bool = False


@dataclass(frozen=True)
class Due:
    """The time given by `next_wake_s()` has come."""


@dataclass(frozen=True)
class Paused:
    """The supervisor did not run for the last `lost_s` seconds, and read no message."""

    lost_s: float


PoolEvent = Union[MessageReceived, SlotEvent, Died, DrainSlots, Resume, ReleaseSlot, Stop, Due, Paused]

# --- actions ------------------------------------------------------------------------


@dataclass(frozen=True)
class ForSlot:
    """Carry out a slot's command."""

    name: str
    command: sl.ProcessCommand


@dataclass(frozen=True)
class Send:
    """Send a message to the child in a slot, if there is one."""

    name: str
    message: m.Message


@dataclass(frozen=True)
class Note:
    """Log a constant sentence and its facts."""

    level: str
    sentence: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Crashed:
    """A child exited unexpectedly: write a crash record while the facts are known."""

    was: Slot  # the slot before the exit
    death: str
    returncode: int
    out_of_memory: Optional[bool]  # None: not known
    jobs: tuple[str, ...]
    xids: tuple[int, ...] = ()  # that the driver recently reported for its device


@dataclass(frozen=True)
class RefitWorker:
    """The out-of-memory fallback changed: the next process of this slot loads what fits."""

    name: str


@dataclass(frozen=True)
class EndProcess:
    """End the supervisor with this code."""

    code: Exit
    why: str


Action = Union[ForSlot, Send, Note, Crashed, RefitWorker, EndProcess]


def move_note(was: Slot, now: Slot) -> Note:
    """Log a change of state: an error if the slot is held, a warning if a fault was handled."""
    coped = now.state is SlotState.BACKOFF or (now.state is SlotState.KILLING and now.at_fault)
    level = "error" if now.state is SlotState.HELD else "warning" if coped else "info"
    facts = {
        "event": "slot-state-changed",
        "slot": now.name,
        "was": was.state.value,
        "now": now.state.value,
    }
    if now.reason:
        facts["reason"] = now.reason
    return Note(level, "slot state changed", {**facts, "pid": now.pid or was.pid})
