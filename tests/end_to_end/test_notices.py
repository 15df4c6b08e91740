"""EC2 takes the machine: the whole service, embedded backend, beside an imitation of the metadata service."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisor.notices.notice import Kind
from tests.end_to_end.running_service import (
    LIMIT_S,
    RUN,
    SAMPLES,
    Service,
    running,
    wait_for,
)
from tests.end_to_end.senders import LocalSender, finished, in_measured_work
from tests.end_to_end.service_with_test_workers import HELD, NULL
from tests.support.faulty_imds import FaultyImds, ImdsFault

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def fake() -> Iterator[FaultyImds]:
    with FaultyImds() as service:
        yield service


@pytest.fixture
def sender(tmp_path: Path) -> LocalSender:
    return LocalSender(tmp_path / "state" / "local")


@contextmanager
def watching(tmp_path: Path, fake: FaultyImds, program: Sequence[str] = RUN) -> Iterator[Service]:
    endpoint = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": fake.endpoint, "AWS_EC2_METADATA_DISABLED": "false"}
    with running(tmp_path / "state", program, slots=1, **endpoint) as service:
        yield service


def at_work(service: Service, sender: LocalSender) -> str:
    """Send the long recording and wait until a worker has it."""
    service.wait_ready(1)
    job = sender.send(SAMPLES / "lighthouse.ogg")
    wait_for(service.busy_slot, "a worker at work")
    return job


def own(service: Service) -> dict[str, Any]:
    """The supervisor's own part of the status."""
    return dict((service.status() or {}).get("supervisor") or {})


def wait_drained(service: Service) -> dict[str, Any]:
    return wait_for(lambda: now if (now := own(service)).get("state") == "drained" else None, "drained")


def test_terminate_in_mid_job_ends_in_drained_and_the_job_is_finished(
    fake: FaultyImds, sender: LocalSender, tmp_path: Path
) -> None:
    with watching(tmp_path, fake) as service:
        job = in_measured_work(service, sender)

        fake.tell(Kind.SPOT, in_s=100)

        drained = wait_drained(service)
        record = wait_for(lambda: finished(sender, job), "the job's transcript")
        later = sender.send(SAMPLES / "harbour.wav")
        assert service.process.poll() is None
        assert [slot["state"] for slot in service.slots() if slot["state"] != "stopped"] == []
        assert service.slots("broker")[0]["state"] == "ready"
        assert sender.left() == 1
        assert sender.record(later).get("remState") is None

    assert record["remAttempt"] == 1
    assert drained["reason"].startswith("spot terminate at ")
    assert (drained["notice"]["kind"], drained["notice"]["drill"]) == ("spot", False)
    assert service.log.count('"message": "interruption notice received"') == 1
    assert service.log.count('"message": "drained"') == 1
    assert service.process.returncode == 0


@pytest.mark.parametrize(("action", "in_s"), [("terminate", 6), ("hibernate", 100), ("terminate", -3_600)])
def test_a_job_that_can_not_be_finished_is_back_in_the_queue_in_time(
    fake: FaultyImds, sender: LocalSender, tmp_path: Path, action: str, in_s: float
) -> None:
    """Little time, none with hibernation, a notice in the past: given back before the machine is gone."""
    with watching(tmp_path, fake, HELD) as service:
        job = at_work(service, sender)

        fake.tell(Kind.SPOT, action, in_s)
        noticed = wait_for(lambda: own(service).get("notice"), "the notice in the status")
        began_s = time.monotonic()
        wait_drained(service)
        wait_for(
            lambda: f'"job_id": "{job}"' in service.log and '"outcome": "released"' in service.log, "release"
        )
        took_s = time.monotonic() - began_s

        assert noticed["action"] == action
        assert took_s < 6
        assert sender.left() == 1
        assert service.process.poll() is None


def test_a_restart_on_a_doomed_machine_takes_no_work_until_a_person_says_so(
    fake: FaultyImds, sender: LocalSender, tmp_path: Path
) -> None:
    job = sender.send(SAMPLES / "harbour.wav")
    fake.tell(Kind.SPOT, in_s=100)
    with watching(tmp_path, fake, NULL) as service:
        wait_drained(service)
        wait_for(lambda: "model found" in service.log, "all that a worker needs")
        service.process.kill()
        service.process.wait()

        service.start_again()
        again = wait_drained(service)
        wait_for(lambda: service.log.count("model found") == 2, "all that a worker needs")
        wait_for(
            lambda: len(psutil.Process(service.process.pid).children()) == 2, "broker and gpuwatch alone"
        )
        spawned = [slot["name"] for slot in service.slots() if slot["pid"]]
        assert (again["notice"]["kind"], spawned, sender.left()) == ("spot", [], 1)

        resumed = service.command("resume")
        record = wait_for(lambda: finished(sender, job), "a transcript after resume")
        assert own(service)["state"] == "running"
        assert own(service)["notice"]["kind"] == "spot", "the machine is doomed all the same"
        assert "the model is not available yet" not in service.log, "resume found less than a worker needs"

    assert resumed.returncode == 0
    assert record["remAttempt"] == 1


def test_no_worker_begins_before_a_slow_service_has_answered(fake: FaultyImds, tmp_path: Path) -> None:
    fake.tell(Kind.SPOT, in_s=100)
    fake.delay_s = 1.5
    with watching(tmp_path, fake, NULL) as service:
        wait_for(lambda: "model found" in service.log, "all that a worker needs")
        wait_drained(service)

        assert [line for line in service.log.splitlines() if '"slot": "cpu' in line] == []


def test_a_withdrawn_notice_leaves_the_service_drained_and_says_so(fake: FaultyImds, tmp_path: Path) -> None:
    with watching(tmp_path, fake, NULL) as service:
        service.wait_ready()
        fake.tell(Kind.SPOT, in_s=100)
        wait_drained(service)

        fake.withdraw(Kind.SPOT)

        shown = wait_for(
            lambda: told if (told := own(service).get("notice") or {}).get("withdrawn") else None, "withdrawn"
        )
        assert shown["kind"] == "spot"
        assert own(service)["state"] == "drained"
        wait_for(lambda: "interruption notice withdrawn" in service.log, "the line about it")
        assert service.log.count("interruption notice withdrawn") == 1
        assert service.command("resume").returncode == 0
        service.wait_ready()


def test_spot_asg_and_sigterm_at_once_are_one_drain_to_the_earliest_deadline(
    fake: FaultyImds, sender: LocalSender, tmp_path: Path
) -> None:
    """A worker that is stopped can't finish: it is killed 5 s before the spot notice's end, not SIGTERM's."""
    with watching(tmp_path, fake, HELD) as service:
        at_work(service, sender)
        os.kill(service.pid_of("cpu0"), signal.SIGSTOP)

        fake.tell(Kind.ASG)
        fake.tell(Kind.SPOT, in_s=12)
        service.process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        stopping = wait_for(
            lambda: now if (now := own(service)).get("reason", "").startswith("spot") else None, "the notice"
        )
        code = service.process.wait(LIMIT_S)

        assert 5 < time.monotonic() - began_s < 12
        assert stopping["state"] in ("draining", "stopping")
        assert stopping["drain_deadline_s"] <= 12
        assert service.log.count('"message": "interruption notice received"') == 2
        assert service.log.count('"message": "stopping"') == 1

    assert code == 0
    assert sender.left() == 1


def test_a_recommendation_lets_the_present_job_finish_and_takes_nothing_new(
    fake: FaultyImds, sender: LocalSender, tmp_path: Path
) -> None:
    with watching(tmp_path, fake) as service:
        job = in_measured_work(service, sender)

        fake.tell(Kind.REBALANCE)
        draining = wait_for(lambda: own(service).get("notice") and own(service), "the notice")
        drained = wait_drained(service)

        assert draining["notice"]["deadline_s"] > 3_000
        assert wait_for(lambda: finished(sender, job), "its transcript")["remAttempt"] == 1
        assert drained["reason"].startswith("rebalance recommendation")


def test_a_blocked_token_is_told_once_and_workers_begin_all_the_same(
    fake: FaultyImds, tmp_path: Path
) -> None:
    fake.fault = ImdsFault.HOP_LIMIT
    with watching(tmp_path, fake, NULL) as service:
        service.wait_ready()
        wait_for(lambda: "--http-put-response-hop-limit 2" in service.log, "the message")
        wait_for(lambda: fake.requests.count("PUT /latest/api/token") > 3, "some more rounds")

        assert service.log.count("hop-limit 2") == 1
        assert "hop-limit" in own(service)["troubles"]["metadata"]
        fake.fault = ImdsFault.NONE
        wait_for(lambda: own(service).get("troubles") == {}, "the end of the trouble")


def test_a_drill_ends_in_drained_and_resume_ends_the_drill(tmp_path: Path) -> None:
    with running(tmp_path / "state", NULL, slots=1, AWS_EC2_METADATA_DISABLED="true") as service:
        service.wait_ready()

        drill = service.command("drill", "spot", "--in", "60")
        drained = wait_drained(service)
        shown = service.command("status")
        resumed = service.command("resume")
        service.wait_ready()
        wrong = service.ask({"do": "drill", "kind": "earthquake"})

        assert drill.returncode == resumed.returncode == 0
        assert "drill: spot terminate at" in drill.stdout
        assert drained["notice"]["drill"] is True
        assert "drill: spot terminate at" in shown.stdout
        assert own(service)["notice"] is None
        assert wrong is not None
        assert wrong["ok"] is False
        assert "earthquake" in wrong["error"]
