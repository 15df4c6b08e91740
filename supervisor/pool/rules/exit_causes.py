"""Classifies the end of a process, or of a failed start. PURE."""

from __future__ import annotations

import dataclasses
from typing import Optional

from supervisor.contract.exits import STATUS_UNKNOWN, Exit
from supervisor.pool.state import oom_fallback
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import Died, Member
from supervisor.pool.state.jobs import Death
from supervisor.pool.state.slot_types import SlotState
from supervisor.pool.state.state import PoolState

# Exit codes by which a worker reports a cause that has nothing to do with its jobs.
_NOT_THE_JOBS = frozenset((Exit.RECYCLE, Exit.MODEL_BROKEN, Exit.SETTINGS_WRONG))


def with_blocked_time(member: Member, event: sl.Event, now_s: float) -> sl.Event:
    """Add to a blocked start for how long another process has held the place's lock."""
    if not isinstance(event, sl.SpawnFailed) or not event.blocked:
        if isinstance(event, sl.Spawned):
            member.blocked_since_s = None
        return event
    if member.blocked_since_s is None:
        member.blocked_since_s = now_s
    return dataclasses.replace(event, why=f"{event.why}, for {now_s - member.blocked_since_s:.0f} s")


def with_oom_fallback(
    state: PoolState, member: Member, exited: sl.Exited, lacked: Optional[bool]
) -> sl.Exited:
    """After memory ran out during loading, let the next process load a smaller compute type if there is one.

    `lacked`: the kernel's OOM killer ended it; otherwise the exit code tells. If nothing smaller exists,
    the reason says what would fit.
    """
    told = exited.returncode == Exit.OUT_OF_MEMORY or (exited.returncode == -9 and bool(lacked))
    if not told or member.slot.state is not SlotState.STARTING or member.load is None:
        return exited
    if state.memory.load_smaller(member.device, member.load):
        state.refit(member)
        return dataclasses.replace(exited, charged=False, said="memory ran out while the model was loaded")
    return dataclasses.replace(exited, said=oom_fallback.does_not_fit(member.load))


def classify_exit(member: Member, event: Died) -> Death:
    """Classify the exit of a child, for its jobs and for crash records."""
    slot = member.slot
    if member.by_device:
        return Death.XID if slot.at_fault else Death.DEVICE
    if slot.state is SlotState.KILLING:
        return Death.STALL if slot.at_fault else Death.ORDERED
    finished = slot.state is SlotState.DRAINING and event.returncode == Exit.OK
    if event.returncode == Exit.DEVICE_BROKEN:
        return Death.DEVICE
    if finished or event.returncode in _NOT_THE_JOBS:
        return Death.ORDERED
    if event.returncode in (-9, STATUS_UNKNOWN) and not event.out_of_memory:
        return Death.KILLED_OUTSIDE
    return Death.CRASH
