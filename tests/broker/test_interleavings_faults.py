"""Named interleavings, third part: what queue, table, store and disk may do to a job on its way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from supervisor.broker.backends.failed_jobs import FailedJob, FailedJobs
from supervisor.broker.ports.errors import JobRejected
from supervisor.contract.wire.messages import Ending, Release
from tests.broker.model import Host, assert_once, new_world
from tests.broker.model_faults import Script, forbidden, later
from tests.broker.model_supervisor import Plan
from tests.support.memory_backend import QueueRules


def outages(host: Host) -> list[str]:
    """What began and what ended, in order."""
    return [f"{where} {'began' if detail else 'over'}" for where, detail in host.supervisor.outages]


@pytest.mark.parametrize("how", ["throttled", "500"])
def test_heartbeat_fails_a_few_times(tmp_path: Path, how: str) -> None:
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=200.0))
        Script(world).before("queue.extend", later("queue", how), times=5)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1
        assert host.supervisor.lost == []


def test_heartbeat_fails_past_the_deadline(tmp_path: Path) -> None:
    """The job is stopped before the queue may give it to somebody else, and done again later."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=200.0))
        Script(world).before("queue.extend", later("queue", "500"), times=30)
        world.send()
        world.run(lambda: bool(host.supervisor.lost))

        assert world.now_s < 1_000.0 + 60.0 + 2.0
        world.run(world.is_quiet)
        assert_once(world)
        assert world.item()["remAttempt"] == 2


@pytest.mark.parametrize("slow_s", [30.0, 39.0])
def test_heartbeat_slow_up_to_the_deadline(tmp_path: Path, slow_s: float) -> None:
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=200.0))
        Script(world).before("queue.extend", lambda: world.wait(slow_s))
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert host.supervisor.lost == []


def test_heartbeat_slow_past_the_deadline(tmp_path: Path) -> None:
    """SQS answers well and has done nothing: only our own clock knows."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=200.0))
        Script(world).before("queue.extend", lambda: world.wait(75.0))
        world.send()
        world.run(lambda: bool(host.supervisor.lost))

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 2


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_conditional_write_applied_but_answered_500(tmp_path: Path, nth: int) -> None:
    """Claim, fence, completion: each finds its own earlier try when it asks again."""
    with new_world(tmp_path) as world:
        host = world.host()
        Script(world).after("records.update", later("table", "500"), nth=nth)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert host.supervisor.endings == [("rec-1", Ending.DONE)]


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("times", [1, 4])
def test_upload_applied_but_timed_out(tmp_path: Path, nth: int, times: int) -> None:
    with new_world(tmp_path) as world:
        world.host()
        Script(world).after("objects.put", later("transcripts", "read timeout"), nth=nth, times=times)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1


def test_table_throttled_in_claim(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        world.host()
        Script(world).before("records.update", later("table", "throttled"), times=5)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1


def test_table_throttled_in_claim_for_longer_than_the_lease(tmp_path: Path) -> None:
    """The message goes back with a wait; nothing was counted against the job."""
    with new_world(tmp_path) as world:
        world.host()
        Script(world).before("records.update", later("table", "throttled"), times=60)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert not {"remFailures", "remCrashes"} & set(world.item())


def test_table_throttled_in_release(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=300.0, wanted=1))
        world.send()
        world.run(lambda: bool(host.supervisor.jobs))
        Script(world).before("records.update", later("table", "throttled"), times=4)
        host.tell(Release("rec-1", "drain"))
        world.run(lambda: host.supervisor.endings == [("rec-1", Ending.RELEASED)])
        host.leave()

        world.host()
        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remReleases"] == 1


def test_queue_deleted_and_made_again(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        host = world.host()
        Script(world).before("queue.receive", later("queue", "NonExistentQueue"), times=8)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert outages(host)[:2] == ["queue began", "queue over"]


def test_queue_deleted_in_mid_job_for_good(tmp_path: Path) -> None:
    """No heartbeat, no lease: the job is stopped, its record set free, and the broker lives on."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=200.0))
        world.send()
        world.run(lambda: bool(host.supervisor.jobs))
        Script(world).before("queue", later("queue", "NonExistentQueue"), times=100_000)
        world.queue.messages.clear()

        world.run(lambda: host.supervisor.lost == ["rec-1"], limit_s=65.0)
        world.run_for(100.0)

        assert host.dispatcher is not None
        assert world.transcripts() == {}
        assert "remToken" not in world.item()


def test_dead_letter_queue_missing(tmp_path: Path) -> None:
    """Without one a bad message is deleted, its reason being in the record."""
    with new_world(tmp_path) as world:
        world.host()
        world.send()
        world.objects.stored.clear()

        world.run(world.is_quiet)

        assert world.item()["remState"] == "FAILED"
        assert "no object" in world.item()["remReason"]
        assert world.queue.messages == {}


def test_dead_letter_queue_not_permitted(tmp_path: Path) -> None:
    """The record says FAILED; the message is left to SQS's own redrive and is not worked on again."""
    with new_world(tmp_path, QueueRules(max_receive_count=3, may_bury=False)) as world:
        world.host()
        world.send()
        world.objects.stored.clear()

        world.run(lambda: bool(world.queue.dead_letters))

        assert world.item()["remState"] == "FAILED"
        assert world.item()["remAttempt"] == 1
        assert world.queue.messages == {}


@pytest.mark.parametrize(("times", "attempts"), [(6, 1), (80, 2)])
def test_credentials_expire_in_mid_job(tmp_path: Path, times: int, attempts: int) -> None:
    """Back before the lease's end nobody notices; later it costs one attempt, and the broker lives on."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=100.0))
        world.send()
        world.run(lambda: bool(host.supervisor.jobs))
        Script(world).before("queue", forbidden(), times=times)

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == attempts
        assert "queue began" in outages(host)
        assert outages(host)[-1] == "queue over"


def test_without_the_right_to_hold_a_job_takes_one_long_visibility(tmp_path: Path) -> None:
    """Tier 0, REM's own role: nothing is extended or released, and all is done all the same."""
    with new_world(tmp_path, QueueRules(max_receive_count=3, may_hold=False)) as world:
        world.host(Plan(work_s=600.0))
        for name in ("rec-1", "rec-2"):
            world.send(name)

        world.run(world.is_quiet)

        assert_once(world, "rec-1", "rec-2")
        assert not {"queue.extend", "queue.release"} & set(world.calls)


def test_disk_full_while_downloading(tmp_path: Path) -> None:
    """Retried in place until there is room; not the job's fault."""
    with new_world(tmp_path) as world:
        host = world.host()
        Script(world).before("objects.fetch", later("spool", "No space left on device"), times=4)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1
        assert outages(host)[:2] == ["spool began", "spool over"]


def test_disk_full_for_longer_than_the_lease(tmp_path: Path) -> None:
    """Given back with a wait, uncounted, for hosts with room."""
    with new_world(tmp_path) as world:
        host = world.host()
        Script(world).before("objects.fetch", later("spool", "No space left on device"), times=60)
        world.send()

        world.run(world.is_quiet)

        assert_once(world)
        assert not {"remFailures", "remCrashes"} & set(world.item())
        assert host.lives == 1


class FullDisk:
    """The disk of the spool: full until somebody makes room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free_bytes = 0
        monkeypatch.setattr(
            "supervisor.broker.in_flight.spool.shutil.disk_usage",
            lambda path: SimpleNamespace(free=self.free_bytes),
        )


def test_full_disk_is_told_until_a_fetch_finds_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims and ends of jobs, which prove nothing of the disk, declared it over: `status` said "running"."""
    disk = FullDisk(monkeypatch)
    with new_world(tmp_path) as world:
        host = world.host(Plan(wanted=50))
        for number in range(20):
            world.send(f"rec-{number}")
            world.run_for(20.0)
        told = outages(host)
        disk.free_bytes = 1 << 40

        world.run(world.is_quiet)

        assert told == ["spool began"]
        assert outages(host) == ["spool began", "spool over"]
        assert_once(world, *(f"rec-{number}" for number in range(20)))


def test_full_disk_is_over_with_free_space_where_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    with new_world(tmp_path) as world:
        host = world.host()
        world.send()
        world.run_for(20.0)
        host.supervisor.outages.clear()
        world.queue.messages.clear()
        world.run_for(600.0)
        told = outages(host)
        disk.free_bytes = 1 << 40

        world.run_for(60.0)

        assert told == []
        assert outages(host) == ["spool over"]


def test_failure_that_can_not_be_written_down_is_told_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other jobs' ends in the record, or claims, say nothing of the list of failures on the disk."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(wanted=50))

        def gone() -> None:
            raise JobRejected("There is no object.")

        keep, no_space = FailedJobs.keep, iter([later("spool", "No space left on device")] * 6)

        def keep_later(failed_jobs: FailedJobs, job: FailedJob) -> None:
            next(no_space, lambda: None)()
            keep(failed_jobs, job)

        monkeypatch.setattr(FailedJobs, "keep", keep_later)
        Script(world).before("objects.fetch", gone)
        world.send("bad")
        world.run(lambda: bool(outages(host)))
        world.send("good")

        world.run(world.is_quiet)

        assert outages(host) == ["spool began", "spool over"]
        assert_once(world, "good")
