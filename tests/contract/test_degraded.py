"""When `status` exits with 4: the rule, as tables of cases."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.contract.degraded import health, ready_count, why_degraded


def worker(name: str = "w0", state: str = "ready", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "worker", "state": state, **more}


def status(*slots: dict[str, Any], state: str = "running", **supervisor: Any) -> dict[str, Any]:
    return {"supervisor": {"state": state, "uptime_s": 5.0, **supervisor}, "slots": list(slots)}


CASES = [
    (["ready"], "running", ""),
    (["ready", "starting"], "running", ""),
    (["ready", "held"], "running", "w1 is held"),
    (["backoff", "held"], "running", "w1 is held; w0 is in back-off"),
    (["starting"], "running", "no worker is ready (w0 is starting)"),
    (["stopped"], "drained", ""),
    (["draining"], "draining", ""),
    (["held"], "drained", "w0 is held"),
    ([], "stopping", ""),
]


@pytest.mark.parametrize(("states", "state", "why"), CASES)
def test_the_verdict_follows_from_workers_and_what_the_service_means_to_do(
    states: list[str], state: str, why: str
) -> None:
    slots = [worker(f"w{n}", name) for n, name in enumerate(states)]

    assert why_degraded(status(*slots, state=state)) == why


def test_a_worker_that_does_not_die_is_no_good_state() -> None:
    slots = [worker(f"w{n}", "killing", state_s=state_s) for n, state_s in enumerate((5, 60))]

    assert why_degraded(status(*slots, state="stopping")) == "w1 does not die"


@pytest.mark.parametrize(
    ("slot", "expected"),
    [
        (worker(state="starting", state_s=4.0, failures=0, start_s=180.0), "starting"),
        (worker(state="starting", state_s=181.0, failures=0, start_s=180.0), "degraded"),
        (worker(state="starting", state_s=4.0, failures=1, start_s=180.0), "degraded"),
        (worker(state="stopped", state_s=4.0, has_started=False), "starting"),  # waits for the model
        (worker(state="stopped", state_s=4.0, has_started=True), "degraded"),  # stopped by `drain w0`
        (worker(state="held", state_s=4.0, failures=0), "degraded"),
        (worker(state="draining", state_s=4.0, failures=0), "starting"),  # restart of the only worker
        (worker(state="killing", state_s=4.0, failures=0), "starting"),
    ],
)
def test_a_start_is_no_fault_until_it_fails_or_takes_too_long(slot: dict[str, Any], expected: str) -> None:
    """Each normal start answered 4 "no worker is ready" in its first seconds."""
    assert health(status(slot)) == expected


def test_a_service_that_knows_no_slot_yet_is_starting_for_a_while() -> None:
    assert health(status()) == "starting"
    assert health(status(uptime_s=60.0)) == "degraded"


@pytest.mark.parametrize("kind", ["broker", "gpuwatch"])
@pytest.mark.parametrize(
    ("state", "age_s", "expected"),
    [
        ("ready", 900.0, "ok"),
        ("starting", 3.0, "ok"),
        ("starting", 45.0, "degraded"),
        ("backoff", 0.2, "degraded"),
        ("killing", 3.0, "ok"),
        ("killing", 30.0, "degraded"),
        ("stopped", 60.0, "degraded"),
    ],
)
def test_without_its_broker_or_gpuwatch_a_service_is_degraded(
    kind: str, state: str, age_s: float, expected: str
) -> None:
    child = {"name": kind, "kind": kind, "state": state, "state_s": age_s}

    assert health(status(worker(), child)) == expected


def test_a_broker_that_says_nothing_is_not_ready_whatever_its_state() -> None:
    """A frozen broker was shown as ready while all leases ran out."""
    broker = {"name": "broker", "kind": "broker", "state": "ready", "state_s": 900.0}

    assert why_degraded(status(worker(), {**broker, "silent_s": 12.0})) == ""
    assert why_degraded(status(worker(), {**broker, "silent_s": 41.2})) == "broker has said nothing for 41 s"


def test_a_stopping_service_lets_its_children_go() -> None:
    child = {"name": "gpuwatch", "kind": "gpuwatch", "state": "stopped", "state_s": 60.0}

    assert why_degraded(status(worker(state="draining"), child, state="stopping")) == ""


def test_the_broker_and_gpuwatch_are_not_workers() -> None:
    slots = [worker(), {"name": "gpuwatch", "kind": "gpuwatch", "state": "ready"}]

    assert ready_count(status(*slots)) == 1


@pytest.mark.parametrize(
    ("ages", "why"),
    [
        ({"table": 3.0}, ""),
        ({"table": 42.0}, "table: AccessDenied"),
        ({"table": None}, "table: AccessDenied"),  # not known: better said than hidden
        (None, "table: AccessDenied"),  # an older supervisor sends no ages
    ],
)
def test_what_does_not_answer_degrades_the_service_once_it_has_lasted(ages: Any, why: str) -> None:
    """`status` said "running" and 0 while DynamoDB refused everything: it looked at worker slots only."""
    told = {"troubles": {"table": "AccessDenied"}, "troubles_s": ages}

    assert why_degraded(status(worker(), **told)) == why


def test_a_driver_that_hangs_degrades_the_service() -> None:
    told = {"devices_problem": "the NVIDIA driver has not answered for 10 s"}

    assert why_degraded(status(worker(), **told)) == "GPUs: the NVIDIA driver has not answered for 10 s"


@pytest.mark.parametrize("odd", [None, [], {}, "x", 7, {"supervisor": 3, "slots": "none"}, {"slots": [None]}])
def test_a_status_that_makes_no_sense_breaks_nothing(odd: Any) -> None:
    assert isinstance(why_degraded(odd if isinstance(odd, dict) else {}), str)
    assert isinstance(why_degraded({"supervisor": {"troubles": odd, "troubles_s": odd}}), str)


def test_settings_that_aws_proves_wrong_are_degraded_at_once() -> None:
    """An outage may pass in seconds; a wrong table does not."""
    said = "table rem-x has the keys userId and recordingId; rem-supervisor needs PK and SK."
    status = {
        "supervisor": {"state": "running", "troubles": {"settings": said}, "troubles_s": {"settings": 0.0}}
    }

    assert f"settings: {said}" in why_degraded(status)
