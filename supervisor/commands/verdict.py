"""Is the service well? One rule for `status`, its exit code and the demo. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SICK = ("held", "backoff")
DIES_WITHIN_S = 10.0  # stacks, SIGKILL and reaping take 7 s at most


def worker_slots(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the slots that transcribe."""
    slots = status.get("slots")
    found = slots if isinstance(slots, list) else []
    return [slot for slot in found if isinstance(slot, dict) and slot.get("kind", "worker") == "worker"]


def state_of(status: Mapping[str, Any]) -> str:
    """Give the supervisor's state; empty where the status does not say."""
    supervisor = status.get("supervisor")
    return str(supervisor.get("state") or "") if isinstance(supervisor, dict) else ""


def ready_count(status: Mapping[str, Any]) -> int:
    """Count the workers that would take a job."""
    return sum(slot.get("state") == "ready" for slot in worker_slots(status))


def why_degraded(status: Mapping[str, Any]) -> str:
    """Say what is wrong with the service; empty: nothing.

    A slot that is held, in back-off or does not die; or no worker ready while the service means to run
    (drained and stopping services have none on purpose).
    """
    sick = [
        f"{slot.get('name')} is {slot.get('state')}"
        for slot in worker_slots(status)
        if slot.get("state") in SICK
    ]
    sick += [f"{slot.get('name')} does not die" for slot in worker_slots(status) if _does_not_die(slot)]
    if sick:
        return ", ".join(sick)
    if state_of(status) == "running" and ready_count(status) == 0:
        return "no worker is ready"
    return ""


def _does_not_die(slot: Mapping[str, Any]) -> bool:
    killed_s = slot.get("state_s")
    return slot.get("state") == "killing" and isinstance(killed_s, (int, float)) and killed_s > DIES_WITHIN_S
