"""Handles each message of a child process. PURE.

One method per message; `take` selects it. Late messages of processes that exited, and messages
about jobs that another worker has, change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from supervisor.contract.degraded import PROVEN
from supervisor.contract.wire import messages as m
from supervisor.pool.rules import read_ahead
from supervisor.pool.rules.device_holds import DeviceHolds
from supervisor.pool.rules.split_helpers import SplitHelpers
from supervisor.pool.rules.stall_budget import stall_budget_of
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import BROKER, Member
from supervisor.pool.state.jobs import JobEntry, Stage
from supervisor.pool.state.slot_types import SlotState
from supervisor.pool.state.state import PoolState

# After memory ran out: the worker's other jobs may finish within this time.
_FRESH_START_WITHIN_S = 300.0


class ChildMessages:
    """Applies the messages of children to the pool."""

    def __init__(self, state: PoolState, device_holds: DeviceHolds, split_helpers: SplitHelpers) -> None:
        self._state = state
        self._device_holds = device_holds
        self._split_helpers = split_helpers

    def take(self, member: Member, message: Any, now_s: float) -> None:
        """Take a message from `member`'s child: one of FROM_WORKER, FROM_BROKER, FROM_GPUWATCH."""
        member.last_message_at_s = now_s
        _HANDLERS[type(message)](self, member, message, now_s)

    def _on_up(self, member: Member, message: m.Up, now_s: float) -> None:
        member.facts = {"detail": message.detail, **message.facts}
        self._state.decide(member, sl.BecameReady(), now_s)
        if member.slot.name == BROKER:
            self._state.wanted = 0

    def _on_room(self, member: Member, message: m.Room, now_s: float) -> None:
        on_the_way = 0
        if message.holding is not None:
            on_the_way = max(0, len(self._state.jobs.given_to(member.slot.name)) - message.holding)
        free = min(message.free, 10_000)
        member.places = free + (message.holding or 0)
        member.free = max(0, free - on_the_way)
        member.rows, member.token_ms, member.windows = message.rows, message.token_ms, message.windows
        if message.rows_fit is not None and self._state.memory.learn_rows(
            *_engine_of(member), message.rows_fit
        ):
            self._note_memory(member)
        self._state.decide(member, sl.Heartbeat(), now_s)

    def _on_beat(self, member: Member, message: m.Beat, now_s: float) -> None:
        moved = message.phase == "idle" or message.moves != member.moves
        self._state.decide(member, sl.Heartbeat(moved, *stall_budget_of(message.jobs, member.policy)), now_s)
        member.moves = message.moves
        for progress in message.jobs:
            self._state.jobs.progress(member.slot.name, progress, now_s)

    def _on_staged(self, member: Member, message: m.Staged, now_s: float) -> None:
        entry = self._entry_of(member, message)
        if entry is None:
            return
        member.done += 1
        member.audio_s_done += message.audio_s
        member.took_s += message.took_s
        member.job_s = read_ahead.measured(member.job_s, message.took_s)
        entry.audio_s = message.audio_s
        self._state.decide(member, sl.FinishedJob(), now_s)
        self._state.send(BROKER, self._state.jobs.end(entry, m.Commit(message.job_id, entry.card.attempt)))

    def _on_failed(self, member: Member, message: m.Failed, now_s: float) -> None:
        entry = self._entry_of(member, message)
        if entry is None:
            return
        member.failed += 1
        if message.failure is m.Failure.REJECTED:
            self._state.decide(member, sl.FinishedJob(), now_s)  # it examined the audio, so the slot works
        fail = m.Fail(message.job_id, message.failure, message.detail, entry.card.attempt)
        self._state.send(BROKER, self._state.jobs.end(entry, fail))
        if message.failure is m.Failure.OUT_OF_MEMORY and member.slot.state is SlotState.READY:
            kind, compute_type = (member.facts.get(name, "") for name in ("device", "compute_type"))
            self._state.memory.step_down(*_engine_of(member), kind, compute_type)
            self._note_memory(member)
            order = sl.BeginDrain(
                now_s + _FRESH_START_WITHIN_S, "out of memory: a fresh start", sl.Next.RESTART
            )
            self._state.decide(member, order, now_s)

    def _note_memory(self, member: Member) -> None:
        self._state.refit(member)
        words = self._state.memory.limits_of(*_engine_of(member)).words
        self._state.note(
            "warning",
            "worker ran out of memory",
            {"event": "worker-out-of-memory", "slot": member.slot.name, "now": words},
        )

    def _on_checkpoint(self, member: Member, message: m.Checkpoint, now_s: float) -> None:
        if self._entry_of(member, message) is not None:
            self._state.send(BROKER, message)
            facts = {"job_id": message.job_id, "slot": member.slot.name, "done_s": round(message.done_s, 2)}
            self._state.note("debug", "checkpoint written", {"event": "checkpoint-written", **facts})

    def _on_stopped(self, member: Member, message: m.Stopped, now_s: float) -> None:
        entry = self._entry_of(member, message)
        if entry is not None:
            self._state.jobs.put_back(entry)

    def _on_parts(self, member: Member, message: m.Parts, now_s: float) -> None:
        entry = self._entry_of(member, message)
        if entry is not None:
            entry.parts_left = message.left

    def _on_helped(self, member: Member, message: m.Helped, now_s: float) -> None:
        self._split_helpers.on_helped(member.slot.name, message.job_id, message.attempt)

    def _on_ready(self, member: Member, message: m.Ready, now_s: float) -> None:
        known = self._state.jobs.entries.get(message.card.job_id)
        if known is not None and known.card.attempt != message.card.attempt:
            self._state.forget(known.card.job_id, "it was claimed anew")
        entry = self._state.jobs.ready(message.card)
        facts = {"job_id": message.card.job_id, "attempt": message.card.attempt}
        self._state.note("debug", "job ready for a slot", {"event": "job-ready", **facts})
        if entry.pending is not None:
            self._state.send(BROKER, entry.pending)

    def _on_adopted(self, member: Member, message: m.Adopted, now_s: float) -> None:
        for job_id in set(self._state.jobs.entries) - set(message.job_ids):
            self._state.forget(job_id, "its lease did not outlive the broker")

    def _on_lost(self, member: Member, message: m.Lost, now_s: float) -> None:
        self._state.forget(message.job_id, message.why)

    def _on_done(self, member: Member, message: m.Done, now_s: float) -> None:
        entry = self._state.jobs.remove(message.job_id)
        if entry is not None and entry.stage is Stage.GIVEN:
            self._state.send(
                entry.slot,
                m.StopJob(message.job_id, message.reason or message.ending.value, entry.card.attempt),
            )
        counted = {m.Ending.DONE: "done", m.Ending.FAILED: "failed", m.Ending.RELEASED: "released"}
        if message.ending in counted:
            name = counted[message.ending]
            setattr(self._state.totals, name, getattr(self._state.totals, name) + 1)

    def _on_queue(self, member: Member, message: m.QueueState, now_s: float) -> None:
        self._state.queue = message
        self._state.decide(member, sl.Heartbeat(), now_s)

    def _on_trouble(self, member: Member, message: m.Trouble, now_s: float) -> None:
        self._state.decide(member, sl.Heartbeat(), now_s)
        facts = {"where": message.where, "detail": message.detail}
        if message.detail:
            if not self._state.outages.begin(message.where, message.detail, now_s):
                return
            # "settings": AWS answered and refuses them; only an operator can correct them.
            refused = message.where == PROVEN
            told = "AWS refuses the settings" if refused else "service does not answer"
            event = "settings-refused" if refused else "outage-begins"
            self._state.note("error", told, {"event": event, **facts})
        elif self._state.outages.end(message.where):
            told = "AWS accepts the settings" if message.where == PROVEN else "service answers again"
            event = "settings-accepted" if message.where == PROVEN else "outage-ends"
            self._state.note("info", told, {"event": event, **facts})

    def _on_devices(self, member: Member, message: m.Devices, now_s: float) -> None:
        self._device_holds.on_devices(self._state, message, now_s)
        self._state.decide(member, sl.BecameReady(), now_s)
        self._state.decide(member, sl.Heartbeat(), now_s)

    def _on_xid(self, member: Member, message: m.Xid, now_s: float) -> None:
        self._device_holds.on_xid(message)
        self._state.note(
            "warning",
            "GPU driver reported an XID error",
            {"event": "xid-reported", "device_uuid": message.uuid, "xid": message.xid},
        )

    def _on_fault(self, member: Member, message: m.Fault, now_s: float) -> None:
        self._device_holds.on_fault(self._state, message, now_s)

    def _entry_of(self, member: Member, message: Any) -> Optional[JobEntry]:
        """Return the job if that worker has it, in the attempt that the message names."""
        return self._state.jobs.of_worker(member.slot.name, message.job_id, message.attempt)


def _engine_of(member: Member) -> tuple[str, str]:
    return member.device, member.facts.get("model", "")


_HANDLERS: Mapping[type, Any] = {
    m.Up: ChildMessages._on_up,
    m.Room: ChildMessages._on_room,
    m.Beat: ChildMessages._on_beat,
    m.Staged: ChildMessages._on_staged,
    m.Failed: ChildMessages._on_failed,
    m.Checkpoint: ChildMessages._on_checkpoint,
    m.Stopped: ChildMessages._on_stopped,
    m.Parts: ChildMessages._on_parts,
    m.Helped: ChildMessages._on_helped,
    m.Ready: ChildMessages._on_ready,
    m.Adopted: ChildMessages._on_adopted,
    m.Lost: ChildMessages._on_lost,
    m.Done: ChildMessages._on_done,
    m.QueueState: ChildMessages._on_queue,
    m.Trouble: ChildMessages._on_trouble,
    m.Devices: ChildMessages._on_devices,
    m.Xid: ChildMessages._on_xid,
    m.Fault: ChildMessages._on_fault,
}
