"""Dispatches waiting jobs to workers and asks the broker for more. PURE."""

from __future__ import annotations

from supervisor.contract.wire import messages as m
from supervisor.pool.rules import read_ahead
from supervisor.pool.rules.split_helpers import SplitHelpers
from supervisor.pool.state.events import BROKER, Member, Mode
from supervisor.pool.state.jobs import JobEntry
from supervisor.pool.state.slot_types import SlotState
from supervisor.pool.state.state import PoolState


def dispatch_jobs(state: PoolState, split_helpers: SplitHelpers, now_s: float) -> None:
    """Dispatch waiting jobs, oldest first, to the ready workers with the most free places."""
    ready = [w for w in state.workers() if w.slot.state is SlotState.READY and w.free > 0]
    if not ready:
        return
    for entry in state.jobs.waiting():
        ready.sort(key=lambda w: -w.free)
        place = next((w for w in ready if w.free > 0 and _may_take(state, split_helpers, w, entry)), None)
        if place is None:
            continue
        sharers = split_helpers.sharers(state, place)
        place.free = 0 if entry.suspect else place.free - 1
        state.send(place.slot.name, state.jobs.give(entry, place.slot.name, now_s, sharers))
        facts = {"job_id": entry.card.job_id, "attempt": entry.card.attempt, "slot": place.slot.name}
        state.note(
            "debug", "job dispatched to a slot", {"event": "job-dispatched", **facts, "alone": entry.suspect}
        )


def _may_take(state: PoolState, split_helpers: SplitHelpers, member: Member, entry: JobEntry) -> bool:
    """A suspect job runs alone: no other job runs beside it."""
    name = member.slot.name
    if split_helpers.helps_with(name, entry.card.job_id) or (
        entry.suspect and split_helpers.is_helping(name)
    ):
        return False
    beside = state.jobs.given_to(name)
    return not beside or not (entry.suspect or any(other.suspect for other in beside))


def request_jobs(state: PoolState) -> None:
    """Request a job for each free place, and a few more so that their downloads finish in time."""
    ready = [w for w in state.takers() if w.slot.state is SlotState.READY]
    wanted = 0
    if state.mode is Mode.RUNNING and ready:
        ahead = read_ahead.ahead(ready, state.read_ahead)
        wanted = max(0, sum(w.free for w in ready) + ahead - len(state.jobs.waiting()))
    broker = state.members.get(BROKER)
    if broker is not None and broker.slot.state is SlotState.READY and wanted != state.wanted:
        state.wanted = wanted
        state.send(BROKER, m.Wanted(wanted))
