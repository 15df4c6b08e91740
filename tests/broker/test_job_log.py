"""What an operator reads of a job: one line at its end with all its names, ERROR where it failed for good."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract.wire.messages import Failure
from tests.broker.model import World, new_world
from tests.broker.model_supervisor import Plan, text_of


@pytest.fixture(autouse=True)
def at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def lines(caplog: pytest.LogCaptureFixture, sentence: str) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.getMessage() == sentence]


def errors(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.levelno >= logging.ERROR]


def work_through(world: World, plan: Plan) -> None:
    world.host(plan)
    world.send()
    world.run(world.is_quiet)


def test_a_finished_job_is_told_once_with_all_its_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It was told twice, without its user, its file, its transcript, its length or the time it took."""
    with new_world(tmp_path) as world:
        work_through(world, Plan(work_s=20.0))

    (line,) = lines(caplog, "job ended")
    assert (line["levelname"], line["job_id"], line["outcome"]) == ("INFO", "rec-1", "done")
    assert (line["user_id"], line["bucket"], line["attempt"]) == ("user-9", "raw", 1)
    assert line["key"].endswith("rec-1_end.wav")
    assert line["transcript_key"].startswith("transcripts/user-9/")
    assert line["transcript_key"].endswith("/rec-1.json")
    assert line["audio_s"] > 0
    assert line["took_s"] >= 20.0
    assert "reason" not in line


def test_a_job_that_failed_for_good_is_one_error_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with new_world(tmp_path) as world:
        work_through(world, Plan(work_s=5.0, failures=(("rec-1", Failure.REJECTED),)))

    (line,) = errors(caplog)
    assert (line["msg"], line["outcome"], line["job_id"]) == ("job ended", "failed", "rec-1")
    assert line["reason"]
    assert "transcript_key" not in line


def test_a_job_that_is_tried_again_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=20.0))
        world.send()
        world.run(lambda: "rec-1" in host.supervisor.jobs)
        host.supervisor.release("rec-1")
        world.run(world.is_quiet)

    assert [line["outcome"] for line in lines(caplog, "job ended")] == ["released", "done"]
    assert errors(caplog) == []


def test_a_second_message_of_a_failed_recording_is_no_second_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with new_world(tmp_path) as world:
        work_through(world, Plan(work_s=5.0, failures=(("rec-1", Failure.REJECTED),)))
        world.send()
        world.run(world.is_quiet)

    assert len(lines(caplog, "job ended")) == 2
    assert len(errors(caplog)) == 1


def test_a_message_that_is_no_job_is_one_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with new_world(tmp_path) as world:
        world.host()
        world.queue.send("this is not JSON", {})
        world.run(world.is_quiet)

    (line,) = errors(caplog)
    assert line["msg"] == "message rejected"
    assert "not JSON" in line["reason"]


def test_debug_shows_each_decision_on_a_jobs_way_and_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """LOG_LEVEL=DEBUG changed nothing: there was no such line."""
    with new_world(tmp_path) as world:
        work_through(world, Plan(work_s=100.0))
        handles = set(world.queue._given)

    told = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    way = [
        "message received", "record claimed", "audio fetched", "visibility timeout extended",
        "publishing the transcript", "record fenced for the commit", "transcript object written",
        "record completed", "deleting the message",
    ]  # fmt: skip
    assert [sentence for sentence in dict.fromkeys(told) if sentence in way] == way
    everything = str([vars(record) for record in caplog.records])
    assert text_of("rec-1") not in everything
    assert handles
    assert not any(handle in everything for handle in handles)
