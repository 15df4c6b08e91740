"""Processes die at any call of a job with checkpoints, in virtual time: one transcript, nothing mixed up."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Callable

import pytest

from supervisor.contract.wire.messages import Failure
from tests.broker.model import Host, Killed, World, assert_once, new_world
from tests.broker.model_faults import Script, die
from tests.broker.model_supervisor import Plan
from tests.broker.test_checkpoints import at_work, left, plan
from tests.broker.test_dies_anywhere import SIDES, broker_alone, host_for_ever
from tests.support.memory_backend import QueueRules


def calls_of_a_long_job(folder: Path) -> list[str]:
    with new_world(folder) as world:
        world.send()
        world.host(plan(work_s=25.0))
        world.run(world.is_quiet)
        assert_once(world)
        assert left(world) == []
        return list(world.calls)


@pytest.mark.slow
@pytest.mark.parametrize("death", [broker_alone, host_for_ever])
@pytest.mark.parametrize("side", SIDES)
def test_dying_at_any_call_of_a_job_with_checkpoints_leaves_one_transcript(
    tmp_path: Path, side: str, death: Callable[[World, Host], None]
) -> None:
    names = calls_of_a_long_job(tmp_path / "good")
    assert names.count("objects.delete") >= 3
    for number in range(len(names)):
        with new_world(tmp_path / str(number), QueueRules(max_receive_count=3)) as world:

            def die_at(at: int, name: str, world: World = world, number: int = number) -> None:
                if at == number:
                    world.timers.add(world.now_s, lambda: death(world, world.hosts[0]))
                    raise Killed

            setattr(world, side, die_at)
            world.send()
            world.host(plan(work_s=25.0))
            world.run(lambda: len(world.calls) > number)  # noqa: B023
            world.run(world.is_quiet)
            assert_once(world)
            assert len(left(world)) <= 1  # one that no record ever named, of a host that is no more


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_random_orders_and_deaths_lose_no_job_and_mix_up_no_checkpoints(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"rec-{n}" for n in range(3)]
    with new_world(tmp_path) as world:
        world.choose = chance.randrange

        def maybe_die(number: int, name: str) -> None:
            if number < 400 and chance.random() < 0.02:  # bounded, so that it ends
                raise Killed

        world.before = world.after = maybe_die
        hosts = [world.host(Plan(work_s=chance.uniform(60.0, 150.0), checkpoint_s=7.0)) for _ in range(2)]
        for name in names:
            world.send(name)
        for host in hosts:
            for _ in range(4):
                world.timers.add(world.now_s + chance.uniform(15.0, 120.0), host.supervisor.worker_dies)
        world.run(world.is_quiet)

        assert_once(world, *names)
        assert any(host.supervisor.resumed for host in hosts)


def test_broker_that_dies_in_the_middle_of_sharing_leaves_a_heir_that_goes_on(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = at_work(world, 50.0)
        Script(world).after("objects.put", die)

        world.run(world.is_quiet)

        assert_once(world)
        assert left(world) == []
        assert host.lives == 2


def host_for_another(world: World, host: Host) -> None:
    host.supervisor_dies()
    host.is_gone = True
    world.host(failing_plan())


def failing_plan() -> Plan:
    """Long enough for some checkpoints, then the worker says no for good."""
    return plan(work_s=25.0, failures=(("rec-1", Failure.REJECTED),))


@pytest.mark.parametrize("death", [broker_alone, host_for_another])
@pytest.mark.parametrize("side", SIDES)
def test_dying_at_any_call_of_a_job_that_fails_leaves_no_checkpoint_that_a_record_named(
    tmp_path: Path, side: str, death: Callable[[World, Host], None]
) -> None:
    """Text stayed in the bucket for ever where a broker's heir ended the job: it knew of no checkpoint."""

    def fail_once(folder: Path, number: int) -> list[str]:
        with new_world(folder, QueueRules(max_receive_count=5)) as world:
            named = set()

            def look(at: int, name: str) -> None:
                named.add(world.item().get("remCheckpoint", {}).get("key"))
                if at == number:
                    world.timers.add(world.now_s, lambda: death(world, world.hosts[0]))
                    raise Killed

            world.send()
            setattr(world, side, look)
            world.host(failing_plan())
            world.run(lambda: world.item().get("remState") == "FAILED")
            world.run(world.is_quiet)
            assert "remCheckpoint" not in world.item()
            assert not named & set(left(world)), (number, world.calls[number])
            assert number >= 0 or len(named) >= 3, "nothing was shared"
            return world.calls

    for number in range(len(fail_once(tmp_path / "good", -1))):
        fail_once(tmp_path / str(number), number)
