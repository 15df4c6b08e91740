"""A process dies at each call of a good job in turn, before it takes effect and after: one transcript.

Finite and exact: a good job makes a few dozen calls on the outside, and each is tried. Who
dies differs: the broker alone, the whole host for a while, or the host for ever.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Callable

import pytest

from tests.broker.model import HEIR_AFTER_S, Host, Killed, World, assert_once, new_world
from tests.broker.model_supervisor import Plan
from tests.support.memory_backend import QueueRules

SIDES = ("before", "after")
WITH_ANOTHER_S = 65.0  # after which a dead host's recording is in work elsewhere
BESIDE_THE_JOB = ("queue.counts", "queue.can_hold", "queue.receives_most", "queue.extend")


def broker_alone(world: World, host: Host) -> None:
    """Nothing else needs to be done: its supervisor starts an heir."""


def whole_host(world: World, host: Host) -> None:
    host.supervisor_dies()
    host.comes_back()


def host_for_ever(world: World, host: Host) -> None:
    host.supervisor_dies()
    host.is_gone = True
    world.host()


DEATHS = [broker_alone, whole_host, host_for_ever]


def calls_of_a_good_job(folder: Path) -> list[str]:
    """What one job calls from the start of its broker to the quiet after it."""
    with new_world(folder) as world:
        world.send()
        world.host()
        world.run(world.is_quiet)
        assert_once(world)
        return list(world.calls)


def one_death(folder: Path, number: int, side: str, death: Callable[[World, Host], None]) -> World:
    """Run a job whose broker dies at one call; gives the world in its last quiet."""
    with new_world(folder, QueueRules(max_receive_count=3)) as world:

        def die(at: int, name: str) -> None:
            if at == number:
                # The frame of the call unwinds first: what follows comes as an event of its own.
                world.timers.add(world.now_s, lambda: death(world, world.hosts[0]))
                raise Killed

        setattr(world, side, die)
        world.send()
        world.host()
        world.run(lambda: len(world.calls) > number)
        died_s = world.now_s
        world.run(world.is_quiet)
        assert world.now_s - died_s <= WITH_ANOTHER_S + Plan().work_s + HEIR_AFTER_S
        assert_once(world)
        assert world.queue.dead_letters == []
        return world


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("side", SIDES)
def test_dying_at_any_call_of_a_job_leaves_exactly_one_transcript(
    tmp_path: Path, side: str, death: Callable[[World, Host], None]
) -> None:
    names = calls_of_a_good_job(tmp_path / "good")
    for number in range(len(names)):
        try:
            one_death(tmp_path / f"{number}", number, side, death)
        except (AssertionError, KeyError) as error:
            raise AssertionError(f"death {side} call {number}, {names[number]}: {error}") from error


def test_a_good_job_makes_the_calls_that_the_protocol_says(tmp_path: Path) -> None:
    """Were the model to skip a port, the tests above would try less than they say."""
    names = calls_of_a_good_job(tmp_path)

    ports = [name for name in names if name.split(".")[0] in ("queue", "records", "objects")]
    in_order = [name for name in ports if name not in BESIDE_THE_JOB]
    assert [name for name in in_order if name != "queue.receive"] == [
        "records.update",  # claim
        "objects.fetch",
        "records.update",  # fence
        "objects.put",
        "objects.put",
        "records.update",  # complete
        "queue.delete",
    ]
    assert {
        "queue.receive",
        "queue.can_hold",
        "LeaseJournal.save",
        "LeaseJournal.forget",
        "Spool.drop",
    } < set(names)
    assert {"link.Ready", "link.Done", "link.Up", "link.Adopted"} < set(names)


def test_heir_on_another_host_waits_long_enough_to_claim_at_the_first_go(tmp_path: Path) -> None:
    """Found by the tests above: it came back on the very second the dead host's record ran out, and
    in real life up to a second before, because SQS cuts fractions off. Refused, it was given back
    for a second, and this third receive in vain sent an innocent job to the dead letters of a
    queue with REM's maxReceiveCount = 3.
    """
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        world.now_s += 0.7
        world.send()
        host = world.host()
        world.run(lambda: "objects.fetch" in world.calls)
        host.dies()
        host.is_gone = True

        world.host()
        world.run(world.is_quiet)

        assert_once(world)
        assert world.queue.dead_letters == []


@pytest.mark.parametrize("seed", range(20))
def test_random_orders_and_deaths_on_two_hosts_do_every_job_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"rec-{n}" for n in range(4)]
    with new_world(tmp_path) as world:
        world.choose = chance.randrange

        def maybe_die(number: int, name: str) -> None:
            # Bounded, so that it ends: the first 400 calls only.
            if number < 400 and chance.random() < 0.03:
                raise Killed

        world.before = world.after = maybe_die
        hosts = [world.host(Plan(work_s=chance.uniform(0.1, 90.0))) for _ in range(2)]
        for name in names:
            world.send(name)
        for host in hosts:
            world.timers.add(world.now_s + chance.uniform(1.0, 200.0), host.supervisor.worker_dies)
        world.run(world.is_quiet)

        assert_once(world, *names)
        assert sum(host.lives for host in hosts) > 2
