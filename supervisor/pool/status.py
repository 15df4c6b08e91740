"""The status as `status --json` shows it. PURE.

The only source for the `status` command. The keys are a public interface (design.md,
"Command line"). An unknown value is null, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from supervisor.contract import degraded
from supervisor.contract.wire import messages as m
from supervisor.pool.pool import Pool
from supervisor.pool.state.events import BROKER, Member, Mode
from supervisor.pool.state.jobs import JobEntry, Stage
from supervisor.pool.state.slot_types import ALIVE, SlotState

VERSION = 1


@dataclass(frozen=True)
class Facts:
    """Facts that the pool does not have: about this process and from outside."""

    pid: int
    started_at_s: float
    backend: str
    profile: str
    now_s: float
    now_unix_s: float
    rss_bytes: Mapping[int, int]  # by pid
    devices: Mapping[str, str]  # slot name -> device UUID, empty for the CPU
    compute: str = "auto"  # cpu: slots of GPUs compute on the CPU
    fake_gpus: int = 0
    notice: Optional[Mapping[str, Any]] = None  # as notices/watch.py reports it
    crashes: Sequence[Mapping[str, Any]] = ()  # the newest, newest first
    model_fetches: Sequence[Mapping[str, Any]] = ()  # downloads under way: model, percent, total_bytes
    version: str = ""
    host_name: str = ""
    model: str = ""
    compute_type: str = "auto"
    wanted_device: str = "auto"  # as the settings say: auto, cuda or cpu


def take(pool: Pool, facts: Facts) -> dict[str, Any]:
    """Build the status as a value that JSON can hold."""
    waiting = len(pool.jobs.waiting())
    status: dict[str, Any] = {
        "version": VERSION,
        "supervisor": {
            **_health_facts(pool, facts.now_s, facts.started_at_s, facts.wanted_device),
            "pid": facts.pid,
            "version": facts.version,
            "host": facts.host_name,
            "model": facts.model,
            "compute_type": facts.compute_type,
            "reason": pool.why,
            "drain_deadline_s": _drain_left_s(pool, facts),
            "notice": dict(facts.notice) if facts.notice else None,
            "backend": facts.backend,
            "profile": facts.profile,
            "compute": facts.compute,
            "fake_gpus": facts.fake_gpus,
            "model_fetches": [dict(fetch) for fetch in facts.model_fetches],
        },
        "slots": [_slot(pool, member, facts) for member in pool.members.values()],
        "queue": {
            "waiting": pool.queue.waiting if pool.queue else None,
            "in_flight": pool.queue.in_flight if pool.queue else None,
            "ready": waiting,
        },
        "totals": {
            "done": pool.totals.done,
            "failed": pool.totals.failed,
            "released": pool.totals.released,
            "crashed": pool.totals.crashed,
        },
        "crashes": [_crash(crash, facts.now_unix_s) for crash in facts.crashes],
    }
    status["supervisor"]["health"] = degraded.health(status)
    status["supervisor"]["degraded"] = degraded.reasons(status)
    return status


def summary(pool: Pool, now_s: float, started_at_s: float, wanted_device: str = "auto") -> dict[str, Any]:
    """Build only what `degraded.py` reads, for the systemd status after each event."""
    return {
        "supervisor": _health_facts(pool, now_s, started_at_s, wanted_device),
        "slots": [_slot_summary(member, now_s, started_at_s) for member in pool.members.values()],
    }


def _health_facts(pool: Pool, now_s: float, started_at_s: float, wanted_device: str) -> dict[str, Any]:
    left_behind = _left_behind(pool)
    ages = {where: round(now_s - since_s, 1) for where, since_s in pool.outages.since_s.items()}
    return {
        "uptime_s": round(now_s - started_at_s, 1),
        "state": pool.mode.value,
        "devices_problem": _devices_problem(pool.devices, wanted_device),
        "troubles": {**pool.outages, **left_behind},
        "troubles_s": {where: ages.get(where) for where in (*pool.outages, *left_behind)},
    }


def _devices_problem(devices: Optional[m.Devices], wanted: str) -> str:
    """Return the problem with the GPUs if this service is configured to use one."""
    if devices is None or wanted == "cpu":
        return ""
    # `auto` selects CPU slots on such a machine: a missing driver is no fault there.
    is_cpu_machine = wanted == "auto" and not devices.nvidia_pci and not devices.devices
    return "" if is_cpu_machine else devices.problem


def _crash(crash: Mapping[str, Any], now_unix_s: float) -> dict[str, Any]:
    return {**crash, "ago_s": round(max(0.0, now_unix_s - crash["at_unix_s"]), 1)}


def _drain_left_s(pool: Pool, facts: Facts) -> Optional[float]:
    if pool.mode is Mode.RUNNING or pool.deadline_at_s is None:
        return None
    return round(max(0.0, pool.deadline_at_s - facts.now_s), 1)


def _left_behind(pool: Pool) -> dict[str, str]:
    """List the processes that hang in the driver, survive SIGKILL and were replaced."""
    text = "pid {} hangs in the driver, does not die after SIGKILL and was left behind"
    slots = [member.slot for member in pool.members.values() if member.slot.left_behind_pid]
    return {slot.name: text.format(slot.left_behind_pid) for slot in slots}


def _slot(pool: Pool, member: Member, facts: Facts) -> dict[str, Any]:
    slot, alive = member.slot, member.slot.state in ALIVE
    speed = member.audio_s_done / member.took_s if member.took_s > 0 else None
    mine = [
        e
        for e in pool.jobs.entries.values()
        if e.slot == slot.name and e.stage in (Stage.GIVEN, Stage.STAGED)
    ]
    return {
        **_slot_summary(member, facts.now_s, facts.started_at_s),
        "hold": slot.hold.value or None,
        "pid": slot.pid if alive and slot.pid else None,
        "uptime_s": round(facts.now_s - slot.spawned_at_s, 1) if alive else None,
        "restarts": slot.restarts,
        "rss_bytes": facts.rss_bytes.get(slot.pid) if alive else None,
        "device": device(pool, facts.devices.get(slot.name)),
        "jobs": [_job(entry, facts) for entry in mine],
        "done": member.done,
        "failed": member.failed,
        "audio_s_done": round(member.audio_s_done, 2),
        "realtime_factor": round(speed, 2) if speed is not None else None,
        "batch_size": member.rows if alive else None,
        "batch_token_ms": dict(member.token_ms) if alive else {},
        "fit_windows": (member.facts.get("fit_windows") or "").split() if alive else [],
        "windows": dict(member.windows) if alive else {},
        "memory": pool.memory.limits_of(member.device, _model(member)).words or None,
    }


def _slot_summary(member: Member, now_s: float, started_at_s: float) -> dict[str, Any]:
    slot = member.slot
    return {
        "name": slot.name,
        "kind": slot.kind,
        "state": slot.state.value,
        "reason": slot.reason,
        "state_s": round(max(0.0, now_s - max(slot.since_s, started_at_s)), 1),
        "has_started": bool(slot.spawned_at_s),
        "start_s": member.policy.start_s,
        "failures": slot.failures,
        # Only the broker reports at a fixed interval: the queue's state every five seconds.
        "silent_s": round(now_s - slot.moved_at_s, 1)
        if slot.kind == BROKER and slot.state is SlotState.READY
        else None,
    }


def _model(member: Member) -> str:
    """Return the model that a slot's worker has loaded or will load."""
    return member.facts.get("model") or (member.load.model if member.load is not None else "")


def device(pool: Pool, uuid: Optional[str]) -> Optional[dict[str, Any]]:
    """Return the GPU as gpuwatch last reported it; for a CPU slot only the name `cpu`."""
    if uuid is None:
        return None
    known = {device.uuid: device for device in pool.devices.devices} if pool.devices else {}
    found = known.get(uuid) or m.Device(uuid, "" if uuid else "cpu", -1, health="unknown" if uuid else "ok")
    return {
        "uuid": found.uuid or None,
        "name": found.name,
        "index": found.index if found.uuid else None,
        "memory_used_bytes": found.memory_used_bytes,
        "memory_total_bytes": found.memory_total_bytes,
        "utilization_ratio": found.utilization_ratio,
        "temperature_c": found.temperature_c,
        "health": found.health,
        "power_w": found.power_w,
        "throttle": None if found.throttle is None else list(found.throttle),
        "ecc_errors_count": found.ecc_errors_count,
        "remapped_rows_count": found.remapped_rows_count,
        "recovery_action": found.recovery_action,
        "parent": found.parent or None,
    }


def _job(entry: JobEntry, facts: Facts) -> dict[str, Any]:
    return {
        "id": entry.card.job_id,
        "attempt": entry.card.attempt,
        "progress_ratio": round(entry.progress_ratio, 3),
        "phase": entry.phase or None,
        "phase_ratio": round(entry.phase_ratio, 3) if entry.phase else None,
        "audio_s": round(entry.audio_s, 2) if entry.audio_s else None,
        "started_unix_s": round(facts.now_unix_s - (facts.now_s - entry.given_at_s), 1),
    }
