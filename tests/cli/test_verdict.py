"""When `status` exits with 4: the rule, as a table of cases."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from supervisor.commands.verdict import ready_count, why_degraded

CASES = [
    (["ready"], "running", ""),
    (["ready", "starting"], "running", ""),
    (["ready", "held"], "running", "w1 is held"),
    (["backoff", "held"], "running", "w0 is backoff, w1 is held"),
    (["starting"], "running", "no worker is ready"),
    ([], "running", "no worker is ready"),
    (["stopped"], "drained", ""),
    (["draining"], "draining", ""),
    (["held"], "drained", "w0 is held"),
    ([], "stopping", ""),
]


@pytest.mark.parametrize(("states", "state", "why"), CASES)
def test_the_verdict_follows_from_workers_and_what_the_service_means_to_do(
    states: list[str], state: str, why: str, worker: Callable[..., dict[str, Any]]
) -> None:
    slots = [worker(name=f"w{n}", state=name) for n, name in enumerate(states)]

    assert why_degraded({"supervisor": {"state": state}, "slots": slots}) == why


def test_a_worker_that_does_not_die_is_no_good_state(worker: Callable[..., dict[str, Any]]) -> None:
    slots = [worker(name=f"w{n}", state="killing", state_s=state_s) for n, state_s in enumerate((5, 60))]

    assert why_degraded({"supervisor": {"state": "stopping"}, "slots": slots}) == "w1 does not die"


def test_the_broker_and_gpuwatch_are_not_workers(worker: Callable[..., dict[str, Any]]) -> None:
    slots = [worker(), worker(name="broker", kind="broker", state="backoff")]
    status = {"supervisor": {"state": "running"}, "slots": slots}

    assert why_degraded(status) == ""
    assert ready_count({"slots": [*slots, worker(name="gpuwatch", kind="gpuwatch")]}) == 1
