"""A process dies at each call of jobs that end otherwise: failed, given back, held too long, in threes.

As `test_dies_anywhere.py`: every call, before and after its effect, on the host's own heir
and after the whole host's death.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from supervisor.broker.backends.failed_jobs import FailedJobs
from supervisor.contract.wire.messages import Failure
from tests.broker.model import Host, Killed, World, assert_once, new_world
from tests.broker.model_faults import Script, die
from tests.broker.model_supervisor import Plan
from tests.support.memory_backend import QueueRules

Tale = Callable[[World], Callable[[World], None]]


def rejected_by_the_worker(world: World) -> Callable[[World], None]:
    """One job that fails for good; gives what must hold in the end."""
    world.host(Plan(failures=(("rec-1", Failure.REJECTED),)))
    world.send()

    def check(world: World) -> None:
        assert world.item()["remState"] == "FAILED"
        assert world.item()["status"] == "FAILED"
        assert world.item()["remReason"] == "The worker says no."
        assert "remToken" not in world.item()
        assert world.transcripts() == {}
        kept = [job.id for host in world.hosts for job in FailedJobs(host.folder).newest_first()]
        assert "rec-1" in kept, "jobs --failed does not tell of it"
        # Copied before it is deleted: dying between the two copies it twice, and loses it never.
        assert 1 <= len(world.queue.dead_letters) <= 2
        assert world.queue.messages == {}

    return check


def given_back_at_its_last_receive(world: World) -> Callable[[World], None]:
    """Three innocent releases on a queue that buries after three receives."""
    host = world.host(Plan(work_s=10.0))
    world.send()
    releases = iter(range(3))

    def release() -> None:
        if "rec-1" in host.supervisor.jobs and next(releases, None) is not None:
            host.supervisor.release("rec-1")
        world.timers.add(world.now_s + 3.0, release)

    world.timers.add(world.now_s + 3.0, release)

    def check(world: World) -> None:
        assert_once(world)
        assert world.queue.dead_letters == []

    return check


def held_too_long(world: World) -> Callable[[World], None]:
    """Longer than the queue lets a message be held, once; the second time it is quick."""
    world.queue.rules.cap_s = 150.0
    host = world.host(Plan(work_s=400.0))
    world.send()

    def hurry() -> None:
        host.supervisor.plan.work_s = 20.0

    world.timers.add(world.now_s + 100.0, hurry)

    def check(world: World) -> None:
        assert_once(world)
        assert world.queue.dead_letters == []

    return check


def three_in_one_message(world: World) -> Callable[[World], None]:
    """An S3 notification of three recordings, one of which is not there."""
    world.host()
    for name in ("a", "c"):
        world.objects.stored["raw", f"{name}.wav"] = b"audio"
    records = [
        {
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "raw"}, "object": {"key": f"{name}.wav"}},
        }
        for name in ("a", "b", "c")
    ]
    world.queue.send(json.dumps({"Records": records}), {})

    def check(world: World) -> None:
        states = sorted(item["remState"] for item in world.records.items.values())
        assert states == ["DONE", "DONE", "FAILED"]
        assert len(world.completions) == 2
        assert len(world.transcripts()) == 4
        assert 1 <= len(world.queue.dead_letters) <= 2
        assert world.queue.messages == {}

    return check


TALES = [rejected_by_the_worker, given_back_at_its_last_receive, held_too_long, three_in_one_message]


def broker_alone(host: Host) -> None:
    """Its supervisor starts an heir."""


def whole_host(host: Host) -> None:
    host.supervisor_dies()
    host.comes_back()


def played(
    folder: Path,
    tale: Tale,
    number: int = -1,
    side: str = "",
    death: Callable[[Host], None] = broker_alone,
) -> list[str]:
    """Play a tale, with a death at one call or without; gives the calls that were made."""
    with new_world(folder, QueueRules(max_receive_count=3)) as world:

        def die(at: int, name: str) -> None:
            if at == number:
                world.timers.add(world.now_s, lambda: death(world.hosts[0]))
                raise Killed

        if side:
            setattr(world, side, die)
        check = tale(world)
        world.run(lambda: len(world.calls) > number)
        world.run(world.is_quiet)
        check(world)
        return list(world.calls)


def worth_trying(names: list[str]) -> Iterator[int]:
    """All calls but the beats, of which only the first of many alike says anything."""
    seen: dict[str, int] = {}
    for number, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        is_beat = name in ("queue.extend", "queue.counts", "queue.receive", "link.QueueState")
        if not is_beat or seen[name] <= 2:
            yield number


def is_beyond_us(names: list[str], number: int) -> bool:
    """Say whether the broker dies between a message's last delivery and writing it down.

    Nobody then knows that it must be copied, and SQS buries it by its own count: the price of
    maxReceiveCount = 3, of which `doctor` warns.
    """
    is_first_word = names[number] == "LeaseJournal.save" and names[number - 1] == "queue.receive"
    return is_first_word and names[:number].count("queue.release") == 2


@pytest.mark.parametrize("tale", TALES)
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("death", [broker_alone, whole_host])
def test_dying_at_any_call_ends_the_same_way(
    tmp_path: Path, tale: Tale, side: str, death: Callable[[Host], None]
) -> None:
    names = played(tmp_path / "good", tale)
    for number in worth_trying(names):
        if side == "before" and is_beyond_us(names, number):
            continue
        try:
            played(tmp_path / f"{number}", tale, number, side, death)
        except (AssertionError, KeyError) as error:
            raise AssertionError(f"death {side} call {number}, {names[number]}: {error}") from error


def test_each_tale_goes_the_way_it_says(tmp_path: Path) -> None:
    """Else the deaths above would prove something about another way."""
    calls = {tale.__name__: played(tmp_path / tale.__name__, tale) for tale in TALES}

    assert "queue.bury" in calls["rejected_by_the_worker"]
    assert "queue.send_copy" in calls["given_back_at_its_last_receive"]
    assert "queue.send_copy" in calls["held_too_long"]
    assert calls["three_in_one_message"].count("objects.put") == 4


def test_release_written_down_by_a_dead_host_is_not_worked_on_in_vain(tmp_path: Path) -> None:
    """Found by the deaths above: the record was free already, but the successor announced the job, had
    it transcribed, was refused at the fence and left the message to run out. On a queue that
    delivers three times this buried an innocent job; and always it cost the work.
    """
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        host = world.host(Plan(work_s=30.0))
        world.send()
        world.run(lambda: bool(host.supervisor.jobs))

        def die_once_free(number: int, name: str) -> None:
            if name == "records.update" and "remState" not in world.item() and host.lives == 1:
                world.timers.add(world.now_s, lambda: whole_host(host))
                raise Killed

        world.after = die_once_free
        host.supervisor.release("rec-1")
        released_at_s = world.now_s
        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 2
        assert len([name for name in world.calls if name == "objects.put"]) == 2
        assert world.now_s - released_at_s < 30.0 + 5.0


def test_twenty_releases_do_not_fail_a_job_where_the_queue_allows_three_receives(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        host = world.host(Plan(work_s=10.0))
        world.send()
        for released in range(20):
            world.run(lambda: bool(host.supervisor.jobs))
            host.supervisor.release("rec-1")
            world.run(lambda released=released: len(host.supervisor.endings) > released)  # type: ignore[misc]

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remReleases"] == 20
        assert world.queue.dead_letters == []


@pytest.mark.parametrize("may_send", [True, False])
def test_job_held_up_to_the_queues_cap_begins_anew(tmp_path: Path, may_send: bool) -> None:
    """The 12-hour cap, scaled down: extensions never reach beyond it, and nothing is lost at it."""
    with new_world(tmp_path, QueueRules(cap_s=300.0, may_send=may_send)) as world:
        host = world.host(Plan(work_s=1_000.0))
        world.send()
        world.run(lambda: bool(host.supervisor.endings))

        assert 200.0 < world.now_s - 1_000.0 < 300.0
        host.supervisor.plan.work_s = 50.0
        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 2
        assert host.supervisor.lost == []


@pytest.mark.parametrize("boot_id", ["boot-1", "boot-2"])
def test_failure_that_only_the_record_knows_is_told_to_people_by_the_heir(
    tmp_path: Path, boot_id: str
) -> None:
    """It died between the record's FAILED and its own list: `jobs --failed` was silent, and `redrive` too.

    In the same boot the heir has the lease; in another one the message comes again.
    """
    with new_world(tmp_path) as world:
        host = world.host(Plan(failures=(("rec-1", Failure.REJECTED),)))

        def end_all() -> None:
            host.dies()
            die()

        Script(world).after("records.update", end_all, nth=2)  # the first is the claim
        world.send()
        world.run(lambda: host.dispatcher is None)

        host.comes_back(boot_id=boot_id)
        world.run(world.is_quiet)

        (kept,) = FailedJobs(host.folder).newest_first()
        assert (kept.id, kept.reason) == ("rec-1", world.item()["remReason"])
        assert kept.body
