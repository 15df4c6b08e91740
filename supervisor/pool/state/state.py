"""The pool's state, and the methods by which rules change it. PURE.

Each rule of the pool takes this state and acts through `decide`, `send`, `note` and `end`; the
resulting actions are collected in `actions`, in order. `pool.py` sets the order of the rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Optional

from supervisor.contract.wire import messages as m
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import (
    BROKER,
    Action,
    EndProcess,
    ForSlot,
    Member,
    Mode,
    Note,
    RefitWorker,
    Send,
    Totals,
    move_note,
)
from supervisor.pool.state.jobs import JobTable, Stage
from supervisor.pool.state.oom_fallback import Load, OomFallback
from supervisor.pool.state.outages import METADATA, Outages
from supervisor.pool.state.slot import decide
from supervisor.pool.state.slot_types import Slot, SlotState

_SOON = sl.ALIVE | {SlotState.BACKOFF}  # states that take jobs, now or soon


class PoolState:
    """All slots and jobs of one host."""

    def __init__(self, read_ahead: int = 1) -> None:
        self.members: dict[str, Member] = {}
        self.jobs = JobTable()
        self.totals = Totals()
        self.mode = Mode.RUNNING
        self.deadline_at_s: Optional[float] = None
        self.why = ""  # the reason of the drain or stop with the earliest deadline
        self.queue: Optional[m.QueueState] = None
        self.devices: Optional[m.Devices] = None
        self.memory = OomFallback()
        self.outages = Outages()
        self.read_ahead = read_ahead
        self.wanted = 0
        self.to_load: list[str] = []  # workers whose start waits until others are ready
        self.actions: list[Action] = []
        self._workers: list[Member] = []  # those of `members`

    def add(self, name: str, kind: str, policy: sl.Policy) -> None:
        """Add a slot, which stays stopped until a Begin."""
        is_worker = kind == "worker"
        self.members[name] = member = Member(Slot(name, kind), replace(policy, queues_start=is_worker))
        if is_worker:
            self._workers.append(member)

    def remove(self, name: str) -> None:
        """Remove a slot that has no process."""
        gone = self.members.pop(name, None)
        self._workers = [worker for worker in self._workers if worker is not gone]

    def workers(self) -> list[Member]:
        """Return the worker slots, without broker and gpuwatch."""
        return self._workers

    def workers_named(self, names: Collection[str]) -> list[Member]:
        """Return these worker slots; no names: all."""
        return [w for w in self.workers() if not names or w.slot.name in names]

    def takers(self) -> list[Member]:
        """Return the workers that take jobs now or soon."""
        return [
            w
            for w in self.workers()
            if w.slot.state in _SOON
            and w.slot.next is sl.Next.RESTART
            and w.slot.signalled is not sl.Signalled.LOST
        ]

    def bring_deadline_nearer(self, deadline_at_s: float, why: str) -> bool:
        """Set this deadline if it is earlier than the current one; return whether it was set."""
        if self.deadline_at_s is not None and self.deadline_at_s <= deadline_at_s:
            return False
        self.deadline_at_s, self.why = deadline_at_s, why
        return True

    def decide(self, member: Member, event: sl.Event, now_s: float) -> None:
        """Apply an event to one slot; log its transition and collect its commands."""
        was = member.slot
        member.slot, commands = decide(was, event, member.policy, now_s)
        now = member.slot
        if now.state is not was.state or now.restarts != was.restarts:
            self.actions.append(move_note(was, now))
        if now.signalled is sl.Signalled.LOST and was.signalled is not now.signalled:
            self._give_up_jobs(member)
        for command in commands:
            if isinstance(command, sl.QueueStart):
                self.to_load.append(now.name)
            else:
                self.actions.append(ForSlot(now.name, _with_device(command, member)))

    def forget(self, job_id: str, why: str) -> None:
        """Remove a job that no longer belongs to this host, and stop it in its worker."""
        entry = self.jobs.remove(job_id)
        if entry is None:
            return
        if entry.stage is Stage.GIVEN:
            self.send(entry.slot, m.StopJob(job_id, why, entry.card.attempt))
        self.note(
            "warning",
            "job no longer belongs to this host",
            {"event": "job-lost", "job_id": job_id, "reason": why},
        )

    def send(self, name: str, message: m.Message) -> None:
        """Send a message to the child in that slot, if there is one."""
        self.actions.append(Send(name, message))

    def refit(self, member: Member) -> None:
        """Let the next processes on this worker's device load what fits now."""
        self.actions += [RefitWorker(w.slot.name) for w in self.workers() if w.device == member.device]

    def assign_device(self, name: str, device: str, parent: str, need_bytes: int, refusal: str) -> None:
        """Set a slot's device, the memory its model needs there, and why it may not start (or nothing)."""
        member = self.members[name]
        member.device, member.parent = device, parent
        member.need_bytes, member.refusal = need_bytes, refusal

    def will_load(self, name: str, load: Load) -> None:
        """Set what a slot's next process loads."""
        self.members[name].load = load

    def metadata_outage(self, detail: str, now_s: float) -> None:
        """Record or end an outage of the instance metadata service; empty: it ended."""
        if detail:
            self.outages.begin(METADATA, detail, now_s)
        else:
            self.outages.end(METADATA)

    def end(self, action: EndProcess) -> None:
        """End the supervisor."""
        self.actions.append(action)

    def note(self, level: str, sentence: str, facts: Mapping[str, Any]) -> None:
        """Log a constant sentence with its facts."""
        self.actions.append(Note(level, sentence, facts))

    def _give_up_jobs(self, member: Member) -> None:
        """Take back the jobs of a process that survives SIGKILL, since its exit may never come.

        They return to the queue, not to another slot: the process may hold locks in their folders.
        """
        slot = member.slot
        hung = slot.at_fault and not member.by_device
        failure = m.Failure.STALL if hung else m.Failure.SICK_DEVICE
        for entry in self.jobs.given_to(slot.name):
            card = entry.card
            self.send(BROKER, self.jobs.end(entry, m.Fail(card.job_id, failure, slot.reason, card.attempt)))
            self.note(
                "warning",
                "job taken back from a process that survived SIGKILL",
                {"event": "job-taken-back-unkillable", "job_id": card.job_id},
            )


def _with_device(command: sl.ProcessCommand, member: Member) -> sl.ProcessCommand:
    """Add the slot's device to an alarm."""
    return replace(command, device_uuid=member.device) if isinstance(command, sl.Alarm) else command
