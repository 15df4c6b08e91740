"""Replies to control requests, read from the pool after the request was carried out. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from supervisor.contract.wire import messages as m
from supervisor.pool.pool import Pool
from supervisor.pool.rules.memory_gate import by_uuid
from supervisor.pool.state import slot_types as sl
from supervisor.pool.state.events import Member
from supervisor.pool.state.jobs import DrainChoice, JobEntry

# gpuwatch polls GPUs every 5 s: a fault that persists holds its slot again by then.
SEEN_WITHIN_S = 7.0
FOLLOW_S = 10.0  # how long a command waits for the outcome of a start


def of_drain(pool: Pool, names: Sequence[str], within_s: float) -> str:
    """Describe what happens to running jobs, and which command ends the drain."""
    members = [member for member in pool.workers() if not names or member.slot.name in names]
    who = ", ".join(names) or "the service"
    end = f"`rem-supervisor resume{''.join(f' {name}' for name in names)}` ends the drain."
    if not any(member.slot.state in sl.ALIVE for member in members):
        return f"{who}: drained, no worker is running. {end}"
    jobs = of_running_jobs(_entries(pool, members), within_s - _reserve_s(members), bool(names))
    return f"{who}: draining. {jobs} {end}"


def of_running_jobs(entries: Sequence[JobEntry], time_s: float, others_go_on: bool = False) -> str:
    """Describe what a deadline means for running jobs: each has a fresh drain decision."""
    then = "continued on another slot" if others_go_on else "returned to the queue"
    if not entries:
        return "No job is running."
    if time_s <= 0:
        jobs = _jobs(len(entries))
        repeated = "Work since the last checkpoint is repeated."
        return f"No time is left: workers are killed now; {jobs} {then}. {repeated}"
    suspended = sum(entry.drain_choice is DrainChoice.PUT_DOWN for entry in entries)
    parts = []
    if len(entries) > suspended:
        parts.append(f"{_jobs(len(entries) - suspended)} may finish within {time_s:.0f} s")
    if suspended:
        parts.append(f"{_jobs(suspended)} can't finish within {time_s:.0f} s: suspended now and {then}")
    return f"{'; '.join(parts)}."


def _jobs(count: int) -> str:
    return "1 running job" if count == 1 else f"{count} running jobs"


def of_resume(pool: Pool, names: Sequence[str]) -> str:
    """List the slots that start and those that stay held."""
    members = [member for member in pool.workers() if not names or member.slot.name in names]
    starting = [one.slot.name for one in members if one.slot.state is sl.SlotState.STARTING]
    held = [one.slot for one in members if one.slot.state is sl.SlotState.HELD]
    parts = ["The service accepts jobs."]
    if starting:
        parts.append(f"Starting: {', '.join(starting)}.")
    parts += [f"{slot.name} stays held: {slot.reason}." for slot in held]
    return " ".join(parts)


def of_restart(pool: Pool, member: Member, was: sl.SlotState, within_s: float) -> str:
    """Describe when a slot's next worker starts."""
    slot = member.slot
    if was in (sl.SlotState.DRAINING, sl.SlotState.KILLING):
        return f"{slot.name} is already {was.value}; it restarts afterwards."
    entries = _entries(pool, [member])
    if slot.state is sl.SlotState.DRAINING and entries:
        jobs = of_running_jobs(entries, within_s - member.policy.reserve_s, others_go_on=True)
        return f"{slot.name} restarts after its jobs. {jobs}"
    return f"{slot.name} restarts now."


def follow(pool: Pool, member: Member) -> dict[str, Any]:
    """Return how long to watch a start before reporting its outcome: a faulty GPU ends it again."""
    return {
        "slot": member.slot.name,
        "sure_after_s": SEEN_WITHIN_S if _fault(pool, member) else 0.0,
        "most_s": FOLLOW_S,
    }


def of_release(pool: Pool, member: Member) -> str:
    """Report that a slot starts, and what will hold it again."""
    fault = _fault(pool, member)
    warning = f" {fault} If the fault persists, the slot is held again within seconds." if fault else ""
    return f"{member.slot.name} is released and starts.{warning}"


def of_notice(pool: Pool, why: str, left_s: float, unheard: str = "") -> str:
    """Describe what a drill's notice does to this host; `unheard`: why a real one would be ignored."""
    members = pool.workers()
    jobs = of_running_jobs(_entries(pool, members), left_s - _reserve_s(members))
    note = f"\nA real notice would not be received here: {unheard}." if unheard else ""
    return (
        f"{why}\n"
        f"The service is {pool.mode.value} and accepts no new job. {jobs}\n"
        f"It stays drained until `rem-supervisor resume`, which ends the drill.{note}"
    )


def _fault(pool: Pool, member: Member) -> str:
    gpu = by_uuid(pool.devices).get(member.device) if member.device else None
    if member.device and gpu is None:
        return f"Its GPU {member.device} was not found."
    if gpu is None or gpu.health not in ("sick", "lost"):
        return ""
    return _words(gpu)


def _words(gpu: m.Device) -> str:
    if gpu.health == "lost":
        return f"Its GPU {gpu.uuid} does not respond."
    if gpu.recovery_action not in (None, "none"):
        return f"The driver still requests {gpu.recovery_action} for {gpu.uuid}."
    return f"The driver still reports a fault on {gpu.uuid}."


def _entries(pool: Pool, members: Sequence[Member]) -> list[JobEntry]:
    return [entry for member in members for entry in pool.jobs.given_to(member.slot.name)]


def _reserve_s(members: Sequence[Member]) -> float:
    return max((member.policy.reserve_s for member in members), default=0.0)
