"""Messages, audio and results that can't be used: a real broker says why, and nobody else waits for it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.ports.ports import Change, Missing, RecordKey
from supervisor.contract.wire.messages import (
    Commit,
    Done,
    Ending,
    Fail,
    Failure,
    Ready,
    Trouble,
    Wanted,
)
from tests.broker.harness import rem_message, stage, until
from tests.broker.worlds import USER, World

pytestmark = pytest.mark.slow


BAD_BODIES: list[tuple[str, str]] = [
    ("this is not JSON", "not JSON"),
    (json.dumps({"recordingId": "x"}), "lacks bucket, key"),
    (json.dumps(rem_message(bucket="elsewhere")), "reads from"),
]


@pytest.mark.parametrize(("body", "says"), BAD_BODIES)
def test_bad_message_is_kept_for_people_and_the_service_goes_on(
    world: World, audio: Path, body: str, says: str
) -> None:
    world.records.update(RecordKey(USER, "rec-1"), Change(Missing("status"), {"status": "TRANSCRIBING"}))
    world.send(body)
    good = rem_message("good", world.raw_bucket)
    world.upload(good["key"], audio)
    world.send(good)

    with world.broker() as broker:
        assert broker.finish(broker.take_one()).job_id == "good"
        world.wait_until_empty()

    (failed,) = failed_jobs(world)
    assert says in failed.reason
    assert failed.body == body
    assert world.record()["status"] == "TRANSCRIBING"  # whatever the message is about, it is not this audio
    assert not {"remState", "remReason"} & set(world.record())


def failed_jobs(world: World) -> Any:
    from supervisor.broker.backends.failed_jobs import FailedJobs

    return FailedJobs(Path(world.settings.state_dir)).newest_first()


def test_missing_audio_fails_with_a_reason_and_the_supervisor_never_hears_of_it(
    world: World, audio: Path
) -> None:
    world.send(rem_message(bucket=world.raw_bucket))
    good = rem_message("good", world.raw_bucket)
    world.upload(good["key"], audio)
    world.send(good)

    with world.broker() as broker:
        broker.say(Wanted(1))
        card = broker.hear(Ready).card
        assert broker.finish(card).job_id == "good"
        until(lambda: world.record().get("remState") == "FAILED", "the record of the other")

    assert "There is no object" in world.record()["remReason"]
    assert [job.id for job in failed_jobs(world)] == ["rec-1"]


def test_empty_and_oversized_audio_fail_before_a_byte_is_fetched(world: World, tmp_path: Path) -> None:
    limits = dataclasses.replace(world.settings.spool, max_file_bytes=1_000)
    for name, size in (("empty", 0), ("large", 1_001)):
        message = rem_message(name, world.raw_bucket)
        (tmp_path / name).write_bytes(bytes(size))
        world.upload(message["key"], tmp_path / name)
        world.send(message)

    with world.broker(dataclasses.replace(world.settings, spool=limits)) as broker:
        broker.say(Wanted(2))
        until(lambda: world.record("empty").get("remState") == "FAILED", "the empty one's end")
        until(lambda: world.record("large").get("remState") == "FAILED", "the large one's end")

    assert world.record("empty")["remReason"] == "The audio is empty (0 bytes)."
    assert "1001 bytes; the largest allowed is 1000" in world.record("large")["remReason"]


def test_full_spool_makes_jobs_wait_and_loses_none(world: World, audio: Path) -> None:
    limits = dataclasses.replace(world.settings.spool, limit_bytes=15_000)
    for name in ("first", "second"):
        message = rem_message(name, world.raw_bucket)
        world.upload(message["key"], audio)
        world.send(message)

    with world.broker(dataclasses.replace(world.settings, spool=limits)) as broker:
        broker.say(Wanted(2))
        card = broker.hear(Ready).card
        assert "full" in broker.hear(Trouble).detail
        broker.finish(card)
        other = broker.hear(Ready).card
        assert broker.hear(Trouble) == Trouble("spool", "")
        broker.finish(other)

    assert {card.job_id, other.job_id} == {"first", "second"}
    world.wait_until_empty()


def test_failure_comes_again_and_counts(world: World, job: Any) -> None:
    with world.broker() as broker:
        broker.take_one()
        broker.say(Fail("rec-1", Failure.FAILURE, "The engine stumbled"))
        assert broker.hear(Done).ending is Ending.RELEASED

    assert world.record()["remFailures"] == 1
    assert "remState" not in world.record()


def test_result_that_is_not_whole_is_a_failure_and_nothing_is_published(
    world: World, job: Any, tmp_path: Path
) -> None:
    with world.broker() as broker:
        card = broker.take_one()
        stage(card, sha256_json="0" * 64)
        broker.say(Commit("rec-1"))
        done = broker.hear(Done)

    assert done.ending is Ending.RELEASED
    assert "not the one that was announced" in done.reason
    assert world.text_of("transcripts/user-9/dev-7/rec-1.json", tmp_path) is None
