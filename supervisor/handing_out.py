"""Which worker gets which job, and how many the broker is asked for. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor import read_ahead
from supervisor.contract import messages as m
from supervisor.ledger import Entry
from supervisor.pool_types import BROKER, Member, Mode
from supervisor.slot import SlotState

if TYPE_CHECKING:
    from supervisor.pool import Pool


def hand_out(pool: Pool, now_s: float) -> None:
    """Give waiting jobs, oldest first, to the ready workers with the most room."""
    ready = [w for w in pool.workers() if w.slot.state is SlotState.READY and w.free > 0]
    if not ready:
        return
    for entry in pool.ledger.waiting():
        ready.sort(key=lambda w: -w.free)
        place = next((w for w in ready if w.free > 0 and _suits(pool, w, entry)), None)
        if place is None:
            continue
        sharers = pool.sharing.sharers(pool, place)
        place.free = 0 if entry.suspect else place.free - 1
        pool.send(place.slot.name, pool.ledger.give(entry, place.slot.name, now_s, sharers))
        facts = {"job_id": entry.card.job_id, "attempt": entry.card.attempt, "slot": place.slot.name}
        pool.note("debug", "job given to a slot", {**facts, "alone": entry.suspect})


def _suits(pool: Pool, member: Member, entry: Entry) -> bool:
    """A suspect runs alone, and beside a suspect runs nothing."""
    name = member.slot.name
    if pool.sharing.helps_with(name, entry.card.job_id) or (entry.suspect and pool.sharing.is_helping(name)):
        return False
    beside = pool.ledger.given_to(name)
    return not beside or not (entry.suspect or any(other.suspect for other in beside))


def tell_wanted(pool: Pool) -> None:
    """Ask the broker for as many jobs as there are free places, and a few more to have them here in time."""
    ready = [w for w in pool.takers() if w.slot.state is SlotState.READY]
    wanted = 0
    if pool.mode is Mode.RUNNING and ready:
        ahead = read_ahead.ahead(ready, pool.read_ahead)
        wanted = max(0, sum(w.free for w in ready) + ahead - len(pool.ledger.waiting()))
    broker = pool.members.get(BROKER)
    if broker is not None and broker.slot.state is SlotState.READY and wanted != pool.wanted:
        pool.wanted = wanted
        pool.send(BROKER, m.Wanted(wanted))
