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
    DRAINING = "draining"  # asked to; workers still finish
    DRAINED = "drained"  # no workers, nothing received, `resume` works
    STOPPING = "stopping"  # the process ends when all is finished or given back


@dataclass
class Member:
    """A slot, and what its child told of itself."""

    slot: Slot
    policy: sl.Policy
    free: int = 0  # places for jobs, after what was given
    places: int = 0  # for jobs, free or not
    job_s: Optional[float] = None  # how long one is in work, of late
    rows: Optional[int] = None  # jobs that its worker computes together
    token_ms: Mapping[str, float] = field(default_factory=dict)  # by rows, as measured
    moves: int = -1
    last_message_at_s: float = 0.0  # its last word, whatever it was
    facts: Mapping[str, str] = field(default_factory=dict)
    done: int = 0
    failed: int = 0
    audio_s_done: float = 0.0
    took_s: float = 0.0
    device: str = ""  # of a worker: the UUID of its GPU or MIG device; empty on the CPU
    parent: str = ""  # the GPU of a MIG device
    load: Optional[Load] = None  # what its next process loads
    need_bytes: int = 0  # of the device's memory; 0: not known
    refusal: str = ""  # why nothing may start here, until settings change
    gone_at_s: float = 0.0  # when its last process was reaped
    by_device: bool = False  # its process was told to go for the device's sake
    blocked_since_s: Optional[float] = None  # somebody else is in its place


@dataclass
class Totals:
    done: int = 0
    failed: int = 0
    released: int = 0
    crashed: int = 0


# --- events -------------------------------------------------------------------------


@dataclass(frozen=True)
class MessageReceived:
    """A child said something on its link."""

    name: str
    message: Any  # one of FROM_WORKER, FROM_BROKER, FROM_GPUWATCH; checked by the reader


@dataclass(frozen=True)
class SlotEvent:
    """Something of one slot alone: Spawned, SpawnFailed, Kill, HoldIt, Begin."""

    name: str
    event: sl.Event


@dataclass(frozen=True)
class Died:
    """A child is reaped. `out_of_memory`: the kernel says that it lacked memory; None: can't tell."""

    name: str
    returncode: int
    jitter_ratio: float
    out_of_memory: Optional[bool] = False
    said: str = ""  # its last words on why, where it had any
    cure: str = ""  # where those words say that no successor can do better without it


@dataclass(frozen=True)
class DrainSlots:
    """Finish by the deadline and rest; no names: all workers, and the host is drained."""

    names: tuple[str, ...]
    deadline_at_s: float
    why: str
    next: sl.Next = sl.Next.REST


@dataclass(frozen=True)
class Resume:
    """Begin what rests or is held; no names: all."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class ReleaseSlot:
    """A person vouches for a held slot and its device: begin it."""

    name: str


@dataclass(frozen=True)
class Stop:
    """End the process: finish or give back by the deadline. A second one: now. `fails`: it can't work on."""

    deadline_at_s: float
    why: str
    fails: bool = False


@dataclass(frozen=True)
class Due:
    """`next_wake_s()` has come."""


@dataclass(frozen=True)
class Paused:
    """The supervisor did not run for the last `lost_s` seconds, and nobody was heard."""

    lost_s: float


PoolEvent = Union[MessageReceived, SlotEvent, Died, DrainSlots, Resume, ReleaseSlot, Stop, Due, Paused]

# --- actions ------------------------------------------------------------------------


@dataclass(frozen=True)
class ForSlot:
    """Carry a slot's command out."""

    name: str
    command: sl.ProcessCommand


@dataclass(frozen=True)
class Send:
    """Send this message to the child in that slot, if there is one."""

    name: str
    message: m.Message


@dataclass(frozen=True)
class Note:
    """Log this: a constant sentence and its facts."""

    level: str
    sentence: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Crashed:
    """A child died without being told to: record what is known, while it is known."""

    was: Slot  # as it was before its death
    death: str
    returncode: int
    out_of_memory: Optional[bool]  # None: can't tell
    jobs: tuple[str, ...]
    xids: tuple[int, ...] = ()  # that the driver told of its device lately


@dataclass(frozen=True)
class RefitWorker:
    """What fits into memory was learnt anew: the next process of this slot loads what fits."""

    name: str


@dataclass(frozen=True)
class EndProcess:
    """All is done: the supervisor ends with this code."""

    code: Exit
    why: str


Action = Union[ForSlot, Send, Note, Crashed, RefitWorker, EndProcess]


def move_note(was: Slot, now: Slot) -> Note:
    """Say that a slot moved: an error where it is held, a warning where we coped."""
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
