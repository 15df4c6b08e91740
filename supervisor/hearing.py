"""What each message of a child means for slots and jobs. PURE.

One function a message; `hear` picks it. Late words of processes that are gone, and words
about jobs that somebody else has, change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

from supervisor import read_ahead
from supervisor import slot as sl
from supervisor.contract import messages as m
from supervisor.degraded import PROVEN
from supervisor.ledger import Entry, Stage
from supervisor.patience import still_most
from supervisor.pool_types import BROKER, Member
from supervisor.slot import SlotState

if TYPE_CHECKING:
    from supervisor.pool import Pool

# After a lack of memory: what the worker computes beside may still end.
_FRESH_START_WITHIN_S = 300.0


def hear(pool: Pool, member: Member, message: Any, now_s: float) -> None:
    """Let a message from `member`'s child have its effect on the pool."""
    _HEARERS[type(message)](pool, member, message, now_s)


def _hear_up(pool: Pool, member: Member, message: m.Up, now_s: float) -> None:
    member.facts = {"detail": message.detail, **message.facts}
    pool.decide(member, sl.BecameReady(), now_s)
    if member.slot.name == BROKER:
        pool.wanted = 0


def _hear_room(pool: Pool, member: Member, message: m.Room, now_s: float) -> None:
    on_the_way = 0
    if message.holding is not None:
        on_the_way = max(0, len(pool.ledger.given_to(member.slot.name)) - message.holding)
    free = min(message.free, 10_000)
    member.places = free + (message.holding or 0)
    member.free = max(0, free - on_the_way)
    member.rows, member.token_ms = message.rows, message.token_ms
    if message.rows_fit is not None and pool.memory.learn_rows(*_engine_of(member), message.rows_fit):
        _note_memory(pool, member)
    pool.decide(member, sl.Heartbeat(), now_s)


def _hear_beat(pool: Pool, member: Member, message: m.Beat, now_s: float) -> None:
    moved = message.phase == "idle" or message.moves != member.moves
    pool.decide(member, sl.Heartbeat(moved, *still_most(message.jobs, member.policy)), now_s)
    member.moves = message.moves
    for progress in message.jobs:
        pool.ledger.progress(member.slot.name, progress, now_s)


def _hear_staged(pool: Pool, member: Member, message: m.Staged, now_s: float) -> None:
    entry = _entry_of(pool, member, message)
    if entry is None:
        return
    member.done += 1
    member.audio_s_done += message.audio_s
    member.took_s += message.took_s
    member.job_s = read_ahead.measured(member.job_s, message.took_s)
    entry.audio_s = message.audio_s
    pool.decide(member, sl.FinishedJob(), now_s)
    pool.send(BROKER, pool.ledger.end(entry, m.Commit(message.job_id, entry.card.attempt)))


def _hear_failed(pool: Pool, member: Member, message: m.Failed, now_s: float) -> None:
    entry = _entry_of(pool, member, message)
    if entry is None:
        return
    member.failed += 1
    if message.failure is m.Failure.REJECTED:
        pool.decide(member, sl.FinishedJob(), now_s)  # it judged the audio: the slot works
    fail = m.Fail(message.job_id, message.failure, message.detail, entry.card.attempt)
    pool.send(BROKER, pool.ledger.end(entry, fail))
    if message.failure is m.Failure.OUT_OF_MEMORY and member.slot.state is SlotState.READY:
        kind, compute_type = (member.facts.get(name, "") for name in ("device", "compute_type"))
        pool.memory.step_down(*_engine_of(member), kind, compute_type)
        _note_memory(pool, member)
        order = sl.Drain(now_s + _FRESH_START_WITHIN_S, "out of memory: a fresh start", sl.Next.RESTART)
        pool.decide(member, order, now_s)


def _engine_of(member: Member) -> tuple[str, str]:
    return member.device, member.facts.get("model", "")


def _note_memory(pool: Pool, member: Member) -> None:
    words = pool.memory.rung(*_engine_of(member)).words
    pool.note("warning", "a worker ran out of memory", {"slot": member.slot.name, "now": words})


def _hear_checkpoint(pool: Pool, member: Member, message: m.Checkpoint, now_s: float) -> None:
    if _entry_of(pool, member, message) is not None:
        pool.send(BROKER, message)
        facts = {"job_id": message.job_id, "slot": member.slot.name, "done_s": round(message.done_s, 2)}
        pool.note("debug", "checkpoint written", facts)


def _hear_stopped(pool: Pool, member: Member, message: m.Stopped, now_s: float) -> None:
    entry = _entry_of(pool, member, message)
    if entry is not None:
        pool.ledger.put_back(entry)


def _hear_parts(pool: Pool, member: Member, message: m.Parts, now_s: float) -> None:
    entry = _entry_of(pool, member, message)
    if entry is not None:
        entry.parts_left = message.left


def _hear_helped(pool: Pool, member: Member, message: m.Helped, now_s: float) -> None:
    pool.sharing.ended(member.slot.name, message.job_id, message.attempt)


def _hear_ready(pool: Pool, member: Member, message: m.Ready, now_s: float) -> None:
    known = pool.ledger.entries.get(message.card.job_id)
    if known is not None and known.card.attempt != message.card.attempt:
        pool.forget(known.card.job_id, "it was claimed anew")
    entry = pool.ledger.ready(message.card)
    facts = {"job_id": message.card.job_id, "attempt": message.card.attempt}
    pool.note("debug", "job is ready for a slot", facts)
    if entry.pending is not None:
        pool.send(BROKER, entry.pending)


def _hear_adopted(pool: Pool, member: Member, message: m.Adopted, now_s: float) -> None:
    for job_id in set(pool.ledger.entries) - set(message.job_ids):
        pool.forget(job_id, "its lease did not outlive the broker")


def _hear_lost(pool: Pool, member: Member, message: m.Lost, now_s: float) -> None:
    pool.forget(message.job_id, message.why)


def _hear_done(pool: Pool, member: Member, message: m.Done, now_s: float) -> None:
    entry = pool.ledger.remove(message.job_id)
    if entry is not None and entry.stage is Stage.GIVEN:
        pool.send(
            entry.slot, m.StopJob(message.job_id, message.reason or message.ending.value, entry.card.attempt)
        )
    counted = {m.Ending.DONE: "done", m.Ending.FAILED: "failed", m.Ending.RELEASED: "released"}
    if message.ending in counted:
        name = counted[message.ending]
        setattr(pool.totals, name, getattr(pool.totals, name) + 1)


def _hear_queue(pool: Pool, member: Member, message: m.QueueState, now_s: float) -> None:
    pool.queue = message
    pool.decide(member, sl.Heartbeat(), now_s)


def _hear_trouble(pool: Pool, member: Member, message: m.Trouble, now_s: float) -> None:
    pool.decide(member, sl.Heartbeat(), now_s)
    facts = {"where": message.where, "detail": message.detail}
    if message.detail:
        pool.troubles.begin(message.where, message.detail, now_s)
        # Of settings, AWS has answered: it refuses them, and only a person can correct them.
        refused = message.where == PROVEN
        pool.note("error", "AWS refuses the settings" if refused else "service does not answer", facts)
    elif pool.troubles.end(message.where):
        told = "AWS accepts the settings" if message.where == PROVEN else "service answers again"
        pool.note("info", told, facts)


def _hear_devices(pool: Pool, member: Member, message: m.Devices, now_s: float) -> None:
    pool.care.hear_devices(pool, message, now_s)
    pool.decide(member, sl.BecameReady(), now_s)
    pool.decide(member, sl.Heartbeat(), now_s)


def _hear_xid(pool: Pool, member: Member, message: m.Xid, now_s: float) -> None:
    pool.care.hear_xid(message)
    pool.note("warning", "the driver told a fault", {"device_uuid": message.uuid, "xid": message.xid})


def _hear_fault(pool: Pool, member: Member, message: m.Fault, now_s: float) -> None:
    pool.care.hear_fault(pool, message, now_s)


def _entry_of(pool: Pool, member: Member, message: Any) -> Optional[Entry]:
    """The job, if that worker really has it, in the attempt of which it speaks."""
    return pool.ledger.of_worker(member.slot.name, message.job_id, message.attempt)


_HEARERS: Mapping[type, Any] = {
    m.Up: _hear_up,
    m.Room: _hear_room,
    m.Beat: _hear_beat,
    m.Staged: _hear_staged,
    m.Failed: _hear_failed,
    m.Checkpoint: _hear_checkpoint,
    m.Stopped: _hear_stopped,
    m.Parts: _hear_parts,
    m.Helped: _hear_helped,
    m.Ready: _hear_ready,
    m.Adopted: _hear_adopted,
    m.Lost: _hear_lost,
    m.Done: _hear_done,
    m.QueueState: _hear_queue,
    m.Trouble: _hear_trouble,
    m.Devices: _hear_devices,
    m.Xid: _hear_xid,
    m.Fault: _hear_fault,
}
