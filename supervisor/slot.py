"""The life of one slot, as one pure function: `decide(slot, event, policy, now_s)`.

A slot is one child's place; it lives as long as the supervisor while processes come and
go in it. A state says what is awaited, `reason` how we got there. The function gives the
next slot and the commands that make it true; somebody else carries them out. `MOVES` is the specification:
tests compare it with the moves really made.

Mechanisms and figures: immediate restart after a ready life, full jitter, held after
five, half-open probes (design.md, "The life of a slot").
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Optional, Union

from supervisor.contract.exits import Exit, describe


class SlotState(str, enum.Enum):
    STARTING = "starting"  # a process exists; waiting for it to say that it is ready
    READY = "ready"
    DRAINING = "draining"  # asked to finish by a deadline
    KILLING = "killing"  # a signal is sent; waiting for the reaping
    BACKOFF = "backoff"  # waiting before the next start
    HELD = "held"  # not started again until there is proof or a person's word
    STOPPED = "stopped"  # rests until somebody begins it


class Next(str, enum.Enum):
    """What follows once the process is gone."""

    RESTART = "restart"
    REST = "rest"


class Hold(str, enum.Enum):
    """Why a slot is held, which says how the hold ends."""

    NO = ""
    CRASH_LOOP = "crash-loop"  # probed half-open
    DEVICE = "device"  # probed half-open, until devices give proof of their own
    SETTINGS = "settings"  # by a person only


@dataclass(frozen=True)
class Policy:
    """The budgets of one kind of child. All lengths in seconds."""

    start_s: float = 180.0
    silence_s: float = 30.0  # a ready child that says nothing at all
    stall_s: float = 300.0  # a ready child that talks but gets nowhere
    hold_after: int = 5
    probe_s: float = 300.0
    backoff_first_s: float = 0.5
    backoff_most_s: float = 60.0
    calm_s: float = 60.0  # a ready life this long forgets earlier failures
    dump_s: float = 2.0  # from the request for stacks to SIGKILL
    gone_s: float = 5.0  # from SIGKILL to the alarm
    reserve_s: float = 5.0  # SIGKILL this long before a drain's deadline
    may_hold: bool = True  # never for broker and gpuwatch
    drains_while_starting: bool = False  # the broker: it may hold leases before it is ready


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
    at_fault: bool = False  # in KILLING: it hung or broke the rules, rather than being told to go
    wake_at_s: Optional[float] = None  # when this state wants a Tick
    signalled: str = ""  # in KILLING: stacks, then kill, then lost
    failures: int = 0  # lives that failed since the last good sign
    restarts: int = 0


# --- events -------------------------------------------------------------------------


@dataclass(frozen=True)
class Begin:
    """Somebody wants this slot to run (first start, resume, release by hand)."""


@dataclass(frozen=True)
class Spawned:
    pid: int


@dataclass(frozen=True)
class SpawnFailed:
    why: str
    jitter_ratio: float = 1.0


@dataclass(frozen=True)
class BecameReady:
    pass


@dataclass(frozen=True)
class Heartbeat:
    """The child spoke. `moved`: it made progress, or has nothing to do."""

    moved: bool = True


@dataclass(frozen=True)
class FinishedJob:
    """Proof that the slot works: earlier failures are forgotten."""


@dataclass(frozen=True)
class Tick:
    """`wake_at_s` has come."""


@dataclass(frozen=True)
class Drain:
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
    """Do not run this slot until a person releases it (the model can't be had, say)."""

    why: str


@dataclass(frozen=True)
class Exited:
    """The process is gone and reaped.

    `charged`: whether a failed life counts against the slot (a suspect job's does not).
    `jitter_ratio` is drawn by the caller, 0 to 1.
    """

    returncode: int
    charged: bool = True
    jitter_ratio: float = 1.0


Event = Union[
    Begin, Spawned, SpawnFailed, BecameReady, Heartbeat, FinishedJob, Tick, Drain, Kill, HoldIt, Exited
]

# --- commands -----------------------------------------------------------------------


@dataclass(frozen=True)
class Spawn:
    """Start the child. Answer Spawned or SpawnFailed."""


@dataclass(frozen=True)
class Signal:
    """Send this signal; SIGKILL goes to the whole process group."""

    signum: int


@dataclass(frozen=True)
class TellDrain:
    """Tell the child over its link to finish before `deadline_at_s`."""

    deadline_at_s: float


@dataclass(frozen=True)
class Alarm:
    """A person should look."""

    text: str


Command = Union[Spawn, Signal, TellDrain, Alarm]
Decision = tuple[Slot, tuple[Command, ...]]

_S = SlotState
MOVES: Mapping[SlotState, frozenset[SlotState]] = {
    _S.STOPPED: frozenset({_S.STARTING, _S.HELD}),
    _S.STARTING: frozenset({_S.READY, _S.DRAINING, _S.KILLING, _S.STARTING, _S.BACKOFF, _S.HELD, _S.STOPPED}),
    _S.READY: frozenset({_S.DRAINING, _S.KILLING, _S.STARTING, _S.BACKOFF, _S.HELD}),
    _S.DRAINING: frozenset({_S.KILLING, _S.STARTING, _S.STOPPED, _S.BACKOFF, _S.HELD}),
    _S.KILLING: frozenset({_S.STARTING, _S.BACKOFF, _S.HELD, _S.STOPPED}),
    _S.BACKOFF: frozenset({_S.STARTING, _S.STOPPED, _S.HELD}),
    _S.HELD: frozenset({_S.STARTING, _S.STOPPED}),
}
"""Legal moves. STARTING to STARTING is a life that ended at once and is followed by the next."""

ALIVE = frozenset({_S.STARTING, _S.READY, _S.DRAINING, _S.KILLING})
"""States in which a process exists (or is being made)."""


def decide(slot: Slot, event: Event, policy: Policy, now_s: float) -> Decision:
    """Say what becomes of `slot` and what must be done for it.

    An event that means nothing in the present state changes nothing: late messages of a
    dead process and repeated orders are normal.
    """
    handler = _HANDLERS[type(event)]
    return handler(slot, event, policy, now_s)


def backoff_s(failures: int, jitter_ratio: float, policy: Policy) -> float:
    """Full jitter: somewhere in [0, min(most, first * 2^n)]."""
    most_s = min(policy.backoff_most_s, policy.backoff_first_s * 2 ** min(failures, 30))
    return most_s * jitter_ratio


def _stay(slot: Slot) -> Decision:
    return slot, ()


def _to(slot: Slot, state: SlotState, reason: str, now_s: float, wake_at_s: Optional[float] = None) -> Slot:
    return replace(
        slot,
        state=state,
        reason=reason,
        since_s=now_s,
        wake_at_s=wake_at_s,
        signalled="",
        hold=Hold.NO,
        at_fault=False,
    )


def _start(slot: Slot, reason: str, policy: Policy, now_s: float) -> Decision:
    starting = _to(slot, _S.STARTING, reason, now_s, now_s + policy.start_s)
    again = slot.restarts + (1 if slot.spawned_at_s else 0)
    fresh = replace(starting, pid=0, ready_at_s=None, spawned_at_s=now_s, next=Next.RESTART, restarts=again)
    return fresh, (Spawn(),)


def _hold(slot: Slot, hold: Hold, reason: str, policy: Policy, now_s: float) -> Decision:
    wake_at_s = None if hold is Hold.SETTINGS else now_s + policy.probe_s
    return replace(_to(slot, _S.HELD, reason, now_s, wake_at_s), hold=hold, pid=0), ()


def _kill(slot: Slot, reason: str, now_s: float, policy: Policy, next_: Next) -> Decision:
    killing = _to(slot, _S.KILLING, reason, now_s, now_s + policy.gone_s)
    return replace(killing, signalled="kill", next=next_), (Signal(signal.SIGKILL),)


def _on_begin(slot: Slot, event: Begin, policy: Policy, now_s: float) -> Decision:
    if slot.state in (_S.STOPPED, _S.BACKOFF, _S.HELD):
        return _start(replace(slot, failures=0), "begun", policy, now_s)
    return replace(slot, next=Next.RESTART), ()


def _on_spawned(slot: Slot, event: Spawned, policy: Policy, now_s: float) -> Decision:
    return replace(slot, pid=event.pid), ()


def _on_spawn_failed(slot: Slot, event: SpawnFailed, policy: Policy, now_s: float) -> Decision:
    if slot.state is not _S.STARTING:
        return _stay(slot)
    return _after_failure(slot, event.why, event.jitter_ratio, policy, now_s)


def _on_ready(slot: Slot, event: BecameReady, policy: Policy, now_s: float) -> Decision:
    if slot.state is not _S.STARTING:
        return _stay(slot)
    ready = _to(slot, _S.READY, "warm and waiting", now_s, now_s + policy.silence_s)
    return replace(ready, ready_at_s=now_s, moved_at_s=now_s), ()


def _on_heartbeat(slot: Slot, event: Heartbeat, policy: Policy, now_s: float) -> Decision:
    if slot.state is not _S.READY:
        return _stay(slot)
    moved_at_s = now_s if event.moved else slot.moved_at_s
    wake_at_s = min(now_s + policy.silence_s, moved_at_s + policy.stall_s)
    return replace(slot, moved_at_s=moved_at_s, wake_at_s=wake_at_s), ()


def _on_finished_job(slot: Slot, event: FinishedJob, policy: Policy, now_s: float) -> Decision:
    return replace(slot, failures=0), ()


def _on_tick(slot: Slot, event: Tick, policy: Policy, now_s: float) -> Decision:
    if slot.wake_at_s is None or now_s < slot.wake_at_s:
        return _stay(slot)
    return _DUE[slot.state](slot, policy, now_s)


def _on_drain(slot: Slot, event: Drain, policy: Policy, now_s: float) -> Decision:
    kill_at_s = max(now_s, event.deadline_at_s - policy.reserve_s)
    if slot.state in (_S.BACKOFF, _S.HELD):
        return replace(_to(slot, _S.STOPPED, event.why, now_s), pid=0, next=event.next), ()
    if slot.state is _S.READY or (slot.state is _S.STARTING and policy.drains_while_starting):
        draining = replace(_to(slot, _S.DRAINING, event.why, now_s, kill_at_s), next=event.next)
        return draining, (TellDrain(event.deadline_at_s),)
    if slot.state is _S.STARTING:
        return _kill(slot, event.why, now_s, policy, event.next)
    if slot.state is _S.DRAINING and kill_at_s < (slot.wake_at_s or 0.0):
        return replace(slot, wake_at_s=kill_at_s, next=event.next), (TellDrain(event.deadline_at_s),)
    return replace(slot, next=event.next), ()


def _on_kill(slot: Slot, event: Kill, policy: Policy, now_s: float) -> Decision:
    if slot.state in (_S.STARTING, _S.READY, _S.DRAINING):
        # An order to rest outlives a later fault.
        next_ = Next.REST if event.fault and slot.next is Next.REST else event.next
        killing, commands = _kill(slot, event.why, now_s, policy, next_)
        return replace(killing, at_fault=event.fault), commands
    if slot.state is _S.KILLING:
        return replace(slot, next=event.next), (Signal(signal.SIGKILL),)
    if slot.state in (_S.BACKOFF, _S.HELD) and event.next is Next.REST:
        return replace(_to(slot, _S.STOPPED, event.why, now_s), pid=0), ()
    return _stay(slot)


def _on_hold(slot: Slot, event: HoldIt, policy: Policy, now_s: float) -> Decision:
    if slot.state in (_S.STOPPED, _S.BACKOFF):
        return _hold(slot, Hold.SETTINGS, event.why, policy, now_s)
    return _stay(slot)


def _on_exited(slot: Slot, event: Exited, policy: Policy, now_s: float) -> Decision:
    if slot.state not in ALIVE:
        return _stay(slot)
    why = describe(event.returncode)
    gone = replace(slot, pid=0)
    if slot.state is _S.KILLING:
        # We ended it ourselves: what led to that is the better reason.
        why = f"{slot.reason}; {why}"
    if slot.next is Next.REST:
        return replace(_to(gone, _S.STOPPED, why, now_s), failures=gone.failures), ()
    asked = slot.state is _S.DRAINING and event.returncode == Exit.OK
    asked = asked or (slot.state is _S.KILLING and not slot.at_fault)
    if asked or event.returncode == Exit.RECYCLE or not event.charged:
        return _start(gone, why, policy, now_s)
    if policy.may_hold and event.returncode in (Exit.MODEL_BROKEN, Exit.SETTINGS_WRONG):
        return _hold(gone, Hold.SETTINGS, why, policy, now_s)
    if policy.may_hold and event.returncode == Exit.DEVICE_BROKEN:
        return _hold(gone, Hold.DEVICE, why, policy, now_s)
    return _after_failure(gone, why, event.jitter_ratio, policy, now_s)


def _after_failure(slot: Slot, why: str, jitter_ratio: float, policy: Policy, now_s: float) -> Decision:
    """Count a failed life: start again at once, wait, or hold."""
    calm = slot.ready_at_s is not None and now_s - slot.ready_at_s >= policy.calm_s
    before = 0 if calm else slot.failures
    counted = replace(slot, failures=before + 1, pid=0)
    if policy.may_hold and counted.failures >= policy.hold_after:
        reason = f"{counted.failures} failed lives in a row, last: {why}"
        return _hold(counted, Hold.CRASH_LOOP, reason, policy, now_s)
    if slot.ready_at_s is not None and before == 0:
        return _start(counted, why, policy, now_s)
    wait_s = backoff_s(counted.failures, jitter_ratio, policy)
    return _to(counted, _S.BACKOFF, why, now_s, now_s + wait_s), ()


def _due_starting(slot: Slot, policy: Policy, now_s: float) -> Decision:
    return _ask_stacks(slot, f"not ready within {policy.start_s:.0f} s", policy, now_s)


def _due_ready(slot: Slot, policy: Policy, now_s: float) -> Decision:
    silent = now_s - slot.moved_at_s < policy.stall_s
    words = f"silent for {policy.silence_s:.0f} s" if silent else f"no progress for {policy.stall_s:.0f} s"
    return _ask_stacks(slot, words, policy, now_s)


def _ask_stacks(slot: Slot, reason: str, policy: Policy, now_s: float) -> Decision:
    if slot.kind != "worker":  # only workers write their stacks on SIGUSR2
        return _kill(slot, reason, now_s, policy, slot.next)
    killing = _to(slot, _S.KILLING, reason, now_s, now_s + policy.dump_s)
    return replace(killing, signalled="stacks", at_fault=True), (Signal(signal.SIGUSR2),)


def _due_draining(slot: Slot, policy: Policy, now_s: float) -> Decision:
    return _kill(slot, f"{slot.reason}; deadline reached", now_s, policy, slot.next)


def _due_killing(slot: Slot, policy: Policy, now_s: float) -> Decision:
    if slot.signalled == "stacks":
        return replace(slot, signalled="kill", wake_at_s=now_s + policy.gone_s), (Signal(signal.SIGKILL),)
    text = f"pid {slot.pid} does not die after SIGKILL; its device is not used again"
    return replace(slot, signalled="lost", wake_at_s=None), (Alarm(text),)


def _due_waiting(slot: Slot, policy: Policy, now_s: float) -> Decision:
    reason = "probe" if slot.state is _S.HELD else slot.reason
    return _start(slot, reason, policy, now_s)


def _due_never(slot: Slot, policy: Policy, now_s: float) -> Decision:
    return replace(slot, wake_at_s=None), ()


_DUE: Mapping[SlotState, Callable[[Slot, Policy, float], Decision]] = {
    _S.STARTING: _due_starting,
    _S.READY: _due_ready,
    _S.DRAINING: _due_draining,
    _S.KILLING: _due_killing,
    _S.BACKOFF: _due_waiting,
    _S.HELD: _due_waiting,
    _S.STOPPED: _due_never,
}
_HANDLERS: Mapping[type, Callable[..., Decision]] = {
    Begin: _on_begin,
    Spawned: _on_spawned,
    SpawnFailed: _on_spawn_failed,
    BecameReady: _on_ready,
    Heartbeat: _on_heartbeat,
    FinishedJob: _on_finished_job,
    Tick: _on_tick,
    Drain: _on_drain,
    Kill: _on_kill,
    HoldIt: _on_hold,
    Exited: _on_exited,
}
