"""States, events and commands of a slot. PURE."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional, Union


class SlotState(str, enum.Enum):
    STARTING = "starting"  # a process exists; waiting for it to say that it is ready
    READY = "ready"
    DRAINING = "draining"  # asked to finish by a deadline
    KILLING = "killing"  # a signal is sent; waiting for the reaping
    BACKOFF = "backoff"  # waiting before the next start
    HELD = "held"  # not started again until there is proof or a person's word
    STOPPED = "stopped"  # rests until somebody begins it


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
"""Legal moves. STARTING to STARTING is a life that ended at once and is followed by the next."""

ALIVE = frozenset({_S.STARTING, _S.READY, _S.DRAINING, _S.KILLING})
"""States in which a process exists (or is being made)."""


class Next(str, enum.Enum):
    """What follows once the process is gone."""

    RESTART = "restart"
    REST = "rest"
    HOLD = "hold"  # its device is in trouble: held until that is proven well


class Signalled(str, enum.Enum):
    """How far the ending of a process in KILLING has come."""

    NO = ""
    STACKS = "stacks"  # asked to write its stacks; SIGKILL follows
    KILL = "kill"  # SIGKILL is sent
    LOST = "lost"  # it does not die after SIGKILL


class Hold(str, enum.Enum):
    """Why a slot is held, which says how the hold ends."""

    NO = ""
    CRASH_LOOP = "crash-loop"  # probed half-open
    DEVICE = "device"  # the worker said so: probed half-open
    PROOF = "proof"  # by its device, which is looked at; or by a person
    SETTINGS = "settings"  # by a person only


@dataclass(frozen=True)
class Policy:
    """The budgets of one kind of child. All lengths in seconds."""

    start_s: float = 180.0
    silence_s: float = 30.0  # a ready child that says nothing at all
    stall_s: float = 300.0  # a ready child that talks but gets nowhere, where no other budget is told
    stall_decoding_s: float = 60.0  # the same, decoding; `stall_budget.py` adds to it for long recordings
    stall_writing_s: float = 60.0  # the same, writing its results
    hold_after: int = 5
    probe_s: float = 300.0
    backoff_first_s: float = 0.5
    backoff_most_s: float = 60.0
    calm_s: float = 60.0  # a ready life this long forgets earlier failures
    dump_s: float = 2.0  # from the request for stacks to SIGKILL
    gone_s: float = 5.0  # from SIGKILL to the alarm
    blocked_s: float = 5.0  # between two tries to take a place that somebody else has
    reserve_s: float = 5.0  # SIGKILL this long before a drain's deadline
    listen_s: float = 1.0  # after a pause of ours: what was said meanwhile is read before a late kill
    may_hold: bool = True  # never for broker and gpuwatch
    drains_while_starting: bool = False  # the broker: it may hold leases before it is ready
    may_leave_behind: bool = False  # gpuwatch: one that hangs in the driver is replaced, once
    queues_start: bool = False  # workers: a start waits for its turn, without a budget


@dataclass(frozen=True)
class Slot:
    """One child's place and all that is known of its life."""

    name: str
    kind: str  # worker, broker or gpuwatch
    state: SlotState = SlotState.STOPPED
    reason: str = "not started yet"
    hold: Hold = Hold.NO
    next: Next = Next.RESTART
    pid: int = 0
    since_s: float = 0.0  # when the present state began
    spawned_at_s: float = 0.0
    ready_at_s: Optional[float] = None  # of the present life
    moved_at_s: float = 0.0  # its last sign of progress
    stall_budget_s: float = 0.0  # how long it may stand still at what it does; 0: the policy's `stall_s`
    phase: str = ""  # what allows it that
    at_fault: bool = False  # in KILLING: it hung or broke the rules, rather than being told to go
    wake_at_s: Optional[float] = None  # when this state wants a Tick
    signalled: Signalled = Signalled.NO
    failures: int = 0  # lives that failed since the last good sign
    restarts: int = 0
    left_behind_pid: int = 0  # a former process that does not die; 0 once it did


# --- events -------------------------------------------------------------------------


@dataclass(frozen=True)
class Begin:
    """Somebody wants this slot to run (first start, resume, release by hand)."""


@dataclass(frozen=True)
class Queued:
    """Its start waits for others to finish theirs: no budget runs meanwhile."""

    why: str


@dataclass(frozen=True)
class Spawned:
    pid: int


@dataclass(frozen=True)
class SpawnFailed:
    why: str
    jitter_ratio: float = 1.0
    blocked: bool = False  # somebody else is in its place: nothing failed, it is tried again


@dataclass(frozen=True)
class BecameReady:
    pass


@dataclass(frozen=True)
class Heartbeat:
    """The child spoke. `moved`: it made progress, or has nothing to do.

    `stall_budget_s`: how long it may stand still in `phase`; 0: the policy's `stall_s`.
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
    """Nobody listened for the last `lost_s` seconds: the supervisor itself did not run."""

    lost_s: float


@dataclass(frozen=True)
class BeginDrain:
    """Finish what you have before `deadline_at_s`; then `next`."""

    deadline_at_s: float
    why: str
    next: Next = Next.REST


@dataclass(frozen=True)
class Kill:
    """End the process now, without asking; then `next`. `fault`: it brought this on itself."""

    why: str
    next: Next = Next.RESTART
    fault: bool = False


@dataclass(frozen=True)
class HoldIt:
    """Do not run this slot: until a person releases it (the model can't be had, say), or with
    Hold.PROOF until its device is well; then a process that runs is ended too."""

    why: str
    hold: Hold = Hold.SETTINGS


@dataclass(frozen=True)
class Exited:
    """The process is gone and reaped.

    `charged`: whether a failed life counts against the slot (a suspect job's does not).
    `jitter_ratio` is drawn by the caller, 0 to 1.
    """

    returncode: int
    charged: bool = True
    jitter_ratio: float = 1.0
    said: str = ""  # the process's own last words on why
    cure: str = ""  # for what ended it and will end its successors too: hold until a person did that


@dataclass(frozen=True)
class LeftBehindExited:
    """The process that was left behind has ended after all."""


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
    """Let the start wait for its turn. Answer Queued while it waits, then as to Spawn."""


@dataclass(frozen=True)
class Signal:
    """Send this signal; SIGKILL goes to the whole process group."""

    signum: int


@dataclass(frozen=True)
class TellDrain:
    """Tell the child over its link to finish before `deadline_at_s`."""

    deadline_at_s: float


@dataclass(frozen=True)
class LeaveBehind:
    """Let go of a process that does not die: reap it whenever it does, and hear it no more."""


@dataclass(frozen=True)
class Alarm:
    """A person should look."""

    text: str
    device_uuid: str = ""  # of the slot's device, where it has one


ProcessCommand = Union[Spawn, Signal, TellDrain, LeaveBehind, Alarm]
Command = Union[ProcessCommand, QueueStart]
Decision = tuple[Slot, tuple[Command, ...]]
