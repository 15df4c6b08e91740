"""Named interleavings, first part: worker, broker, supervisor or host gone at a certain moment."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest

from supervisor.contract.wire.messages import Ending, Failure, Release
from tests.broker.model import Host, World, assert_once, new_world
from tests.broker.model_faults import Script, die, later
from tests.broker.model_supervisor import Plan
from tests.support.memory_backend import QueueRules

# Moment of a job -> the call after which it is there. `staged`: before the broker hears of it.
MOMENTS = {
    "before the first heartbeat": "link.Ready",
    "in mid-work": "queue.extend",
    "after staging": "staged",
    "after the fence": "records.update 2",
    "between text and JSON": "objects.put 1",
    "after publishing": "objects.put 2",
    "after completing": "records.update 3",
    "during delete, with the reply lost": "queue.delete",
}


def when(world: World, host: Host, moment: str, do: Callable[[], None]) -> None:
    """Arrange for something to happen once, at this moment of the first job."""
    name, _, nth = MOMENTS[moment].partition(" ")
    if name == "staged":
        calls = iter([do])
        host.supervisor.on_staged = lambda: next(calls, lambda: None)()
    else:
        Script(world).after(name, do, nth=int(nth or 1))


@pytest.mark.parametrize("moment", MOMENTS)
def test_broker_killed(tmp_path: Path, moment: str) -> None:
    """Its heir goes on with the same attempt: no trip through the queue, no second claim."""
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        host = world.host()
        when(world, host, moment, host.broker_dies if moment == "after staging" else die)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1
        assert host.lives == 2


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("leaving", [(), ("transcript.txt",), ("transcript.txt", "transcript.json")])
def test_worker_killed(tmp_path: Path, moment: str, leaving: tuple[str, ...]) -> None:
    """Another slot has the job from the spool, among whatever the dead worker left half written."""
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        host = world.host()
        when(world, host, moment, lambda: host.supervisor.worker_dies(leaving))
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1
        assert world.calls.count("queue.release") == 0


@pytest.mark.parametrize("moment", MOMENTS)
def test_supervisor_killed(tmp_path: Path, moment: str) -> None:
    """Its worker dies with it; the broker gives back or finishes within 2 s; a successor starts."""
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        host = world.host()

        def kill() -> None:
            host.supervisor_dies()
            host.comes_back()

        when(world, host, moment, kill)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert world.queue.dead_letters == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_supervisor_and_broker_killed_at_once(tmp_path: Path, moment: str) -> None:
    """As systemd does it to a whole control group: the successor takes the lease over."""
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        host = world.host()

        def kill() -> None:
            host.supervisor_dies()
            host.comes_back()
            if moment == "after staging":
                host.broker_dies()
            else:
                die()

        when(world, host, moment, kill)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1


def test_host_rebooted_with_open_leases(tmp_path: Path) -> None:
    """Deadlines of another boot mean nothing; the record is our own and is claimed at once."""
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        host = world.host(Plan(work_s=40.0))
        world.send()
        world.run(lambda: "queue.extend" in world.calls)
        died_at_s = world.now_s
        host.dies()
        host.comes_back(30.0, boot_id="boot-2")

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 2
        assert world.now_s - died_at_s < 60.0 + 40.0 + 5.0  # one visibility, and the work


def test_broker_killed_while_its_poll_is_parked_then_a_message_is_sent(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=1.0))
        world.run_for(3.0)
        world.queue.leave_poll_behind(3, 60.0, wait_s=5.0)
        host.broker_dies()
        world.send()

        world.run(world.is_quiet, limit_s=60.0 + 1.0 + 3.0)  # one short visibility at most

        assert_once(world)


def test_reply_of_a_receive_lost(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        world.host(Plan(work_s=1.0))
        world.run_for(0.5)
        world.send()
        Script(world).after("queue.receive", later("queue", "connection reset"))

        world.run(world.is_quiet, limit_s=60.0 + 1.0 + 3.0)

        assert_once(world)
        assert world.item()["remAttempt"] == 1


def test_worker_stopped_longer_than_the_stall_limit(tmp_path: Path) -> None:
    """Nobody says that the job moves: its lease is not extended, and who has it next finishes it."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=10_000.0, wanted=1))
        world.send()
        world.run(lambda: bool(host.supervisor.jobs))
        host.supervisor.is_silent = True

        world.run(lambda: host.supervisor.lost == ["rec-1"], limit_s=100.0)
        other = world.host()
        world.run(world.is_quiet)

        assert_once(world)
        assert other.supervisor.endings == [("rec-1", Ending.DONE)]
        assert world.item()["remAttempt"] == 2


def test_sigterm_twice(tmp_path: Path) -> None:
    """The second one means now: what is held goes back at once, uncounted, and others may have it."""
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        host = world.host(Plan(work_s=1_000.0))
        world.send()
        world.run(lambda: bool(host.supervisor.jobs))
        host.leave(within_s=110.0)
        world.run_for(5.0)
        asked_at_s = world.now_s
        host.leave(within_s=0.0)
        host.tell(Release("rec-1", "stopping"))
        world.run(lambda: host.dispatcher is None, limit_s=2.0)

        world.host()
        world.run(world.is_quiet, limit_s=40.0)

        assert_once(world)
        assert world.now_s - asked_at_s < 40.0
        assert world.item()["remReleases"] == 1


def test_drain_deadline_during_an_upload(tmp_path: Path) -> None:
    """A commit that has begun is finished, as long as the supervisor lets it live."""
    with new_world(tmp_path) as world:
        host = world.host()

        def slow_upload() -> None:
            host.leave(within_s=4.0)
            world.wait(3.0)

        Script(world).before("objects.put", slow_upload)
        world.send()

        world.run(lambda: host.dispatcher is None and world.is_quiet())

        assert_once(world)
        assert world.item()["remAttempt"] == 1


def test_drain_deadline_passed_in_an_upload(tmp_path: Path) -> None:
    """Killed in it after all: the next start of this host finishes the commit from the spool."""
    with new_world(tmp_path) as world:
        host = world.host()

        def too_slow_upload() -> None:
            world.wait(8.0)
            host.supervisor_dies()
            host.comes_back()
            die()

        Script(world).before("objects.put", too_slow_upload, nth=2)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1


def test_device_dies(tmp_path: Path) -> None:
    """Not the job's fault: nothing is counted, and it is free at once for a host that is well."""
    with new_world(tmp_path) as world:
        sick = world.host(Plan(wanted=1, failures=(("rec-1", Failure.SICK_DEVICE),)))
        world.send()
        world.run(lambda: sick.supervisor.endings == [("rec-1", Ending.RELEASED)])
        released_at_s = world.now_s
        sick.leave()
        world.host()

        world.run(world.is_quiet)

        assert_once(world)
        assert not {"remFailures", "remCrashes"} & set(world.item())
        assert world.now_s - released_at_s < 20.0 + 3.0


def test_poison_between_innocents_is_failed_and_they_are_not_charged(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(max_receive_count=3)) as world:
        world.host(Plan(failures=(("poison", Failure.CRASH),)))
        for name in ("rec-1", "poison", "rec-2"):
            world.send(name)

        world.run(world.is_quiet)

        assert_once(world, "rec-1", "rec-2")
        assert not {"remFailures", "remCrashes"} & (set(world.item("rec-1")) | set(world.item("rec-2")))
        assert world.item("poison")["remState"] == "FAILED"
        assert [letter.reason for letter in world.queue.dead_letters] == ["The worker says no."]


def test_twenty_releases_do_not_fail_a_job(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=10.0))
        world.send()
        for released in range(20):
            world.run(lambda: bool(host.supervisor.jobs))
            host.tell(Release("rec-1", "no slot"))
            world.run(lambda released=released: len(host.supervisor.endings) > released)  # type: ignore[misc]

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remReleases"] == 20
