"""Messages held as long as the queue allows, in virtual time: SQS's twelve hours, scaled down to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.broker.rules import lease_timing
from supervisor.contract.wire.messages import Ending
from tests.broker.model import World, assert_once, new_world
from tests.broker.model_supervisor import Plan
from tests.support.memory_backend import QueueRules

CAP_S = 3_600.0
TOO_LONG_S = 4_000.0


def one_long_try(folder_world: World, first_s: float, then_s: float) -> list[str]:
    """Let the worker be slow once, then quick; gives the ids of all messages there ever were."""
    world = folder_world
    ids = [world.send()]
    host = world.host(Plan(work_s=first_s))
    world.run(lambda: ("rec-1", Ending.RELEASED) in host.supervisor.endings, TOO_LONG_S)
    host.supervisor.plan.work_s = then_s
    ids += list(world.queue.messages)
    world.run(world.is_quiet)
    return ids


@pytest.mark.parametrize("may_send", [True, False])
def test_job_that_takes_longer_is_given_back_in_time_and_begins_anew(tmp_path: Path, may_send: bool) -> None:
    with new_world(tmp_path, QueueRules(cap_s=CAP_S, may_send=may_send)) as world:
        began_s = world.now_s

        ids = one_long_try(world, TOO_LONG_S, 20.0)

        assert_once(world)
        assert world.now_s - began_s < CAP_S
        assert world.item()["remAttempt"] == 2
        assert world.item()["remFailures"] == 1
        assert world.hosts[0].supervisor.lost == []  # never lost: given back
        assert (ids[0] != ids[1]) is may_send  # the continuation is a message of its own


def test_what_never_ends_in_that_time_fails_at_the_third_time(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(cap_s=CAP_S)) as world:
        world.send()
        host = world.host(Plan(work_s=TOO_LONG_S))

        world.run(lambda: ("rec-1", Ending.FAILED) in host.supervisor.endings, 4 * CAP_S)

        assert "Given up after 3 attempts." in world.item()["remReason"]


def test_age_of_a_message_outlives_its_broker(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(cap_s=CAP_S)) as world:
        world.send()
        host = world.host(Plan(work_s=TOO_LONG_S))
        world.run_for(0.9 * CAP_S)
        host.broker_dies()

        world.run(lambda: ("rec-1", Ending.RELEASED) in host.supervisor.endings, CAP_S)

        assert host.supervisor.lost == []


@pytest.mark.parametrize("lease_s", [60.0, 900.0, 43_200.0])
def test_no_extension_reaches_beyond_the_cap(lease_s: float) -> None:
    for now_s in range(0, 3_601, 100):
        by_s = lease_timing.extend_by_s(0.0, CAP_S, lease_s, float(now_s))

        assert 0.0 <= by_s <= lease_s
        assert now_s + by_s <= CAP_S


def test_short_hold_is_given_back_in_its_last_quarter() -> None:
    assert not lease_timing.is_worn(0.0, 40.0, 29.9)
    assert lease_timing.is_worn(0.0, 40.0, 30.0)
    assert not lease_timing.is_worn(0.0, CAP_S, CAP_S - 301.0)
    assert lease_timing.is_worn(0.0, CAP_S, CAP_S - 300.0)
