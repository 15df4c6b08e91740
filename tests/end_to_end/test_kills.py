"""kill -9 of any one process in the middle of a recording: one transcript in the end, on both backends.

One test with the real model; the others with workers that are in the middle until the deed is done. Real
workers are killed in `test_checkpoints.py`, in `test_worker_killed.py` and by `make chaos`.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.running_service import SAMPLES, Service, running, wait_for
from tests.end_to_end.senders import LocalSender, Sender, finished, transcript_of
from tests.end_to_end.service_with_test_workers import HELD, NULL, go
from tests.workerproc.recordings import two_windows

pytestmark = [pytest.mark.slow, pytest.mark.oldest, pytest.mark.timeout(240)]


def at_work(service: Service, sender: Sender) -> tuple[str, dict[str, Any]]:
    """Send a recording and wait until a worker is in the middle of it; gives its slot as well."""
    service.wait_ready(1)
    job = sender.send(SAMPLES / "harbour.wav")
    return job, wait_for(service.busy_slot, "a worker in the middle of a recording")


def assert_exactly_one(sender: Sender, job: str) -> dict[str, Any]:
    """One complete record, one text and one JSON, no message left."""
    record = wait_for(lambda: finished(sender, job), "a finished record")
    wait_for(lambda: sender.left() == 0, "an empty queue")
    assert len(sender.transcripts()) == 2
    assert transcript_of(sender, record)["recordingId"] == job
    return record


def test_killed_workers_job_goes_on_without_a_trip_through_the_queue(sender: Sender, tmp_path: Path) -> None:
    with running(tmp_path / "state", **sender.environ()) as service:
        service.wait_ready(1)
        job = sender.send(two_windows(tmp_path))
        slot = wait_for(service.busy_slot, "a worker in the middle of a recording")

        os.kill(slot["pid"], signal.SIGKILL)

        record = assert_exactly_one(sender, job)
        wait_for(lambda: "job taken back from a dead worker" in service.log, "the line about it")

    assert "lighthouse" in transcript_of(sender, record)["fullText"]
    assert record["remAttempt"] == 1, "a second attempt would have come from the queue"
    assert "remReleases" not in record or record["remReleases"] == 0


def test_killed_broker_loses_nothing_and_the_worker_works_on(sender: Sender, tmp_path: Path) -> None:
    with running(tmp_path / "state", HELD, slots=1, **sender.environ()) as service:
        job, slot = at_work(service, sender)
        broker = service.pid_of("broker")

        os.kill(broker, signal.SIGKILL)
        wait_for(lambda: service.pid_of("broker") not in (0, broker), "the next broker")
        go(service)

        record = assert_exactly_one(sender, job)
        after = service.pid_of(slot["name"])

    assert record["remAttempt"] == 1
    assert after == slot["pid"], "the worker was disturbed by the broker's death"


def test_killed_supervisor_gives_back_and_its_successor_finishes(sender: Sender, tmp_path: Path) -> None:
    with running(tmp_path / "state", HELD, slots=1, **sender.environ()) as service:
        job, _ = at_work(service, sender)

        service.process.kill()
        service.process.wait()
        go(service)
        service.start_again()

        assert_exactly_one(sender, job)


def test_supervisor_and_broker_killed_at_once_and_the_successor_takes_the_lease_over(
    sender: Sender, tmp_path: Path
) -> None:
    """As systemd does it to the whole control group: the broker has no time to give anything back."""
    with running(tmp_path / "state", HELD, slots=1, **sender.environ()) as service:
        job, _ = at_work(service, sender)
        broker = service.pid_of("broker")

        os.kill(broker, signal.SIGSTOP)  # so that it can't release when the supervisor dies
        service.process.kill()
        service.process.wait()
        os.kill(broker, signal.SIGKILL)
        go(service)
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
    with (
        running(tmp_path / "state", NULL, **environ) as first,
        running(second_dir, NULL, **environ) as second,
    ):
        first.wait_ready(1)
        second.wait_ready(1)
        jobs = [sender.send(SAMPLES / name) for name in ("harbour.wav", "soup.mp3") * 10]

        for job in jobs:
            record = wait_for(lambda job=job: finished(sender, job), f"the record of {job}")
            assert record["remAttempt"] == 1
        wait_for(lambda: sender.left() == 0, "an empty queue")

        def done_count() -> int:
            return sum(slot["done"] for one in (first, second) for slot in one.slots())

        wait_for(lambda: done_count() >= len(jobs), "all of them counted")
        done = done_count()

    assert len(sender.transcripts()) == 2 * len(jobs)
    assert done == len(jobs), "a recording was transcribed twice"


def test_stopped_worker_is_noticed_and_its_job_finished_elsewhere(tmp_path: Path) -> None:
    sender = LocalSender(tmp_path / "state" / "local")
    (tmp_path / "config.toml").write_text("[supervisor]\nsilence_s = 5\n", encoding="utf-8")
    with running(tmp_path / "state", HELD) as service:
        job, slot = at_work(service, sender)

        os.kill(slot["pid"], signal.SIGSTOP)
        go(service)

        assert_exactly_one(sender, job)
        wait_for(lambda: "silent for 5 s" in service.log, "the line about it")


def test_recording_that_kills_every_worker_is_failed_and_innocents_are_not(tmp_path: Path) -> None:
    """The test plays the deadly recording: it aborts whichever worker has it, each time."""
    sender = LocalSender(tmp_path / "state" / "local")
    with running(tmp_path / "state", HELD) as service:
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
        go(service)
        wait_for(lambda: finished(sender, innocent), "the innocent recording")
        kept = service.command("jobs", "--failed")

    assert len(seen) == 3
    assert poison in kept.stdout
    assert "died" in kept.stdout
