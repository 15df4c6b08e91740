"""Which slots help with the parts of a long recording that another slot has. PURE.

A worker that cuts a recording tells how many of its parts nobody has begun. Slots with the same
engine and nothing to do are asked to help: the workers share the parts out among themselves by
files in the job's folder (`workerproc/parts.py`). The job stays with its slot, which joins the
parts. A helper's death costs what it did of its parts, and that job gets no more help: whatever is
the matter with it happens to one worker alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from supervisor.contract import messages as m
from supervisor.ledger import Entry, Stage
from supervisor.pool_types import Member
from supervisor.slot import SlotState

if TYPE_CHECKING:
    from supervisor.pool import Pool

# What a worker tells of itself that says nothing of the text it would give.
_OWN_FACTS = frozenset({"detail", "load_s", "warmup_s"})


class Sharing:
    """Who helps with which job."""

    def __init__(self) -> None:
        self._helping: dict[str, str] = {}  # slot -> job

    def is_helping(self, slot: str) -> bool:
        """Say whether a slot works on parts of another's job."""
        return slot in self._helping

    def sharers(self, pool: Pool, owner: Member) -> int:
        """Say among how many slots a recording may be shared out now, `owner` among them."""
        return 1 + sum(1 for w in self._idle(pool) if w is not owner and _are_alike(w, owner))

    def settle(self, pool: Pool) -> None:
        """Ask idle slots to help where there are parts to take; call helpers off whose job is over."""
        for slot, job_id in list(self._helping.items()):
            entry = pool.ledger.entries.get(job_id)
            if not _is_shared(entry) or pool.members[slot].slot.state is not SlotState.READY:
                del self._helping[slot]
                pool.send(slot, m.PutDown(job_id, "no help is needed any more"))
        if pool.ledger.waiting():
            return
        for entry in pool.ledger.entries.values():
            if not _is_shared(entry) or not entry.parts_left:
                continue
            owner = pool.members[entry.slot]
            asked = [w for w in self._idle(pool) if _are_alike(w, owner)][: entry.parts_left]
            here = list(self._helping.values()).count(entry.card.job_id)
            for helper in asked:
                self._helping[helper.slot.name] = entry.card.job_id
                entry.parts_left -= 1
                helper.free -= 1
                pool.send(helper.slot.name, m.Help(entry.card, 1 + here + len(asked)))

    def ended(self, slot: str, job_id: str) -> None:
        """A helper found nothing more to take."""
        if self._helping.get(slot) == job_id:
            del self._helping[slot]

    def died(self, pool: Pool, slot: str, is_ordered: bool) -> None:
        """A helper is gone."""
        job_id = self._helping.pop(slot, "")
        entry = pool.ledger.entries.get(job_id)
        if entry is not None and not is_ordered:
            entry.is_unshared = True

    def _idle(self, pool: Pool) -> list[Member]:
        return [
            w
            for w in pool.workers()
            if w.slot.state is SlotState.READY
            and w.free > 0
            and not self.is_helping(w.slot.name)
            and not pool.ledger.given_to(w.slot.name)
        ]


def _is_shared(entry: Optional[Entry]) -> bool:
    return (
        entry is not None
        and entry.stage is Stage.GIVEN
        and not (entry.suspect or entry.is_unshared or entry.weighed)
    )


def _are_alike(one: Member, other: Member) -> bool:
    """Say whether two workers give the same text: the same model, device kind and versions."""
    mine, theirs = (
        {name: fact for name, fact in w.facts.items() if name not in _OWN_FACTS} for w in (one, other)
    )
    return mine == theirs
