"""The broker as a real process on a real link, on the embedded backend and on moto over HTTP.

The test stands in the supervisor's and the worker's place.
"""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.backends.database import Database
from supervisor.broker.backends.local_objects import LocalObjects
from supervisor.broker.backends.local_queue import LocalQueue, open_database
from supervisor.broker.ports.ports import Change, Counts, Missing, Present, RecordKey
from supervisor.contract import clock
from supervisor.contract.wire.messages import (
    Adopted,
    Commit,
    Done,
    Ending,
    Fail,
    Failure,
    JobCard,
    Keep,
    Leave,
    Lost,
    QueueState,
    Ready,
    Release,
    Up,
    Wanted,
)
from supervisor.settings.schema import Settings
from tests.broker.harness import BrokerProcess, local_settings, rem_message, transcript, until
from tests.broker.worlds import USER, World

pytestmark = pytest.mark.slow


def test_rem_message_end_to_end_compared_name_by_name(world: World, audio: Path, tmp_path: Path) -> None:
    message = rem_message(bucket=world.raw_bucket)
    before = {
        "status": "TRANSCRIBING",
        "GSI1PK": "dev-7",
        "createdAt": "2026-11-22T13:05:01Z",
        "speakers": {"n": 2},
    }
    world.records.update(RecordKey(USER, "rec-1"), Change(Missing("status"), before))
    world.upload(message["key"], audio)
    world.send(message)

    with world.broker() as broker:
        assert broker.hear(Adopted) == Adopted(())
        assert broker.hear(Up).facts["backend"] == world.settings.backend.kind
        card = broker.take_one()
        fetched = (Path(card.folder) / "audio").read_bytes()
        done = broker.finish(card, "Good morning.")
        spool = Path(world.settings.state_dir) / "spool"
        until(lambda: not list(spool.iterdir()), "the job's files removed")

    assert dataclasses.replace(card, folder="") == JobCard("rec-1", 1, "", 10_000, "rec-1", USER, "dev-7")
    assert fetched == audio.read_bytes()
    assert done == Done("rec-1", Ending.DONE, "", 1.5)
    item = world.record()
    assert item.pop("updatedAt") >= "2026-11-22"
    assert len(item.pop("remTranscriptSha256")) == 64
    assert item.pop("remSource").pop("etag")
    assert item == {
        "PK": USER,
        "SK": "rec-1",
        "recordingId": "rec-1",
        "status": "TRANSCRIBED",
        "transcriptS3Key": "transcripts/user-9/dev-7/rec-1.json",
        "language": "en",
        "durationSeconds": 1.5,
        "remState": "DONE",
        "remAttempt": 1,
        "GSI1PK": "dev-7",
        "GSI1SK": "2026-11-22T13:00:00Z",
        "createdAt": "2026-11-22T13:05:01Z",
        "speakers": {"n": 2},
        "deviceId": "dev-7",
        "startedAt": "2026-11-22T13:00:00Z",
        "endedAt": "2026-11-22T13:05:00Z",
        "s3KeyRaw": message["key"],
    }
    assert world.text_of("transcripts/user-9/dev-7/rec-1.txt", tmp_path) == "Good morning."
    document = world.text_of("transcripts/user-9/dev-7/rec-1.json", tmp_path)
    assert json.loads(document or "") == transcript(card, "Good morning.")
    world.wait_until_empty()
    assert list((Path(world.settings.state_dir) / "leases").glob("*.json")) == []


def test_three_objects_in_one_notification_are_three_jobs_of_one_message(world: World, audio: Path) -> None:
    keys = [f"raw/d/2026/11/22/d_{n}_e.wav" for n in range(3)]
    for key in keys:
        world.upload(key, audio)
    bucket = {"name": world.raw_bucket}
    world.send({"Records": [{"s3": {"bucket": bucket, "object": {"key": key}}} for key in keys]})

    with world.broker() as broker:
        broker.say(Wanted(3))
        cards = [broker.hear(Ready).card for _ in keys]
        broker.say(Wanted(0))
        endings = [broker.finish(card).ending for card in cards[:2]]
        assert world.queue.counts().in_flight == 1  # one job is still open
        broker.say(Fail(cards[2].job_id, Failure.REJECTED, "This is not audio"))
        last = broker.hear(Done)

    assert endings == [Ending.DONE, Ending.DONE]
    assert (last.ending, last.reason) == (Ending.FAILED, "This is not audio.")
    states = [world.record(card.job_id, "default-user")["remState"] for card in cards]
    assert states == ["DONE", "DONE", "FAILED"]
    world.wait_until_empty()


def test_two_services_on_one_queue_do_each_job_once(world: World, audio: Path) -> None:
    names = [f"rec-{n}" for n in range(6)]
    for name in names:
        message = rem_message(name, world.raw_bucket)
        world.upload(message["key"], audio)
        world.send(message)

    with world.broker() as one, world.broker(world.other_service()) as other:
        for broker in (one, other):
            broker.say(Wanted(3))
        cards = [(broker, broker.hear(Ready).card) for broker in (one, other) for _ in range(3)]
        assert sorted(card.job_id for _, card in cards) == names
        for broker, card in cards:
            assert broker.finish(card).ending is Ending.DONE

    assert [world.record(name)["remAttempt"] for name in names] == [1] * 6
    world.wait_until_empty()


def test_released_job_is_there_for_anybody_at_once(world: World, job: Any) -> None:
    with world.broker() as broker, world.broker(world.other_service()) as other:
        broker.take_one()
        broker.say(Release("rec-1", "drain"))
        assert broker.hear(Done) == Done("rec-1", Ending.RELEASED, "drain")
        card = other.take_one()
        assert other.finish(card).ending is Ending.DONE

    assert card.attempt == 2
    assert world.record()["remReleases"] == 1


def test_the_same_message_twice_is_one_job_and_both_are_deleted(world: World, job: Any) -> None:
    world.send(job)

    with world.broker() as broker:
        broker.say(Wanted(2))
        card = broker.hear(Ready).card
        until(lambda: world.queue.counts() == Counts(0, 2), "both messages in the broker's hands")
        assert broker.finish(card).ending is Ending.DONE
        world.wait_until_empty()

    assert world.record()["remAttempt"] == 1


def test_duplicate_after_the_end_mends_the_status_and_goes(world: World, job: Any) -> None:
    with world.broker() as broker:
        broker.finish(broker.take_one())
        reset = Change(
            Present("status"), {"status": "TRANSCRIBING"}
        )  # REM's dispatcher, on a duplicate event
        world.records.update(RecordKey(USER, "rec-1"), reset)
        world.send(job)
        broker.say(Wanted(1))
        until(lambda: world.record()["status"] == "TRANSCRIBED", "the status mended")
        world.wait_until_empty()

    assert world.record()["remAttempt"] == 1


def test_leaving_broker_serves_what_it_holds_and_then_ends(world: World, job: Any) -> None:
    with world.broker() as broker:
        card = broker.take_one()
        broker.say(Leave(clock.now_s() + 60))
        assert broker.finish(card).ending is Ending.DONE
        assert broker.ended() == 0


def test_leaving_broker_gives_back_what_is_left_before_its_deadline(world: World, job: Any) -> None:
    with world.broker() as broker:
        broker.take_one()
        broker.say(Leave(clock.now_s() + 3.5))
        assert broker.hear(Done).ending is Ending.RELEASED
        assert broker.ended() == 0

    assert world.queue.receive(1, 30, 0)


def test_signals_do_not_end_it(world: World, job: Any) -> None:
    with world.broker() as broker:
        card = broker.take_one()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            broker.process.send_signal(number)
        assert broker.finish(card).ending is Ending.DONE


def test_queue_state_is_told(world: World, job: Any) -> None:
    with world.broker() as broker:
        state = broker.hear(QueueState)

        assert (state.waiting, state.in_flight) == (1, 0)
        broker.finish(broker.take_one())
        broker.hear(QueueState, lambda told: (told.waiting, told.in_flight) == (0, 0))


def with_message(settings: Settings, audio: Path) -> Database:
    """The embedded backend with one message on its way and its audio in place."""
    folder, message = Path(settings.local.folder), rem_message()
    database = open_database(folder)
    LocalObjects(folder / "objects").put("raw", message["key"], audio, "audio/wav")
    LocalQueue(database).send(json.dumps(message), {})
    return database


def test_refused_extension_loses_the_job_and_leaves_the_message_alone(tmp_path: Path, audio: Path) -> None:
    settings = local_settings(tmp_path, lease_s=3)
    database = with_message(settings, audio)

    with BrokerProcess(settings) as broker:
        broker.take_one()
        with database.change() as tx:  # somebody else has received it meanwhile
            tx.execute("UPDATE messages SET handle = 'theirs', visible_at_s = visible_at_s + 900")
        lost = broker.hear(Lost)
        broker.say(Commit("rec-1"))
        assert broker.hear(Done).ending is Ending.DROPPED

    assert lost.job_id == "rec-1"
    assert database.rows("SELECT handle FROM messages")[0]["handle"] == "theirs"


def test_kept_job_outlives_its_first_lease(tmp_path: Path, audio: Path) -> None:
    settings = local_settings(tmp_path, lease_s=3)
    database = with_message(settings, audio)

    with BrokerProcess(settings) as broker:
        card = broker.take_one()
        until_s = clock.now_s() + 3.5
        until(_kept(broker, card, lambda: clock.now_s() > until_s), "more than a lease")
        assert LocalQueue(database).receive(1, 30, 0) == []
        assert broker.finish(card).ending is Ending.DONE


def _kept(broker: BrokerProcess, card: JobCard, fact: Callable[[], bool]) -> Callable[[], bool]:
    def look() -> bool:
        broker.say(Keep((card.job_id,)))
        return fact()

    return look


def test_second_broker_on_one_state_directory_does_not_serve(tmp_path: Path) -> None:
    settings = local_settings(tmp_path)
    with BrokerProcess(settings) as first:
        first.hear(Up)
        with BrokerProcess(settings) as second:
            assert second.ended() == 1
        assert "another broker works in" in second.log


def test_nothing_secret_is_logged(world: World, job: Any) -> None:
    environ = {**world.environ, "AWS_SECRET_ACCESS_KEY": "test-secret"}
    with BrokerProcess(
        dataclasses.replace(world.settings, log=dataclasses.replace(world.settings.log, level="DEBUG")),
        environ,
    ) as broker:
        card = broker.take_one()
        (lease,) = (Path(world.settings.state_dir) / "leases").glob("*.json")
        handle = json.loads(lease.read_text().splitlines()[-1])["handle"]
        broker.finish(card, "Strictly private words.")

    assert handle not in broker.log
    assert "test-secret" not in broker.log
    assert "private words" not in broker.log
    assert all(json.loads(line)["process"] == "broker" for line in broker.log.splitlines())
