"""Messages that somebody removes from the queue in mid-job (a purge, a deletion by hand), in virtual time.

The work was once thrown away, though the record was still ours and nobody else could have had the job; the
record said TRANSCRIBING for ever, and `jobs --failed` nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.backends.failed_jobs import FailedJob, FailedJobs
from supervisor.contract.wire.messages import Ending, Failure, Wanted
from tests.broker.model import Host, Killed, World, assert_once, new_world
from tests.broker.model_faults import Script, die
from tests.broker.model_supervisor import Plan
from tests.support.memory_backend import QueueRules


def purged_in_mid_job(world: World, **plan: Any) -> Host:
    """A host in the middle of a recording that has noticed that its message is gone."""
    host = world.host(Plan(**{"work_s": 100.0, "wanted": 1, **plan}))
    world.send()
    world.run(lambda: bool(host.supervisor.jobs))
    world.queue.messages.clear()
    world.run_for(30.0)
    assert host.supervisor.lost == []
    return host


def failed_jobs(host: Host) -> list[FailedJob]:
    return FailedJobs(host.folder).newest_first()


def test_job_of_a_removed_message_is_done_all_the_same(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = purged_in_mid_job(world, work_s=400.0)

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1
        assert host.supervisor.endings == [("rec-1", Ending.DONE)]


def test_its_record_stays_held_against_copies_of_the_message(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        purged_in_mid_job(world, work_s=400.0)
        other = world.host(Plan(wanted=1))
        for _ in range(5):
            world.send()
            world.run_for(50.0)
            assert other.supervisor.jobs == {}

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1


def test_brokers_heir_goes_on_with_it(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = purged_in_mid_job(world, work_s=200.0)
        host.broker_dies()

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1


def test_its_failure_is_written_down_like_any_other(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = purged_in_mid_job(world, failures=(("rec-1", Failure.REJECTED),))

        world.run(world.is_quiet)

        assert (world.item()["remState"], world.item()["status"]) == ("FAILED", "FAILED")
        assert [job.id for job in failed_jobs(host)] == ["rec-1"]


@pytest.mark.parametrize("dies", [False, True])
def test_given_back_it_is_sent_anew(tmp_path: Path, dies: bool) -> None:
    """No queue would bring it again: a copy does, also where the broker dies in between."""
    with new_world(tmp_path) as world:
        host = purged_in_mid_job(world)
        if dies:
            Script(world).before("records.update", die)
        host.supervisor.release("rec-1")
        world.run(lambda: ("rec-1", Ending.RELEASED) in host.supervisor.endings)
        copies = len(world.queue.messages)
        host.supervisor.plan.work_s = 20.0
        world.run(world.is_quiet)

        assert copies == 1 or dies  # an heir does not know whether there is one already
        assert_once(world)
        assert world.item()["remAttempt"] == 2


def test_given_back_without_the_right_to_send_it_fails_with_that_reason(tmp_path: Path) -> None:
    """People see it, and `redrive` has its text."""
    with new_world(tmp_path, QueueRules(may_send=False)) as world:
        host = purged_in_mid_job(world)
        host.supervisor.release("rec-1", "drain")

        world.run(world.is_quiet)

        assert (world.item()["remState"], world.item()["status"]) == ("FAILED", "FAILED")
        assert "message was removed from the queue" in world.item()["remReason"]
        (failed,) = failed_jobs(host)
        assert failed.id == "rec-1"
        assert json.loads(failed.body)["recordingId"] == "rec-1"
        assert host.supervisor.endings == [("rec-1", Ending.FAILED)]


def test_nobody_works_on_it_any_more(tmp_path: Path) -> None:
    """The supervisor says no longer that the job moves: any other job's lease would run out now."""
    with new_world(tmp_path) as world:
        host = purged_in_mid_job(world, work_s=5_000.0)
        host.supervisor.is_silent = True
        world.run(lambda: ("rec-1", Ending.RELEASED) in host.supervisor.endings)
        host.supervisor.is_silent = False
        host.supervisor.plan.work_s = 20.0

        world.run(world.is_quiet)

        assert_once(world)


def test_one_of_two_messages_removed_changes_nothing(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=200.0))
        first = world.send()
        world.send()
        world.run(lambda: bool(host.supervisor.jobs) and len(host.dispatcher._in_flight.leases) == 2)  # type: ignore[union-attr]
        del world.queue.messages[first]
        world.run_for(30.0)
        host.supervisor.release("rec-1")
        world.run(lambda: ("rec-1", Ending.RELEASED) in host.supervisor.endings)
        host.supervisor.plan.work_s = 20.0

        world.run(world.is_quiet)

        assert_once(world)
        assert world.calls.count("queue.send_copy") == 0


@pytest.mark.parametrize("may_send", [True, False])
def test_jobs_of_a_removed_message_of_many_that_had_not_begun(tmp_path: Path, may_send: bool) -> None:
    """No record knows of them yet: they come again by a copy, or people are told of the message."""
    with new_world(tmp_path, QueueRules(may_send=may_send)) as world:
        host = world.host(Plan(work_s=100.0, wanted=1))
        keys = [f"{n}.wav" for n in range(3)]
        for key in keys:
            world.objects.stored["raw", key] = key.encode()
        records = [
            {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "raw"}, "object": {"key": key}}}
            for key in keys
        ]
        world.queue.send(json.dumps({"Records": records}), {})
        world.run(lambda: bool(host.supervisor.jobs))
        world.queue.messages.clear()
        world.run_for(30.0)
        host.supervisor.release(next(iter(host.supervisor.jobs)))
        world.run(lambda: len(host.supervisor.endings) > 0 and not host.dispatcher._in_flight.leases)  # type: ignore[union-attr]
        host.supervisor.plan.work_s = 5.0

        world.run(world.is_quiet)

        states = [item["remState"] for item in world.records.items.values()]
        if may_send:
            assert states == ["DONE"] * 3
        else:
            assert states == ["FAILED"]
            assert len(failed_jobs(host)) == 2  # the job, and the message of those that had not begun


@pytest.mark.parametrize("is_given_back", [False, True])
def test_broker_that_dies_at_any_call_after_a_purge_ends_the_job_once(
    tmp_path: Path, is_given_back: bool
) -> None:
    def purged(folder: Path, number: int) -> int:
        with new_world(folder) as world:
            host = purged_in_mid_job(world, work_s=60.0)
            begun = len(world.calls)

            def die_at(at: int, name: str) -> None:
                if at == begun + number:
                    raise Killed

            world.after = die_at
            if is_given_back:
                host.supervisor.release("rec-1")
            world.run(world.is_quiet)
            assert_once(world)
            return len(world.calls) - begun

    for number in range(purged(tmp_path / "good", -1)):
        purged(tmp_path / str(number), number)


def test_message_that_was_called_removed_and_comes_again_is_held_and_given_back_itself(
    tmp_path: Path,
) -> None:
    """A handle that ran out is called invalid too: its message stayed in the queue, and a copy came beside it
    when the job was given back."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=400.0, wanted=1))
        world.send()
        world.run(lambda: bool(host.supervisor.jobs))
        kept = dict(world.queue.messages)
        world.queue.messages.clear()
        world.run_for(30.0)
        world.queue.messages.update(kept)
        host.tell(Wanted(1))
        world.run_for(90.0)

        host.leave()
        world.run(lambda: not host.is_live())

        assert list(world.queue.messages) == list(kept)
