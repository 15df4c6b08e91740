"""States, events and commands of a slot. PURE."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional, Union


class SlotState(str, enum.Enum):
    STARTING = "starting"  # a process exists; waiting until it is ready
    READY = "ready"
    DRAINING = "draining"  # asked to finish by a deadline
    KILLING = "killing"  # a signal was sent; waiting for the exit
    BACKOFF = "backoff"  # waiting before the next start
    HELD = "held"  # not started until the device is proven healthy or an operator releases it
    STOPPED = "stopped"  # not started until requested


_S = SlotState
MOVES: Mapping[SlotState, frozenset[SlotState]] = {
    _S.STOPPED: frozenset({_S.STARTING, _S.HELD}),
    _S.STARTING: frozenset({_S.READY, _S.DRAINING, _S.KILLING, _S.STARTING, _S.BACKOFF, _S.HELD}),
    _S.READY: frozenset({_S.DRAINING, _S.KILLING, _S.STARTING, _S.BACKOFF, _S.HELD}),
    _S.DRAINING: frozenset({_S.KILLING, _S.STARTING, _S.STOPPED, _S.BACKOFF, _S.HELD}),
    _S.KILLING: frozenset({_S.STARTING, _S.BACKOFF, _S.HELD, _S.STOPPED}),
    _S.BACKOFF: frozenset({_S.STARTING, _S.STOPPED, _S.HELD}),
    _S.HELD: frozenset({_S.STARTING, _S.STOPPED}),
}
"""Legal transitions. STARTING to STARTING: a process exited during its start and was replaced."""

ALIVE = frozenset({_S.STARTING, _S.READY, _S.DRAINING, _S.KILLING})
"""States in which a process exists or is being started."""


class Next(str, enum.Enum):
    """What follows after the process exits."""

    RESTART = "restart"
    REST = "rest"
    HOLD = "hold"  # its device is faulty: held until it is proven healthy


class Signalled(str, enum.Enum):
    """Which signal a process in KILLING was sent."""

    NO = ""
    STACKS = "stacks"  # asked to write its stacks; SIGKILL follows
    KILL = "kill"  # SIGKILL was sent
    LOST = "lost"  # it did not exit after SIGKILL


class Hold(str, enum.Enum):
    """Why a slot is held, which decides how the hold ends."""

    NO = ""
    CRASH_LOOP = "crash-loop"  # retried after `probe_s`
    DEVICE = "device"  # the worker reported it: retried after `probe_s`
    PROOF = "proof"  # until its device is proven healthy, or an operator releases it
    SETTINGS = "settings"  # until an operator acts


@dataclass(frozen=True)
class Policy:
    """The budgets of one kind of child. All lengths in seconds."""

    start_s: float = 180.0
    silence_s: float = 30.0  # a ready child that sends no message
    stall_s: float = 300.0  # a ready child that sends heartbeats without progress
    stall_decoding_s: float = 60.0  # the same, decoding; `stall_budget.py` adds to it for long recordings
    stall_writing_s: float = 60.0  # the same, writing its results
    hold_after: int = 5
    probe_s: float = 300.0
    backoff_first_s: float = 0.5
    backoff_most_s: float = 60.0
    calm_s: float = 60.0  # ready this long: earlier failures are forgotten
    dump_s: float = 2.0  # from the request for stacks to SIGKILL
    gone_s: float = 5.0  # from SIGKILL to the alarm
    blocked_s: float = 5.0  # between two tries to lock a place that another process holds
    reserve_s: float = 5.0  # SIGKILL this long before a drain's deadline
    listen_s: float = 1.0  # after a pause of the supervisor: unread messages are read before a late kill
    may_hold: bool = True  # never for broker and gpuwatch
    drains_while_starting: bool = False  # the broker: it may hold leases before it is ready
    may_leave_behind: bool = False  # gpuwatch: a process that hangs in the driver is replaced, once
    queues_start: bool = False  # workers: a start waits in a queue, without a budget


@dataclass(frozen=True)
class Slot:
    """One child's place, and the state of its current process."""

    name: str
    kind: str  # worker, broker or gpuwatch
    state: SlotState = SlotState.STOPPED
    reason: str = "not started yet"
    hold: Hold = Hold.NO
    next: Next = Next.RESTART
    pid: int = 0
    since_s: float = 0.0  # when the current state began
    spawned_at_s: float = 0.0
    ready_at_s: Optional[float] = None  # of the current process
    moved_at_s: float = 0.0  # when it last made progress
    stall_budget_s: float = 0.0  # how long it may make no progress; 0: the policy's `stall_s`
    phase: str = ""  # the phase that determines `stall_budget_s`
    at_fault: bool = False  # in KILLING: it hung or violated the protocol; not a requested end
    wake_at_s: Optional[float] = None  # when this state needs a Tick
    signalled: Signalled = Signalled.NO
    failures: int = 0  # failed runs since it last worked
    restarts: int = 0
    left_behind_pid: int = 0  # an earlier process that survives SIGKILL; 0: none


# --- events -------------------------------------------------------------------------


@dataclass(frozen=True)
class Begin:
    """Start this slot (first start, resume, or release by an operator)."""


@dataclass(frozen=True)
class Queued:
    """Its start waits until other workers are ready: no budget runs meanwhile."""

    why: str


@dataclass(frozen=True)
class Spawned:
    pid: int


@dataclass(frozen=True)
class SpawnFailed:
    why: str
    jitter_ratio: float = 1.0
    blocked: bool = False  # another process holds its place: no failure, it is tried again


@dataclass(frozen=True)
class BecameReady:
    pass


@dataclass(frozen=True)
class Heartbeat:
    """A message arrived. `moved`: the child made progress, or is idle.

    `stall_budget_s`: how long it may make no progress in `phase`; 0: the policy's `stall_s`.
    """

    moved: bool = True
    stall_budget_s: float = 0.0
    phase: str = ""


@dataclass(frozen=True)
class FinishedJob:
    """Proof that the slot works: earlier failures are forgotten."""


@dataclass(frozen=True)
class Tick:
    """`wake_at_s` has come."""


@dataclass(frozen=True)
class SupervisorPaused:
    """The supervisor itself did not run for the last `lost_s` seconds, and read no message."""

    lost_s: float


@dataclass(frozen=True)
class BeginDrain:
    """Finish the current jobs before `deadline_at_s`; then `next`."""

    deadline_at_s: float
    why: str
    next: Next = Next.REST


@dataclass(frozen=True)
class Kill:
    """Kill the process now; then `next`. `fault`: because of its own fault."""

    why: str
    next: Next = Next.RESTART
    fault: bool = False


@dataclass(frozen=True)
class HoldIt:
    """Hold this slot until an operator releases it (the model is not available, say). With
    Hold.PROOF: until its device is healthy; a running process is killed too."""

    why: str
    hold: Hold = Hold.SETTINGS


@dataclass(frozen=True)
class Exited:
    """The process exited and was reaped.

    `charged`: whether a failed run counts against the slot (one with a suspect job does not).
    `jitter_ratio` is drawn by the caller, 0 to 1.
    """

    returncode: int
    charged: bool = True
    jitter_ratio: float = 1.0
    said: str = ""  # the reason in the process's last output
    cure: str = ""  # what to do about a cause that would end replacements too: hold until an operator acts


@dataclass(frozen=True)
class LeftBehindExited:
    """The process that was left behind has exited after all."""


Event = Union[
    Begin,
    Queued,
    Spawned,
    SpawnFailed,
    BecameReady,
    Heartbeat,
    FinishedJob,
    Tick,
    SupervisorPaused,
    BeginDrain,
    Kill,
    HoldIt,
    Exited,
    LeftBehindExited,
]

# --- commands -----------------------------------------------------------------------


@dataclass(frozen=True)
class Spawn:
    """Start the child. Answer Spawned or SpawnFailed."""


@dataclass(frozen=True)
class QueueStart:
    """Queue the start. Answer Queued while it waits, then as to Spawn."""


@dataclass(frozen=True)
class Signal:
    """Send this signal; SIGKILL goes to the whole process group."""

    signum: int


@dataclass(frozen=True)
class TellDrain:
    """Send the child a Drain: finish before `deadline_at_s`."""

    deadline_at_s: float


@dataclass(frozen=True)
class LeaveBehind:
    """Abandon a process that survives SIGKILL: ignore its messages, and reap it if it ever exits."""


@dataclass(frozen=True)
class Alarm:
    """Operator attention needed."""

    text: str
    device_uuid: str = ""  # of the slot's device, where it has one


ProcessCommand = Union[Spawn, Signal, TellDrain, LeaveBehind, Alarm]
Command = Union[ProcessCommand, QueueStart]
Decision = tuple[Slot, tuple[Command, ...]]
