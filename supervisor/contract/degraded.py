"""Decides whether the service is degraded, for `status`, exit codes, `doctor`, demo and systemd. PURE.

Reads a status in the form of `status --json`. A key that an older supervisor does not send is unknown: it
never counts as a fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Optional

SICK = ("held", "backoff")
DIES_WITHIN_S = 10.0  # stacks, SIGKILL and reaping take 7 s at most
# One failed call and its retry are not an outage.
TROUBLE_OLD_S = 10.0
PROVEN = "settings"  # this outage needs an operator
# The default start timeout, for a supervisor that does not report one (`start_s`).
START_WITHIN_S = 180.0
# The broker and gpuwatch start within a second; a cold disk takes longer.
CHILD_START_WITHIN_S = 30.0
# With long leases the broker is replaced later than that (`provisioning.broker_silence_s`).
BROKER_SILENT_S = 30.0


def worker_slots(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the slots that transcribe."""
    return [slot for slot in _slots(status) if slot.get("kind", "worker") == "worker"]


def state_of(status: Mapping[str, Any]) -> str:
    """Return the supervisor's state; empty if the status has none."""
    return str(_supervisor(status).get("state") or "")


def ready_count(status: Mapping[str, Any]) -> int:
    """Count the workers that are ready to accept a job."""
    return sum(slot.get("state") == "ready" for slot in worker_slots(status))


def why_degraded(status: Mapping[str, Any]) -> str:
    """Return what is wrong with the service, as text; empty: nothing."""
    return "; ".join(reasons(status))


def reasons(status: Mapping[str, Any]) -> list[str]:
    """Return each reason why the service is degraded, the most serious first.

    Drained and stopping services have no ready worker by design, and a service that has just started has none
    yet: neither is a reason.
    """
    found = [*_of_workers(status), *_of_children(status), *_of_outside(_supervisor(status))]
    if found or state_of(status) != "running" or ready_count(status) or is_starting(status):
        return found
    first = next(iter(worker_slots(status)), None)
    return [f"no worker is ready{f' ({_named(first)})' if first is not None else ''}"]


def health(status: Mapping[str, Any]) -> str:
    """Return the service's health: ok, starting or degraded."""
    if reasons(status):
        return "degraded"
    return "starting" if is_starting(status) else "ok"


def is_starting(status: Mapping[str, Any]) -> bool:
    """Return whether the first workers are still starting and nothing has failed so far."""
    if state_of(status) != "running" or ready_count(status):
        return False
    workers = worker_slots(status)
    age_s = _number(_supervisor(status).get("uptime_s"))
    if not workers:
        return age_s is not None and age_s < CHILD_START_WITHIN_S
    return all(_is_on_its_way(slot) for slot in workers)


def _is_on_its_way(slot: Mapping[str, Any]) -> bool:
    """Return whether a worker loads for the first time, or again on request."""
    age_s, state = _number(slot.get("state_s")), slot.get("state")
    if slot.get("failures") or age_s is None:
        return False
    if state in ("starting", "draining") or (state == "stopped" and slot.get("has_started") is False):
        return age_s < (_number(slot.get("start_s")) or START_WITHIN_S)
    return state == "killing" and age_s < DIES_WITHIN_S


def _of_workers(status: Mapping[str, Any]) -> Iterator[str]:
    """Return the workers out of service. Held first: they may need an operator, a back-off does not."""
    for state in SICK:
        yield from (sentence for _, sentence in slots_in(state, status))
    yield from (f"{slot.get('name')} does not die" for slot in worker_slots(status) if _does_not_die(slot))


def slots_in(state: str, status: Mapping[str, Any]) -> list[tuple[list[str], str]]:
    """Return the workers in a state, grouped by reason: their names, and a sentence about them.

    A reason that all share (no model, a wrong setting) is reported once, not once for each of eight GPUs.
    """
    found: dict[str, list[str]] = {}
    for slot in worker_slots(status):
        if slot.get("state") == state:
            found.setdefault(str(slot.get("reason") or ""), []).append(str(slot.get("name")))
    return [(names, _sentence(names, state, reason)) for reason, names in found.items()]


def _of_children(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the broker and gpuwatch; nothing if the service is stopping."""
    if state_of(status) == "stopping":
        return
    for slot in _slots(status):
        if slot.get("kind") not in ("broker", "gpuwatch"):
            continue
        state, age_s = slot.get("state"), _number(slot.get("state_s")) or 0.0
        late = age_s >= (DIES_WITHIN_S if state == "killing" else CHILD_START_WITHIN_S)
        silent_s = _number(slot.get("silent_s"))
        if state == "ready" and silent_s is not None and silent_s >= BROKER_SILENT_S:
            yield f"{slot.get('name')} has said nothing for {silent_s:.0f} s"
        elif state == "backoff" or (state not in ("ready", "draining") and late):
            yield _named(slot)


def _of_outside(supervisor: Mapping[str, Any]) -> Iterator[str]:
    """Return the outages and their ages; none for a stopping service."""
    if supervisor.get("state") == "stopping":
        return
    if supervisor.get("devices_problem"):
        yield f"GPUs: {supervisor['devices_problem']}"
    troubles, ages = supervisor.get("troubles"), supervisor.get("troubles_s")
    for where, detail in troubles.items() if isinstance(troubles, dict) else ():
        age_s = _number(ages.get(where)) if isinstance(ages, dict) else None
        if where == PROVEN or age_s is None or age_s >= TROUBLE_OLD_S:
            yield f"{where}: {detail}"


def _does_not_die(slot: Mapping[str, Any]) -> bool:
    killed_s = _number(slot.get("state_s"))
    return slot.get("state") == "killing" and killed_s is not None and killed_s > DIES_WITHIN_S


def _named(slot: Mapping[str, Any]) -> str:
    return _sentence([str(slot.get("name"))], str(slot.get("state")), str(slot.get("reason") or ""))


def _sentence(names: list[str], state: str, reason: str) -> str:
    is_in = f"{'is' if len(names) == 1 else 'are'} {'in back-off' if state == 'backoff' else state}"
    return f"{', '.join(names)} {is_in}{f': {reason}' if reason else ''}"


def _supervisor(status: Mapping[str, Any]) -> Mapping[str, Any]:
    found = status.get("supervisor")
    return found if isinstance(found, dict) else {}


def _slots(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = status.get("slots")
    return [slot for slot in found if isinstance(slot, dict)] if isinstance(found, list) else []


def _number(value: Any) -> Optional[float]:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
