"""Many slots and the jobs between them: one place that decides for the whole host. PURE.

`Pool.take(event, now_s)` gives the actions that follow, in order. Nothing here waits,
reads a clock or touches a process, so a day of work is tested in milliseconds.
The life of a single slot is `slot.py`'s; which job is where is `ledger.py`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Optional

from supervisor import slot as sl
from supervisor.care import Care, with_device
from supervisor.contract import messages as m
from supervisor.deaths import death_of, give_up_jobs, with_memory, with_patience
from supervisor.ending import Ending
from supervisor.finishing import Finishing
from supervisor.handing_out import hand_out, tell_wanted
from supervisor.hearing import hear
from supervisor.ledger import Death, Ledger, Stage
from supervisor.memory_ladder import MemoryLadder
from supervisor.outages import Outages
from supervisor.paused import pass_over
from supervisor.pool_types import (
    BROKER,
    GPUWATCH,
    Action,
    Crashed,
    Died,
    DrainSlots,
    Due,
    EndProcess,
    ForSlot,
    Heard,
    Member,
    Mode,
    Note,
    Paused,
    PoolEvent,
    Release,
    Resume,
    Send,
    SlotEvent,
    Stop,
    Totals,
    move_note,
)
from supervisor.sharing import Sharing
from supervisor.slot import Slot, SlotState
from supervisor.spreading import spread

__all__ = [
    "BROKER", "GPUWATCH", "Action", "Crashed", "Died", "DrainSlots", "Due", "EndProcess", "ForSlot", "Heard",
    "Member", "Mode", "Note", "Paused", "Pool", "PoolEvent", "Release", "Resume", "Send", "SlotEvent", "Stop",
    "Totals", "is_mere_sign",
]  # fmt: skip

KEEP_EVERY_S = 5.0
_SOON = sl.ALIVE | {SlotState.BACKOFF}  # states that take jobs, now or before long


class Pool:
    """All slots and jobs of one host."""

    def __init__(
        self, read_ahead: int = 1, loading_most: int = 2, unready_most_s: Optional[float] = None
    ) -> None:
        self.members: dict[str, Member] = {}
        self._workers: list[Member] = []  # those of `members`
        self.ledger = Ledger()
        self.totals = Totals()
        self.mode = Mode.RUNNING
        self.deadline_at_s: Optional[float] = None
        self.why = ""  # of a drain or stop: the one with the earliest deadline
        self.queue: Optional[m.QueueState] = None
        self.devices: Optional[m.Devices] = None
        self.care = Care()
        self.memory = MemoryLadder()
        self.troubles = Outages()
        self.read_ahead = read_ahead
        self._loading_most = loading_most
        self._to_load: list[str] = []  # workers whose start waits for others to get ready
        self.ending = Ending(unready_most_s)
        self.finishing = Finishing()
        self.sharing = Sharing()
        self.wanted = 0
        self._keep_at_s: Optional[float] = None
        self._actions: list[Action] = []

    def add(self, name: str, kind: str, policy: sl.Policy) -> None:
        """Make a slot; it rests until a Begin."""
        self.members[name] = member = Member(Slot(name, kind), policy)
        if kind == "worker":
            self._workers.append(member)

    def remove(self, name: str) -> None:
        """Forget a slot that has no process."""
        gone = self.members.pop(name, None)
        self._workers = [worker for worker in self._workers if worker is not gone]

    def take(self, event: PoolEvent, now_s: float) -> list[Action]:
        """Decide what follows from `event`: actions to carry out in this order."""
        return [*self.steps(event, now_s)]

    def steps(self, event: PoolEvent, now_s: float) -> Iterator[Action]:
        """The same as they are decided: starts are carried out before anything else is thought about.

        No other event may be taken before the last step.
        """
        self._actions = []
        _TAKERS[type(event)](self, event, now_s)
        if is_mere_sign(event):
            yield from self._actions
            return
        self._load_next(now_s)
        yield from self._actions
        self._actions = []
        self._settle(now_s)
        yield from self._actions

    def next_wake_s(self) -> Optional[float]:
        """Say when `Due` is wanted, if at all."""
        wakes = [member.slot.wake_at_s for member in self.members.values()]
        wakes += [self._keep_at_s, self.care.next_wake_s(), self.finishing.wake_at_s]
        wakes += self.ending.next_wakes_s(self)
        return min((wake for wake in wakes if wake is not None), default=None)

    def workers(self) -> list[Member]:
        return self._workers

    def _on_heard(self, event: Heard, now_s: float) -> None:
        member = self.members.get(event.name)
        if member is not None:
            hear(self, member, event.message, now_s)

    def _on_slot_event(self, event: SlotEvent, now_s: float) -> None:
        member = self.members[event.name]
        self.decide(member, with_patience(member, event.event, now_s), now_s)
        if event.name == BROKER and isinstance(event.event, sl.Spawned) and self.mode is Mode.STOPPING:
            self.decide(member, sl.Drain(self._deadline(now_s), "stopping"), now_s)

    def _on_died(self, event: Died, now_s: float) -> None:
        member = self.members[event.name]
        member.free, member.moves, member.gone_at_s = 0, -1, now_s
        charged = True
        death = death_of(member, event)
        member.by_device = False
        if death is not Death.ORDERED:
            jobs = tuple(entry.card.job_id for entry in self.ledger.given_to(event.name))
            xids = self.care.xids_of(member, now_s)
            ended = death.value, event.returncode, event.out_of_memory
            self._actions.append(Crashed(member.slot, *ended, jobs, xids))
        if member.slot.kind == "worker":
            self.sharing.died(self, event.name, death is Death.ORDERED)
            charged = self._take_jobs_back(member, death)
        if event.name == BROKER:
            self.troubles.forget_broker()
        exited = sl.Exited(event.returncode, charged, event.jitter_ratio, event.said, event.cure)
        self.decide(member, with_memory(self.memory, member, exited, event.out_of_memory), now_s)

    def _take_jobs_back(self, member: Member, death: Death) -> bool:
        """Free a dead worker's jobs; say whether its death counts against the slot."""
        entries = self.ledger.given_to(member.slot.name)
        suspected = any(entry.suspect for entry in entries)
        if death is not Death.ORDERED:
            self.totals.crashed += 1
        for fail in self.ledger.take_back(member.slot.name, death):
            self.send(BROKER, fail)
        for entry in entries:
            facts = {"slot": member.slot.name, "job_id": entry.card.job_id, "death": death.value}
            self.note("warning", "job taken back from a dead worker", facts)
        return not suspected

    def _on_drain(self, event: DrainSlots, now_s: float) -> None:
        if self.mode is Mode.STOPPING:
            if not event.names:
                self._hasten(event, now_s)
            return
        everyone = not event.names
        resting = all(w.slot.state is SlotState.STOPPED for w in self.workers())
        if everyone and self.mode is Mode.DRAINED and resting:
            return
        if everyone:
            if self.deadline_at_s is None or event.deadline_at_s < self.deadline_at_s:
                self.deadline_at_s, self.why = event.deadline_at_s, event.why
            self.mode = Mode.DRAINING
        # A host that drains starts nothing again, a reload's restart neither.
        next_ = event.next if self.mode is Mode.RUNNING else sl.Next.REST
        for member in self._named(event.names):
            self.decide(member, sl.Drain(event.deadline_at_s, event.why, next_), now_s)

    def _hasten(self, event: DrainSlots, now_s: float) -> None:
        """While stopping, a notice can only bring the end nearer."""
        if self.deadline_at_s is None or event.deadline_at_s < self.deadline_at_s:
            self.deadline_at_s, self.why = event.deadline_at_s, event.why
            for member in self.members.values():
                self.decide(member, sl.Drain(event.deadline_at_s, event.why), now_s)

    def _on_resume(self, event: Resume, now_s: float) -> None:
        if self.mode is Mode.STOPPING:
            return
        self.mode, self.deadline_at_s, self.why = Mode.RUNNING, None, ""
        for member in self._named(event.names):
            self.decide(member, sl.Begin(), now_s)

    def _on_release(self, event: Release, now_s: float) -> None:
        member = self.members[event.name]
        self.care.release(self, member)
        self.decide(member, sl.Begin(), now_s)

    def stop(self, event: Stop, now_s: float) -> None:
        again = self.mode is Mode.STOPPING
        if not again:
            self.ending.stop_begins(self, event)
        self.mode = Mode.STOPPING
        if self.deadline_at_s is None or event.deadline_at_s < self.deadline_at_s:
            self.deadline_at_s, self.why = event.deadline_at_s, event.why
        for member in self.workers():
            order = sl.Kill(event.why, sl.Next.REST) if again else sl.Drain(self.deadline_at_s, event.why)
            self.decide(member, order, now_s)
        for name, order in (
            (BROKER, sl.Drain(self.deadline_at_s, event.why)),
            (GPUWATCH, sl.Kill(event.why, sl.Next.REST)),
        ):
            if name in self.members:
                self.decide(self.members[name], order, now_s)

    def _on_due(self, event: Due, now_s: float) -> None:
        for member in self.members.values():
            self.decide(member, sl.Tick(), now_s)
        if self._keep_at_s is not None and now_s >= self._keep_at_s:
            self._keep_at_s = None
            self.send(BROKER, m.Keep(tuple(self.ledger.entries), self.ledger.samples_bytes()))

    def _on_paused(self, event: Paused, now_s: float) -> None:
        pass_over(self, event.lost_s, now_s)

    # --- after every event ----------------------------------------------------------

    def _settle(self, now_s: float) -> None:
        """Bring jobs to workers, the broker up to date, and a stop or drain to its end."""
        self.finishing.settle(self, now_s)
        hand_out(self, now_s)
        spread(self, now_s)
        self.sharing.settle(self)
        if not self.takers() and not self._is_staffing():
            for entry in self.ledger.waiting():
                why = "no slot can take it soon" if self.mode is Mode.RUNNING else self.mode.value
                self.send(
                    BROKER, self.ledger.end(entry, m.Release(entry.card.job_id, why, entry.card.attempt))
                )
        if self.ledger.entries and self._keep_at_s is None:
            self._keep_at_s = now_s + KEEP_EVERY_S
        elif not self.ledger.entries:
            self._keep_at_s = None
        if self.mode is Mode.DRAINING and not any(w.slot.state in sl.ALIVE for w in self.workers()):
            self.mode, self.deadline_at_s = Mode.DRAINED, None  # met: a later stop has its own
            self.note("info", "drained", {})
        self.care.settle(self, now_s)
        self._load_next(now_s)  # of what care let go
        tell_wanted(self)  # after the starts: the broker it wakes would compete with a newborn for a core
        self.ending.settle(self, now_s)

    def _load_next(self, now_s: float) -> None:
        """Let the next workers load. All at once would starve each other of disk and memory."""
        may = [n for n in self._to_load if self.care.may_start(self, self.members[n], now_s)]
        for member in [self.members[name] for name in self._to_load]:
            if member.slot.state is SlotState.STARTING:
                continue
            self._to_load.remove(member.slot.name)  # told to go before there was a process
            self.decide(member, sl.SpawnFailed(member.slot.reason), now_s)
        loading = sum(w.slot.state is SlotState.STARTING for w in self.workers()) - len(self._to_load)
        for name in [name for name in may if name in self._to_load][: max(0, self._loading_most - loading)]:
            self._to_load.remove(name)
            self._actions.append(ForSlot(name, sl.Spawn()))

    def takers(self) -> list[Member]:
        """Workers that take jobs now or soon."""
        return [
            w
            for w in self.workers()
            if w.slot.state in _SOON and w.slot.next is sl.Next.RESTART and w.slot.signalled != "lost"
        ]

    def _is_staffing(self) -> bool:
        """Workers are still to come: what a dead supervisor left waits for them, not for the queue."""
        fresh = all(w.slot.state is SlotState.STOPPED and not w.slot.spawned_at_s for w in self.workers())
        return self.mode is Mode.RUNNING and fresh

    def decide(self, member: Member, event: sl.Event, now_s: float) -> None:
        """Let one slot decide; note its move; pass its commands on."""
        was = member.slot
        member.slot, commands = sl.decide(was, event, member.policy, now_s)
        now = member.slot
        if now.state is not was.state or now.restarts != was.restarts:
            self._actions.append(move_note(was, now))
        if now.signalled == "lost" != was.signalled:
            give_up_jobs(self, member)
        for command in commands:
            if isinstance(command, sl.Spawn) and now.kind == "worker":
                self._to_load.append(now.name)
                member.slot, _ = sl.decide(now, sl.Queued(now.reason), member.policy, now_s)
            else:
                self._actions.append(ForSlot(now.name, with_device(command, member)))

    def forget(self, job_id: str, why: str) -> None:
        entry = self.ledger.remove(job_id)
        if entry is None:
            return
        if entry.stage is Stage.GIVEN:
            self.send(entry.slot, m.StopJob(job_id, why, entry.card.attempt))
        self.note("warning", "job is no longer ours", {"job_id": job_id, "reason": why})

    def _named(self, names: Collection[str]) -> list[Member]:
        return [w for w in self.workers() if not names or w.slot.name in names]

    def _deadline(self, otherwise_s: float) -> float:
        return otherwise_s if self.deadline_at_s is None else self.deadline_at_s

    def send(self, name: str, message: m.Message) -> None:
        self._actions.append(Send(name, message))

    def end(self, action: EndProcess) -> None:
        self._actions.append(action)

    def note(self, level: str, sentence: str, facts: Mapping[str, Any]) -> None:
        self._actions.append(Note(level, sentence, facts))


def is_mere_sign(event: PoolEvent) -> bool:
    """Say whether this is one of the frequent words of children that prove life and no more.

    They move no slot, job or place, and `next_wake_s` only to a later moment: who does nothing
    after one of them misses nothing. 64 workers say six of them a second.
    """
    return isinstance(event, Heard) and isinstance(event.message, (m.Beat, m.QueueState))


_TAKERS: Mapping[type, Any] = {
    Heard: Pool._on_heard,
    SlotEvent: Pool._on_slot_event,
    Died: Pool._on_died,
    DrainSlots: Pool._on_drain,
    Resume: Pool._on_resume,
    Release: Pool._on_release,
    Stop: Pool.stop,
    Due: Pool._on_due,
    Paused: Pool._on_paused,
}
