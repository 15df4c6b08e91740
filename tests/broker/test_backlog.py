"""A message of many jobs takes places like many messages: no more is begun than is wanted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.ports.ports import Counts
from supervisor.contract.wire.messages import (
    Done,
    Ending,
    Fail,
    Failure,
    Leave,
    Ready,
    Release,
    Wanted,
)
from tests.broker.harness import BrokerProcess, local_settings, until
from tests.broker.model import World, new_world
from tests.broker.model_faults import Script
from tests.broker.model_supervisor import Plan
from tests.broker.worlds import local_world


def notification(count: int) -> dict[str, Any]:
    return {
        "Records": [
            {
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "raw"}, "object": {"key": f"{n}.wav"}},
            }
            for n in range(count)
        ]
    }


def send_many(world: World, count: int) -> None:
    for n in range(count):
        world.objects.stored["raw", f"{n}.wav"] = b"audio"
    world.queue.send(json.dumps(notification(count)), {})


def claimed(world: World) -> int:
    return sum(item.get("remState") in ("CLAIMED", "PUBLISHING") for item in world.records.items.values())


def test_many_jobs_of_one_message_are_begun_as_places_become_free(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        most = 0

        def count(number: int, name: str) -> None:
            nonlocal most
            most = max(most, claimed(world))

        world.after = count
        send_many(world, 40)
        world.host(Plan(work_s=20.0, wanted=3))
        world.run(world.is_quiet)

        assert most == 3
        assert [item["remState"] for item in world.records.items.values()] == ["DONE"] * 40
        assert {item["remAttempt"] for item in world.records.items.values()} == {1}


def test_line_of_a_broker_that_dies_is_its_heirs(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        send_many(world, 10)
        host = world.host(Plan(work_s=20.0, wanted=2))
        world.run_for(30.0)
        host.broker_dies()
        world.run(world.is_quiet)

        assert {item["remAttempt"] for item in world.records.items.values()} == {1}
        assert len(world.transcripts()) == 20


def test_two_hosts_share_a_line_only_by_messages_and_do_all_once(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        send_many(world, 10)
        first = world.host(Plan(work_s=20.0, wanted=2))
        world.run_for(30.0)
        world.host(Plan(work_s=20.0, wanted=2))
        first.leave(5.0)
        world.run(world.is_quiet)

        assert {item["remState"] for item in world.records.items.values()} == {"DONE"}
        assert len(world.transcripts()) == 20


@pytest.mark.slow
def test_notification_of_a_thousand_objects_is_bounded_and_given_back_at_once(
    tmp_path: Path, audio: Path
) -> None:
    world = local_world(tmp_path)
    for n in range(1_000):
        world.upload(f"{n}.wav", audio)
    world.send(notification(1_000))

    with BrokerProcess(local_settings(tmp_path, lease_s=60)) as broker:
        broker.say(Wanted(2))
        cards = [broker.hear(Ready).card, broker.hear(Ready).card]
        assert not [message for message in broker.gather(0.5) if isinstance(message, Ready)]
        broker.finish(cards[0])
        broker.say(Release(cards[1].job_id, "a test"))
        assert broker.hear(Done).ending is Ending.RELEASED

        freed = world.queue.receive(1, 60.0, 5.0)

        assert [message.receive_count for message in freed] == [2]
        assert world.queue.counts() == Counts(0, 1)
        spool = Path(world.settings.state_dir) / "spool"
        until(lambda: not list(spool.iterdir()), "the jobs' files removed")


@pytest.mark.slow
def test_leaving_broker_gives_a_line_back_at_once(tmp_path: Path, audio: Path) -> None:
    world = local_world(tmp_path)
    for n in range(3):
        world.upload(f"{n}.wav", audio)
    world.send(notification(3))

    with BrokerProcess(world.settings) as broker:
        card = broker.take_one()
        broker.say(Leave(10**9))
        broker.say(Fail(card.job_id, Failure.SICK_DEVICE, "a test"))

        assert broker.ended() == 0

    assert world.queue.counts() == Counts(1, 0)


def test_message_that_our_own_parked_poll_has_again_at_once_is_given_back_too(tmp_path: Path) -> None:
    """The answer to the poll was dealt with before the answer to the release: its handle was adopted by
    a lease that was then forgotten, and nobody saw the message for a whole visibility."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=10.0, wanted=1))
        world.send()
        world.run(lambda: bool(host.supervisor.jobs))
        dispatcher = host.dispatcher
        assert dispatcher is not None

        def own_poll() -> None:
            (again,) = world.queue.receive(1, 60.0, 0.0)
            host.executor.post(lambda: dispatcher._intake.take(again, world.now_s + 60.0))

        Script(world).after("queue.release", own_poll)
        host.tell(Release("rec-1", "drain"))
        host.tell(Wanted(0))
        world.run(lambda: not dispatcher._in_flight.leases)

        assert len(world.queue.receive(1, 60.0, 0.0)) == 1, "hidden from everybody"
