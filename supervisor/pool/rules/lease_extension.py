"""Decides whose leases are extended: waiting jobs, and jobs of workers that send heartbeats. PURE.

A worker that hangs is detected by its stall budget, which may be minutes. The leases of its jobs are
not extended meanwhile, so that another host can take them even if this one cannot kill the worker.
"""

from __future__ import annotations

from typing import Optional

from supervisor.contract.wire import messages as m
from supervisor.pool.state.events import BROKER
from supervisor.pool.state.jobs import JobEntry, Stage
from supervisor.pool.state.slot_types import SlotState
from supervisor.pool.state.state import PoolState

EXTEND_EVERY_S = 5.0
SILENT_MOST_S = 10.0  # a guess: a worker that has a job sends a heartbeat every two seconds


class LeaseExtension:
    """Sends the broker every few seconds the jobs whose leases it extends."""

    def __init__(self) -> None:
        self.wake_at_s: Optional[float] = None

    def after_event(self, state: PoolState, now_s: float) -> None:
        """Send the list when it is due; nothing while there are no jobs."""
        if not state.jobs.entries:
            self.wake_at_s = None
        elif self.wake_at_s is None:
            self.wake_at_s = now_s + EXTEND_EVERY_S
        elif now_s >= self.wake_at_s:
            self.wake_at_s = now_s + EXTEND_EVERY_S
            kept = [id_ for id_, entry in state.jobs.entries.items() if _is_kept(state, entry, now_s)]
            state.send(BROKER, m.Keep(tuple(kept), state.jobs.samples_bytes()))


def _is_kept(state: PoolState, entry: JobEntry, now_s: float) -> bool:
    if entry.stage is not Stage.GIVEN:
        return True
    member = state.members[entry.slot]
    if member.slot.state is SlotState.KILLING and member.slot.at_fault:
        return False
    return now_s - member.last_message_at_s < SILENT_MOST_S
