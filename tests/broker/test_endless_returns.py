"""What fails for a passing reason, again and again, is given up in the end, in virtual time.

A full disk on every host once sent a recording round and round: REM's queue delivers three times, so every
third release sends a copy, whose count began at 1, and `max_receives` was never reached.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.broker.ports.errors import JobRejected
from supervisor.contract.wire.messages import Failure
from tests.broker.model import assert_once, new_world
from tests.broker.model_faults import Script
from tests.broker.model_supervisor import Plan
from tests.support.memory_backend import QueueRules

DAY_S = 86_400.0


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("max_receive_count", [None, 3])
def test_passing_failure_that_never_passes_fails_after_max_receives(
    tmp_path: Path, hosts: int, max_receive_count: int
) -> None:
    """All hosts together, copies included; the reason says what it was the last time."""
    with new_world(tmp_path, QueueRules(max_receive_count=max_receive_count)) as world:
        for _ in range(hosts):
            world.host(Plan(work_s=1.0, failures=(("rec-1", Failure.SICK_DEVICE),)))
        world.send()

        world.run(world.is_quiet, DAY_S)

        item = world.item()
        assert (item["remState"], item["status"]) == ("FAILED", "FAILED")
        assert item["remReason"] == (
            "It was delivered 101 times; the most allowed is 100 (queue.max_receives)."
            " The last time: The worker says no."
        )
        assert item["remAttempt"] == 101
        assert "remLastReason" not in item
        assert len(world.queue.dead_letters) == (0 if max_receive_count is None else 1)


def test_failure_that_passes_in_time_costs_nothing(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        host = world.host(Plan(work_s=1.0, failures=(("rec-1", Failure.SICK_DEVICE),)))
        world.send()
        world.run(lambda: world.item().get("remAttempt") == 95)
        host.supervisor.plan.failures = ()

        world.run(world.is_quiet)

        assert_once(world)
        assert "remLastReason" not in world.item()


def test_count_outlives_the_broker(tmp_path: Path) -> None:
    """What a message was delivered before stands in its lease's file too."""
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        host = world.host(Plan(work_s=1.0, failures=(("rec-1", Failure.SICK_DEVICE),)))
        world.send()
        world.run(lambda: world.item().get("remAttempt") == 51)  # the third delivery of a copy
        host.broker_dies()

        world.run(world.is_quiet, DAY_S)

        # The attempt that the broker died in may be begun anew within the same delivery.
        assert world.item()["remAttempt"] in (101, 102)


def test_audio_that_goes_away_between_receives_is_failed_with_a_reason(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        world.host()
        world.send()

        def gone() -> None:
            raise JobRejected("There is no object.")

        Script(world).before("objects.fetch", gone)

        world.run(world.is_quiet)

        assert world.item()["remReason"] == "There is no object."
        assert [letter.reason for letter in world.queue.dead_letters] == ["There is no object."]
