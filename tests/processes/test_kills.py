"""kill -9 of any one process in the middle of a recording: one transcript in the end, on both backends."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.processes.rem_service import SAMPLES, Service, running, wait_for
from tests.processes.senders import LocalSender, Sender, finished, transcript_of
from tests.worker.recordings import two_windows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def at_work(service: Service, sender: Sender) -> tuple[str, dict[str, Any]]:
    """Send a recording that takes some seconds and wait until a worker is in the middle of it."""
    service.wait_ready(1)
    job = sender.send(two_windows(service.state_dir.parent))
    return job, wait_for(service.busy_slot, "a worker in the middle of a recording")


def assert_exactly_one(sender: Sender, job: str, limit_s: float = 90.0) -> dict[str, Any]:
    """One complete record, one text and one JSON, no message left."""
    record = wait_for(lambda: finished(sender, job), "a finished record", limit_s)
    wait_for(lambda: sender.left() == 0, "an empty queue", limit_s)
    assert len(sender.transcripts()) == 2
    assert "lighthouse" in transcript_of(sender, record)["fullText"]
    return record


def test_killed_workers_job_goes_on_without_a_trip_through_the_queue(sender: Sender, tmp_path: Path) -> None:
    with running(tmp_path / "state", **sender.environ()) as service:
        job, slot = at_work(service, sender)

        os.kill(slot["pid"], signal.SIGKILL)

        record = assert_exactly_one(sender, job)
        assert "job taken back from a dead worker" in service.log
        assert service.log.count('"job_id": "' + job) >= 1

    assert record["remAttempt"] == 1, "a second attempt would have come from the queue"
    assert "remReleases" not in record or record["remReleases"] == 0


def test_killed_broker_loses_nothing_and_the_worker_works_on(sender: Sender, tmp_path: Path) -> None:
    with running(tmp_path / "state", slots=1, **sender.environ()) as service:
        job, slot = at_work(service, sender)

        os.kill(service.pid_of("broker"), signal.SIGKILL)

        record = assert_exactly_one(sender, job)
        after = next(one for one in service.slots() if one["name"] == slot["name"])

    assert record["remAttempt"] == 1
    assert after["pid"] == slot["pid"], "the worker was disturbed by the broker's death"


def test_killed_supervisor_gives_back_and_its_successor_finishes(sender: Sender, tmp_path: Path) -> None:
    with running(tmp_path / "state", slots=1, **sender.environ()) as service:
        job, _ = at_work(service, sender)

        service.process.kill()
        service.process.wait()
        service.start_again()

        assert_exactly_one(sender, job)


def test_supervisor_and_broker_killed_at_once_and_the_successor_takes_the_lease_over(
    sender: Sender, tmp_path: Path
) -> None:
    """As systemd does it to the whole control group: the broker has no time to give anything back."""
    with running(tmp_path / "state", slots=1, **sender.environ()) as service:
        job, _ = at_work(service, sender)
        broker = service.pid_of("broker")

        os.kill(broker, signal.SIGSTOP)  # so that it can't release when the supervisor dies
        service.process.kill()
        service.process.wait()
        os.kill(broker, signal.SIGKILL)
        service.start_again()

        record = assert_exactly_one(sender, job)

    assert record["remAttempt"] == 1, "the lease was taken over, not waited out"


def test_two_services_on_one_queue_do_each_recording_once(sender: Sender, tmp_path: Path) -> None:
    environ = sender.environ()
    second_dir = tmp_path / "second"
    shared = "[devices]\ncpu_slots = 1\n"
    if isinstance(sender, LocalSender):
        shared += f"[local]\nfolder = '{tmp_path / 'state' / 'local'}'\n"
    (tmp_path / "config.toml").write_text(shared, encoding="utf-8")
    with running(tmp_path / "state", **environ) as first, running(second_dir, **environ) as second:
        first.wait_ready(1)
        second.wait_ready(1)
        jobs = [sender.send(SAMPLES / name) for name in ("harbour.wav", "soup.mp3") * 3]

        for job in jobs:
            record = wait_for(lambda job=job: finished(sender, job), f"the record of {job}")
            assert record["remAttempt"] == 1
        wait_for(lambda: sender.left() == 0, "an empty queue")
        done = Counter(
            slot["name"] for one in (first, second) for slot in one.slots() for _ in range(slot["done"])
        )

    assert len(sender.transcripts()) == 2 * len(jobs)
    assert sum(done.values()) == len(jobs), "a recording was transcribed twice"


def test_stopped_worker_is_noticed_and_its_job_finished_elsewhere(tmp_path: Path) -> None:
    sender = LocalSender(tmp_path / "state" / "local")
    (tmp_path / "config.toml").write_text("[supervisor]\nsilence_s = 5\n", encoding="utf-8")
    with running(tmp_path / "state") as service:
        job, slot = at_work(service, sender)

        os.kill(slot["pid"], signal.SIGSTOP)

        assert_exactly_one(sender, job)
        assert "silent for 5 s" in service.log


def test_recording_that_kills_every_worker_is_failed_and_innocents_are_not(tmp_path: Path) -> None:
    """The test plays the deadly recording: it aborts whichever worker has it, each time."""
    sender = LocalSender(tmp_path / "state" / "local")
    with running(tmp_path / "state") as service:
        service.wait_ready(1)
        poison = sender.send(SAMPLES / "lighthouse.ogg")
        seen: set[int] = set()

        def abort_holder() -> bool:
            for slot in service.slots():
                if any(job["id"] == poison for job in slot["jobs"]) and slot["pid"] not in seen | {None}:
                    seen.add(slot["pid"])
                    os.kill(slot["pid"], signal.SIGABRT)
            return sender.record(poison).get("remState") == "FAILED"

        wait_for(abort_holder, "the deadly recording to be given up")
        innocent = sender.send(SAMPLES / "harbour.wav")
        wait_for(lambda: finished(sender, innocent), "the innocent recording")
        kept = service.command("jobs", "--failed")

    assert len(seen) == 3
    assert poison in kept.stdout
    assert "died" in kept.stdout
