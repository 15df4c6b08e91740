"""Moves jobs that were not begun from busy slots to idle ones. PURE.

The slot that is ready first gets the waiting jobs, and at the end of a burst one slot may still have
several jobs while another has none. A worker that is asked for such a job returns it only if its engine
has not begun it, so no work is repeated; then it is dispatched like any other waiting job.
"""

from __future__ import annotations

from typing import Optional

from supervisor.contract.wire import messages as m
from supervisor.pool.rules.split_helpers import SplitHelpers
from supervisor.pool.state.events import Member
from supervisor.pool.state.jobs import JobEntry, Stage
from supervisor.pool.state.slot_types import SlotState
from supervisor.pool.state.state import PoolState

_ANSWER_S = 2.0  # a worker that does not answer within this time keeps the job


def even_out(state: PoolState, split_helpers: SplitHelpers, now_s: float) -> None:
    """Ask a busy slot for one job if that evens out the load; its return triggers the next request."""
    entries = state.jobs.entries.values()
    if not entries or state.jobs.waiting():
        return
    on_the_way = [entry for entry in entries if _is_on_the_way(entry, now_s)]
    workers = [w for w in state.workers() if w.slot.state is SlotState.READY]
    busy = {w.slot.name: len(state.jobs.given_to(w.slot.name)) for w in workers}
    for entry in on_the_way:
        busy[entry.slot] = busy.get(entry.slot, 0) - 1
    takers = [w for w in workers if w.free > 0 and not split_helpers.is_helping(w.slot.name)]
    if not takers:
        return
    least = min(busy[w.slot.name] for w in takers) + len(on_the_way)
    for giver in sorted(workers, key=lambda w: -busy[w.slot.name]):
        if busy[giver.slot.name] - least < 2:
            return
        unbegun = _youngest(state, giver)
        if unbegun is not None:
            unbegun.requested_back_at_s = now_s
            card, why = unbegun.card, "another slot has less to do"
            state.send(giver.slot.name, m.PutDown(card.job_id, why, unbegun_only=True, attempt=card.attempt))
            return


def _is_on_the_way(entry: JobEntry, now_s: float) -> bool:
    asked_at_s = entry.requested_back_at_s
    return entry.stage is Stage.GIVEN and asked_at_s is not None and now_s - asked_at_s < _ANSWER_S


def _youngest(state: PoolState, giver: Member) -> Optional[JobEntry]:
    """Return the job given last, of those that made no progress and were not requested back."""
    jobs = [
        entry
        for entry in state.jobs.given_to(giver.slot.name)
        if entry.requested_back_at_s is None and not (entry.done_s or entry.suspect or entry.drain_choice)
    ]
    return sorted(jobs, key=lambda entry: entry.given_at_s)[-1] if jobs else None
