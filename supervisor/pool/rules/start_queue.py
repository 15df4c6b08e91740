"""Limits how many workers load their model at the same time. PURE."""

from __future__ import annotations

from supervisor.pool.rules.device_holds import DeviceHolds
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import ForSlot
from supervisor.pool.state.slot_types import SlotState
from supervisor.pool.state.state import PoolState


class StartQueue:
    """Limits concurrent model loads: too many at once compete for disk and memory."""

    def __init__(self, loading_most: int) -> None:
        self._loading_most = loading_most

    def start_next(self, state: PoolState, device_holds: DeviceHolds, now_s: float) -> None:
        """Start the next workers in the queue whose device is free."""
        may = [n for n in state.to_load if device_holds.may_start(state, state.members[n], now_s)]
        for member in [state.members[name] for name in state.to_load]:
            if member.slot.state is SlotState.STARTING:
                continue
            state.to_load.remove(member.slot.name)  # stopped before there was a process
            state.decide(member, sl.SpawnFailed(member.slot.reason), now_s)
        loading = sum(w.slot.state is SlotState.STARTING for w in state.workers()) - len(state.to_load)
        for name in [name for name in may if name in state.to_load][: max(0, self._loading_most - loading)]:
            state.to_load.remove(name)
            state.actions.append(ForSlot(name, sl.Spawn()))
