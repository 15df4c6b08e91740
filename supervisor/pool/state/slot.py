"""The state machine of a slot: `decide(slot, event, policy, now_s)`.

A slot is the place of one child. It exists as long as the supervisor; its processes are replaced.
A state says what the slot waits for, `reason` why. `decide` returns the next slot and the commands
to carry out. `MOVES` (slot_types.py) is the specification: tests compare it with the transitions made.

Mechanisms: immediate restart of a process that was ready, back-off with full jitter, held after five
failures, then retried at intervals (design.md, "The life of a slot").
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Optional

from supervisor.contract.exits import Exit, describe
from supervisor.pool.state.slot_types import (
    ALIVE,
    Alarm,
    BecameReady,
    Begin,
    BeginDrain,
    Decision,
    Event,
    Exited,
    FinishedJob,
    Heartbeat,
    Hold,
    HoldIt,
    Kill,
    LeaveBehind,
    LeftBehindExited,
    Next,
    Policy,
    Queued,
    QueueStart,
    Signal,
    Signalled,
    Slot,
    SlotState,
    Spawn,
    Spawned,
    SpawnFailed,
    SupervisorPaused,
    TellDrain,
    Tick,
)

_S = SlotState


def decide(slot: Slot, event: Event, policy: Policy, now_s: float) -> Decision:
    """Return the next slot and the commands for it.

    An event that has no meaning in the current state changes nothing: late messages of a
    process that exited and repeated orders are normal.
    """
    handler = _HANDLERS[type(event)]
    return handler(slot, event, policy, now_s)


def backoff_s(failures: int, jitter_ratio: float, policy: Policy) -> float:
    """Full jitter: somewhere in [0, min(most, first * 2^n)]."""
    most_s = min(policy.backoff_most_s, policy.backoff_first_s * 2.0 ** min(failures, 30))
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
        signalled=Signalled.NO,
        hold=Hold.NO,
        at_fault=False,
    )


def _start(slot: Slot, reason: str, policy: Policy, now_s: float) -> Decision:
    wake_at_s = None if policy.queues_start else now_s + policy.start_s
    starting = _to(slot, _S.STARTING, reason, now_s, wake_at_s)
    again = slot.restarts + (1 if slot.spawned_at_s else 0)
    fresh = replace(starting, pid=0, ready_at_s=None, spawned_at_s=now_s, next=Next.RESTART, restarts=again)
    return fresh, (QueueStart() if policy.queues_start else Spawn(),)


def _hold(slot: Slot, hold: Hold, reason: str, policy: Policy, now_s: float) -> Decision:
    wake_at_s = None if hold in (Hold.SETTINGS, Hold.PROOF) else now_s + policy.probe_s
    return replace(_to(slot, _S.HELD, reason, now_s, wake_at_s), hold=hold, pid=0), ()


def _kill(slot: Slot, reason: str, now_s: float, policy: Policy, next_: Next) -> Decision:
    killing = _to(slot, _S.KILLING, reason, now_s, now_s + policy.gone_s)
    return replace(killing, signalled=Signalled.KILL, next=next_), (Signal(signal.SIGKILL),)


def _on_begin(slot: Slot, event: Begin, policy: Policy, now_s: float) -> Decision:
    if slot.state in (_S.STOPPED, _S.BACKOFF, _S.HELD):
        return _start(replace(slot, failures=0), "", policy, now_s)
    return replace(slot, next=Next.RESTART), ()


def _on_queued(slot: Slot, event: Queued, policy: Policy, now_s: float) -> Decision:
    waits = slot.state is _S.STOPPED or (slot.state is _S.STARTING and not slot.pid)
    return (replace(slot, reason=event.why, wake_at_s=None), ()) if waits else _stay(slot)


def _on_spawned(slot: Slot, event: Spawned, policy: Policy, now_s: float) -> Decision:
    if slot.state is not _S.STARTING:
        return replace(slot, pid=event.pid), ()
    return replace(slot, pid=event.pid, spawned_at_s=now_s, wake_at_s=now_s + policy.start_s), ()


def _on_spawn_failed(slot: Slot, event: SpawnFailed, policy: Policy, now_s: float) -> Decision:
    if slot.state not in ALIVE:
        return _stay(slot)
    if slot.next is Next.REST:  # stopped before a process existed: there is nothing to reap
        return _to(slot, _S.STOPPED, event.why, now_s), ()
    if slot.next is Next.HOLD and policy.may_hold:
        return _hold(slot, Hold.PROOF, event.why, policy, now_s)
    if event.blocked:
        return _to(slot, _S.BACKOFF, event.why, now_s, now_s + policy.blocked_s), ()
    if slot.state is _S.KILLING and not slot.at_fault:  # a restart was requested: nothing failed
        return _start(slot, event.why, policy, now_s)
    return _after_failure(slot, event.why, event.jitter_ratio, policy, now_s)


def _on_ready(slot: Slot, event: BecameReady, policy: Policy, now_s: float) -> Decision:
    if slot.state is not _S.STARTING:
        return _stay(slot)
    ready = _to(slot, _S.READY, "started", now_s, now_s + policy.silence_s)
    return replace(ready, ready_at_s=now_s, moved_at_s=now_s, stall_budget_s=0.0, phase=""), ()


def _on_heartbeat(slot: Slot, event: Heartbeat, policy: Policy, now_s: float) -> Decision:
    if slot.state is not _S.READY:
        return _stay(slot)
    moved_at_s = now_s if event.moved else slot.moved_at_s
    spoke = replace(slot, moved_at_s=moved_at_s, stall_budget_s=event.stall_budget_s, phase=event.phase)
    return replace(spoke, wake_at_s=_overdue_at_s(spoke, policy, now_s)), ()


def _overdue_at_s(slot: Slot, policy: Policy, now_s: float) -> float:
    """Return when the silence or stall budget of a child that sent a message just now expires."""
    return min(now_s + policy.silence_s, slot.moved_at_s + (slot.stall_budget_s or policy.stall_s))


def _on_finished_job(slot: Slot, event: FinishedJob, policy: Policy, now_s: float) -> Decision:
    return replace(slot, failures=0), ()


def _on_tick(slot: Slot, event: Tick, policy: Policy, now_s: float) -> Decision:
    if slot.wake_at_s is None or now_s < slot.wake_at_s:
        return _stay(slot)
    return _DUE[slot.state](slot, policy, now_s)


def _on_supervisor_paused(slot: Slot, event: SupervisorPaused, policy: Policy, now_s: float) -> Decision:
    """Exclude the time in which the supervisor did not run from budgets. A drain's deadline stays."""
    if slot.wake_at_s is None or slot.state not in ALIVE:
        return _stay(slot)
    if slot.state is _S.DRAINING:
        return replace(slot, wake_at_s=max(slot.wake_at_s, now_s + policy.listen_s)), ()
    if slot.state is not _S.READY:
        return replace(slot, wake_at_s=slot.wake_at_s + event.lost_s), ()
    later = replace(slot, moved_at_s=slot.moved_at_s + event.lost_s)
    return replace(later, wake_at_s=_overdue_at_s(later, policy, now_s)), ()


def _on_drain(slot: Slot, event: BeginDrain, policy: Policy, now_s: float) -> Decision:
    kill_at_s = max(now_s, event.deadline_at_s - policy.reserve_s)
    if slot.state in (_S.BACKOFF, _S.HELD):
        if event.next is Next.RESTART:
            return _stay(slot)  # no process runs, and the next one is new anyway
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
    # An order to stop stays in force after a later fault.
    next_ = Next.REST if event.fault and slot.next is Next.REST else event.next
    if slot.state in (_S.STARTING, _S.READY, _S.DRAINING):
        killing, commands = _kill(slot, event.why, now_s, policy, next_)
        return replace(killing, at_fault=event.fault), commands
    if slot.state is _S.KILLING:
        return replace(slot, next=next_), (Signal(signal.SIGKILL),)
    if slot.state in (_S.BACKOFF, _S.HELD) and event.next is Next.REST:
        return replace(_to(slot, _S.STOPPED, event.why, now_s), pid=0), ()
    return _stay(slot)


def _on_hold(slot: Slot, event: HoldIt, policy: Policy, now_s: float) -> Decision:
    if slot.state in (_S.STOPPED, _S.BACKOFF):
        return _hold(slot, event.hold, event.why, policy, now_s)
    if slot.state is _S.HELD and event.hold is slot.hold:
        return replace(slot, reason=event.why), ()
    if event.hold is not Hold.PROOF or not policy.may_hold:
        return _stay(slot)
    if slot.state is _S.HELD:
        return replace(slot, hold=Hold.PROOF, reason=event.why, wake_at_s=None), ()
    next_ = Next.REST if slot.next is Next.REST else Next.HOLD
    if slot.state is _S.KILLING:
        return replace(slot, next=next_), ()
    return _kill(slot, event.why, now_s, policy, next_)


def _on_exited(slot: Slot, event: Exited, policy: Policy, now_s: float) -> Decision:
    if slot.state not in ALIVE:
        return _stay(slot)
    why = f"{describe(event.returncode)}{event.said and ': '}{event.said}"
    gone = replace(slot, pid=0)
    if slot.state in (_S.KILLING, _S.DRAINING):
        # The exit was requested: the reason of the request comes first.
        why = f"{slot.reason}; {why}"
    if slot.next is Next.REST:
        return replace(_to(gone, _S.STOPPED, why, now_s), failures=gone.failures), ()
    if policy.may_hold and slot.next is Next.HOLD:
        return _hold(gone, Hold.PROOF, slot.reason, policy, now_s)
    if policy.may_hold and event.cure:
        return _hold(gone, Hold.SETTINGS, f"{why}. {event.cure}", policy, now_s)
    if policy.may_hold and event.returncode in (Exit.MODEL_BROKEN, Exit.SETTINGS_WRONG):
        return _hold(gone, Hold.SETTINGS, why, policy, now_s)
    if policy.may_hold and event.returncode == Exit.DEVICE_BROKEN:
        return _hold(gone, Hold.DEVICE, why, policy, now_s)
    if policy.may_hold and event.returncode == Exit.OUT_OF_MEMORY and event.charged:
        return _hold(gone, Hold.DEVICE, why, policy, now_s)  # retried: other processes may free memory
    asked = slot.state is _S.DRAINING and event.returncode == Exit.OK
    asked = asked or (slot.state is _S.KILLING and not slot.at_fault)
    if asked or event.returncode == Exit.RECYCLE or not event.charged:
        return _start(gone, why, policy, now_s)
    return _after_failure(gone, why, event.jitter_ratio, policy, now_s)


def _on_left_behind_exited(slot: Slot, event: LeftBehindExited, policy: Policy, now_s: float) -> Decision:
    return replace(slot, left_behind_pid=0), ()


def _after_failure(slot: Slot, why: str, jitter_ratio: float, policy: Policy, now_s: float) -> Decision:
    """Count a failed run: restart at once, back off, or hold."""
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
    stall_budget_s = slot.stall_budget_s or policy.stall_s
    if now_s < slot.moved_at_s + stall_budget_s:
        return _ask_stacks(slot, f"silent for {policy.silence_s:.0f} s", policy, now_s)
    words = f"no progress for {stall_budget_s:.0f} s{slot.phase and ' while '}{slot.phase}"
    return _ask_stacks(slot, words, policy, now_s)


def _ask_stacks(slot: Slot, reason: str, policy: Policy, now_s: float) -> Decision:
    if slot.kind != "worker":  # only workers write their stacks on SIGUSR2
        killing, commands = _kill(slot, reason, now_s, policy, slot.next)
        return replace(killing, at_fault=True), commands
    killing = _to(slot, _S.KILLING, reason, now_s, now_s + policy.dump_s)
    return replace(killing, signalled=Signalled.STACKS, at_fault=True), (Signal(signal.SIGUSR2),)


def _due_draining(slot: Slot, policy: Policy, now_s: float) -> Decision:
    return _kill(slot, f"{slot.reason}; deadline reached", now_s, policy, slot.next)


def _due_killing(slot: Slot, policy: Policy, now_s: float) -> Decision:
    if slot.signalled is Signalled.STACKS:
        return replace(slot, signalled=Signalled.KILL, wake_at_s=now_s + policy.gone_s), (
            Signal(signal.SIGKILL),
        )
    if policy.may_leave_behind and not slot.left_behind_pid:
        text = f"pid {slot.pid} does not die after SIGKILL and is left behind"
        fresh, commands = _after_failure(replace(slot, left_behind_pid=slot.pid), text, 1.0, policy, now_s)
        return fresh, (Alarm(text), LeaveBehind(), *commands)
    text = f"pid {slot.pid} does not die after SIGKILL; its device is not used again"
    reason = f"{slot.reason}; {text}"
    return replace(slot, signalled=Signalled.LOST, wake_at_s=None, reason=reason), (Alarm(text),)


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
    Queued: _on_queued,
    Spawned: _on_spawned,
    SpawnFailed: _on_spawn_failed,
    BecameReady: _on_ready,
    Heartbeat: _on_heartbeat,
    FinishedJob: _on_finished_job,
    Tick: _on_tick,
    SupervisorPaused: _on_supervisor_paused,
    BeginDrain: _on_drain,
    Kill: _on_kill,
    HoldIt: _on_hold,
    Exited: _on_exited,
    LeftBehindExited: _on_left_behind_exited,
}
