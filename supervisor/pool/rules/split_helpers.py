"""Assigns idle slots to help with parts of a long recording. PURE.

A worker that splits a recording reports how many of its parts are not begun. Idle slots with the same
engine are asked to help: the workers claim parts by files in the job's folder (`split_parts.py`). The
job stays with its slot, which joins the parts. If a helper exits, its work since the parts' last
checkpoints is lost, and another helper may replace it. The number of lost helpers is limited: a
recording that crashes workers then crashes only its own.
"""

from __future__ import annotations

from typing import Optional

from supervisor.contract.wire import messages as m
from supervisor.pool.state.events import Member
from supervisor.pool.state.jobs import JobEntry, Stage
from supervisor.pool.state.slot_types import SlotState
from supervisor.pool.state.state import PoolState

_HELPERS_LOST_MOST = 3  # a guess: kills from outside are rare, a bad recording kills each time
# Facts of a worker that do not affect the text it produces.
_OWN_FACTS = frozenset({"detail", "load_s", "warmup_s"})


class SplitHelpers:
    """Which slot helps with which job."""

    def __init__(self) -> None:
        self._helping: dict[str, m.JobCard] = {}  # slot -> job
        self._dismissed: set[str] = set()  # slots that were told to stop helping and have not confirmed yet

    def is_helping(self, slot: str) -> bool:
        """Return whether a slot works on parts of another slot's job."""
        return slot in self._helping

    def helps_with(self, slot: str, job_id: str) -> bool:
        """Return whether a slot works on parts of this job: until it stops it cannot get the job itself."""
        card = self._helping.get(slot)
        return card is not None and card.job_id == job_id

    def sharers(self, state: PoolState, owner: Member) -> int:
        """Return among how many slots, including `owner`, a recording may be shared now."""
        return 1 + sum(1 for w in self._idle(state) if w is not owner and _are_alike(w, owner))

    def after_event(self, state: PoolState) -> None:
        """Ask idle slots to help with unclaimed parts; dismiss helpers whose job has ended."""
        for slot, card in self._helping.items():
            entry = state.jobs.of_attempt(card.job_id, card.attempt)
            is_ready = state.members[slot].slot.state is SlotState.READY
            if slot not in self._dismissed and not (_is_shared(entry) and is_ready):
                self._dismissed.add(slot)
                why = "no help is needed any more"
                state.send(slot, m.PutDown(card.job_id, why, attempt=card.attempt))
        if state.jobs.waiting():
            return
        for entry in state.jobs.entries.values():
            if not _is_shared(entry) or not entry.parts_left:
                continue
            owner = state.members[entry.slot]
            asked = [w for w in self._idle(state) if _are_alike(w, owner)][: entry.parts_left]
            here = sum(self.helps_with(slot, entry.card.job_id) for slot in self._helping)
            for helper in asked:
                self._helping[helper.slot.name] = entry.card
                entry.parts_left -= 1
                helper.free -= 1
                state.send(helper.slot.name, m.Help(entry.card, 1 + here + len(asked)))

    def on_helped(self, slot: str, job_id: str, attempt: int = 0) -> None:
        """A helper found no part left to claim."""
        if self.helps_with(slot, job_id) and attempt in (0, self._helping[slot].attempt):
            del self._helping[slot]
            self._dismissed.discard(slot)

    def on_exit(self, state: PoolState, slot: str, is_ordered: bool) -> None:
        """A worker exited that may have been a helper."""
        card = self._helping.pop(slot, None)
        self._dismissed.discard(slot)
        entry = state.jobs.of_attempt(card.job_id, card.attempt) if card is not None else None
        if entry is not None and not is_ordered:
            entry.helpers_lost += 1

    def _idle(self, state: PoolState) -> list[Member]:
        return [
            w
            for w in state.workers()
            if w.slot.state is SlotState.READY
            and w.free > 0
            and not self.is_helping(w.slot.name)
            and not state.jobs.given_to(w.slot.name)
        ]


def _is_shared(entry: Optional[JobEntry]) -> bool:
    return (
        entry is not None
        and entry.stage is Stage.GIVEN
        and entry.helpers_lost < _HELPERS_LOST_MOST
        and not (entry.suspect or entry.drain_choice)
    )


def _are_alike(one: Member, other: Member) -> bool:
    """Return whether two workers produce the same text: same model, device kind and versions."""
    mine, theirs = (
        {name: fact for name, fact in w.facts.items() if name not in _OWN_FACTS} for w in (one, other)
    )
    return mine == theirs
