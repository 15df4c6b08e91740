"""Work carries on on another machine, from where the record says, in virtual time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Callable

import pytest

from supervisor.broker.work.executor import COMMIT
from supervisor.contract.wire.messages import Checkpoint, Ending, Failure, Release
from tests.broker.model import Host, World, assert_once, new_world
from tests.broker.model_faults import Script, forbidden, later, stop_for
from tests.broker.model_supervisor import Plan, leave_checkpoint
from tests.support.memory_backend import QueueRules

CAP_S = 3_600.0
LONG = Plan(work_s=100.0, checkpoint_s=10.0, wanted=1)


def plan(**changes: object) -> Plan:
    return dataclasses.replace(LONG, **changes)  # type: ignore[arg-type]


def left(world: World) -> list[str]:
    """Name the checkpoints that lie in the bucket."""
    return [key for key in world.transcripts() if key.startswith("checkpoints/")]


def pointed(world: World) -> float:
    """How far the record says that somebody was."""
    return float(world.item().get("remCheckpoint", {}).get("doneSeconds", 0.0))


def at_work(world: World, done_s: float) -> Host:
    """A host in the middle of a long recording."""
    host = world.host(plan())
    world.send()
    world.run(lambda: pointed(world) >= done_s)
    return host


def test_given_back_job_carries_on_elsewhere_and_leaves_nothing(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        first = at_work(world, 50.0)
        first.supervisor.plan.wanted = 0
        first.supervisor.release("rec-1")
        second = world.host(plan())

        world.run(world.is_quiet)

        assert_once(world)
        assert second.supervisor.resumed == [("rec-1", 1, 50.0)]
        assert left(world) == []
        assert world.item()["remAttempt"] == 2
        assert world.item()["remReleases"] == 1


def test_host_that_dies_for_ever_leaves_its_work_to_the_next(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        first = at_work(world, 50.0)
        first.dies()
        first.is_gone = True

        second = world.host(plan())
        world.run(world.is_quiet)

        assert_once(world)
        assert second.supervisor.resumed == [("rec-1", 1, 50.0)]
        assert left(world) == []


def test_no_more_than_one_checkpoint_lies_there_at_a_time(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        at_work(world, 70.0)
        world.run_for(2.0)

        assert len(left(world)) == 1


def test_release_waits_for_the_checkpoint_before_it(tmp_path: Path) -> None:
    """The worker's last one: without it the next host would repeat what was done since the one before."""
    with new_world(tmp_path) as world:
        first = at_work(world, 50.0)
        card = first.supervisor.jobs["rec-1"].card
        first.supervisor.plan.wanted = 0
        leave_checkpoint(card, 57.0)
        first.tell(Checkpoint("rec-1", 57.0))
        first.supervisor.end("rec-1", Release("rec-1", "drain"))
        second = world.host(plan())

        world.run(world.is_quiet)

        assert_once(world)
        assert second.supervisor.resumed == [("rec-1", 1, 57.0)]


def test_release_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        first = at_work(world, 50.0)
        first.supervisor.plan.wanted = 0
        held_up = stop_calls(world, first, "objects.put")
        leave_checkpoint(first.supervisor.jobs["rec-1"].card, 57.0)
        first.tell(Checkpoint("rec-1", 57.0))
        first.supervisor.end("rec-1", Release("rec-1", "drain"))
        asked_s = world.now_s

        world.run(lambda: ("rec-1", Ending.RELEASED) in first.supervisor.endings)

        assert 9.0 <= world.now_s - asked_s <= 12.0
        assert held_up
        second = world.host(plan())
        world.run(world.is_quiet)
        assert_once(world)
        assert second.supervisor.resumed == [("rec-1", 1, 50.0)]
        assert left(world) == []


def stop_calls(world: World, host: Host, name: str) -> list[float]:
    """Let this host's next call of a name take a minute, while everything else goes on."""
    executor, begun = host.executor, []
    original = executor.do

    def do(lane: str, call: Callable[[], object], then: Callable[[object], None]) -> None:
        if lane != COMMIT:
            original(lane, call, then)
            return
        begun.append(world.now_s)
        world.timers.add(world.now_s + 60.0, lambda: original(lane, call, then))

    executor.do = do  # type: ignore[method-assign]
    return begun


@pytest.mark.parametrize("call", ["objects.put", "records.update"])
def test_checkpoint_of_a_fenced_zombie_is_never_used(tmp_path: Path, call: str) -> None:
    """Stopped before its checkpoint is in the bucket, or before the record names it."""
    with new_world(tmp_path) as world:
        zombie = at_work(world, 50.0)
        others: list[Host] = []

        def peer_is_far() -> bool:
            return bool(others) and pointed(world) >= 70.0

        script = Script(world)

        def stop() -> None:
            others.append(world.host(plan()))
            stop_for(world, zombie, peer_is_far)()

        if call == "objects.put":
            script.before("objects.put", stop)
        else:
            script.after("objects.put", stop)
        world.run(lambda: bool(others))
        world.run(world.is_quiet)

        assert_once(world)
        (peer,) = others
        assert peer.supervisor.resumed == [("rec-1", 1, 50.0)]
        assert world.item()["remAttempt"] == 2
        assert left(world) == []
        assert "rec-1" in zombie.supervisor.lost or zombie.supervisor.endings


def test_object_that_is_not_the_one_the_record_means_is_not_used(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        first = at_work(world, 50.0)
        first.dies()
        first.is_gone = True
        (key,) = left(world)
        world.objects.stored["transcripts", key] = b'{"done_s": 90}'

        second = world.host(plan())
        world.run(world.is_quiet)

        assert_once(world)
        assert second.supervisor.resumed == []


@pytest.mark.parametrize(
    "pointer", ["text", {}, {"key": 1}, {"key": "checkpoints/x", "sha256": "", "doneSeconds": "y"}]
)
def test_pointer_that_makes_no_sense_means_starting_over(tmp_path: Path, pointer: object) -> None:
    with new_world(tmp_path) as world:
        first = at_work(world, 50.0)
        first.dies()
        first.is_gone = True
        world.item()["remCheckpoint"] = pointer

        second = world.host(plan())
        world.run(world.is_quiet)

        assert_once(world)
        assert second.supervisor.resumed == []


def test_pointer_to_another_recordings_checkpoint_is_not_followed(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        first = at_work(world, 50.0)
        first.dies()
        first.is_gone = True
        (key,) = left(world)
        world.objects.stored["transcripts", "checkpoints/user-9/rec-2/x"] = world.objects.stored[
            "transcripts", key
        ]
        world.item()["remCheckpoint"]["key"] = "checkpoints/user-9/rec-2/x"

        second = world.host(plan())
        world.run(world.is_quiet)

        assert second.supervisor.resumed == []


def test_job_that_failed_begins_anew(tmp_path: Path) -> None:
    """What it had reached may be what it failed of."""
    with new_world(tmp_path) as world:
        host = at_work(world, 50.0)
        host.supervisor.plan.failures = (("rec-1", Failure.FAILURE),)
        world.run(lambda: world.item().get("remFailures") == 1)
        host.supervisor.plan.failures = ()

        world.run(world.is_quiet)

        assert_once(world)
        assert host.supervisor.resumed == []
        assert left(world) == []


def test_failed_recording_leaves_no_checkpoint(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = at_work(world, 50.0)
        host.supervisor.plan.failures = (("rec-1", Failure.REJECTED),)

        world.run(lambda: world.item().get("remState") == "FAILED")
        world.run(world.is_quiet)

        assert left(world) == []
        assert "remCheckpoint" not in world.item()


def test_without_the_right_nothing_is_left_and_the_work_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with new_world(tmp_path) as world:
        Script(world).before("objects.delete", forbidden("transcripts"), times=1_000)
        world.send()
        world.host(plan())
        world.run(world.is_quiet)

        assert_once(world)
        assert left(world) == []
        assert caplog.messages.count("permission missing") == 1


def test_checkpoint_that_may_no_longer_be_removed_is_told_and_costs_no_transcript(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It was passed over in silence: part of a transcript stayed in the bucket, and nobody knew."""
    with new_world(tmp_path) as world:
        at_work(world, 90.0)
        Script(world).before("objects.delete", forbidden("transcripts"), times=1_000)
        world.run(world.is_quiet)

        assert world.item()["remState"] == "DONE"
        assert len(left(world)) == 1
        told = [record for record in caplog.records if record.message == "checkpoints not removed"]
        assert [record.__dict__["job_id"] for record in told] == ["rec-1"]


def test_bucket_that_does_not_answer_costs_the_checkpoint_alone(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = at_work(world, 20.0)
        Script(world).before("objects.put", later("transcripts"), times=3)

        world.run(lambda: pointed(world) >= 60.0)

        assert host.supervisor.lost == []
        world.run(world.is_quiet)
        assert_once(world)
        assert left(world) == []


def test_settings_may_forbid_sharing(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = world.host(plan())
        assert host.dispatcher is not None
        host.dispatcher._context.shares = False
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert len(world.objects.puts) == 2


# --- twelve hours, scaled down to one


def test_job_longer_than_the_queue_allows_carries_on_and_is_not_charged(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(cap_s=CAP_S)) as world:
        first_id = world.send()
        host = world.host(Plan(work_s=2.5 * CAP_S, checkpoint_s=150.0))

        world.run(world.is_quiet, 4 * CAP_S)

        assert_once(world)
        assert world.item()["remAttempt"] == 3
        assert "remFailures" not in world.item()
        assert world.item()["remReleases"] == 2
        assert len(host.supervisor.resumed) == 2
        for n, (_, _, done_s) in enumerate(host.supervisor.resumed, 1):
            assert n * (CAP_S - 300.0 - 300.0) <= done_s <= n * (CAP_S - 300.0)
        assert first_id not in world.queue.messages


def test_job_that_gets_nowhere_in_all_that_time_is_charged(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(cap_s=CAP_S)) as world:
        world.send()
        host = world.host(Plan(work_s=2.5 * CAP_S, checkpoint_s=150.0))
        world.run(lambda: ("rec-1", Ending.RELEASED) in host.supervisor.endings, 2 * CAP_S)
        host.supervisor.plan.checkpoint_s = 0.0

        world.run(lambda: world.item().get("remFailures") == 1, 2 * CAP_S)
