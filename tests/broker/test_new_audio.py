"""A record that is over is over for one source, in virtual time: other audio under its name is a new try.

FAILED was once for ever: an empty upload, then the whole file under the same key, and REM's message again
went to the dead letters with status TRANSCRIBING, as the dispatcher had set it, and readers waited on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.backends.failed_jobs import FailedJobs
from supervisor.contract.wire.messages import Ending, Failure
from tests.broker.harness import rem_message
from tests.broker.model import Host, Killed, World, assert_once, new_world
from tests.broker.model_faults import Script, forbidden, later
from tests.broker.model_supervisor import Plan
from tests.support.memory_backend import QueueRules

REMS_RULES = {"max_receive_count": 3}
BAD = (("rec-1", Failure.REJECTED),)


def upload_and_send(world: World, data: bytes, **changed: Any) -> None:
    """Be a device that uploads and a dispatcher that says so."""
    world.send(**changed)
    world.objects.stored["raw", rem_message(**changed)["key"]] = data


def failed_ids(host: Host) -> list[str]:
    return [job.id for job in FailedJobs(host.folder).newest_first()]


def test_whole_file_after_an_empty_one_under_the_same_key(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(**REMS_RULES)) as world:
        host = world.host()
        upload_and_send(world, b"")
        world.run(world.is_quiet)
        assert (world.item()["status"], failed_ids(host)) == ("FAILED", ["rec-1"])

        upload_and_send(world, b"whole")
        world.run(world.is_quiet)

        assert_once(world)
        assert failed_ids(host) == []
        assert len(world.queue.dead_letters) == 1  # the first message's


def send_in_vain(world: World, **changes: str) -> None:
    """Send a message about audio that is not there; its recording fails."""
    world.send("rec-1", **changes)
    world.objects.stored.clear()
    world.run(world.is_quiet)
    assert world.item()["remState"] == "FAILED"


def test_file_that_comes_after_its_message(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(**REMS_RULES)) as world:
        world.host()
        send_in_vain(world)

        world.send()
        world.run(world.is_quiet)

        assert_once(world)


def test_right_key_after_a_mistyped_one(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(**REMS_RULES)) as world:
        world.host()
        send_in_vain(world, key="raw/dev-7/mistyped.wav")

        world.send()
        world.run(world.is_quiet)

        assert_once(world)


def test_other_bytes_after_a_failure_of_the_worker_have_all_their_tries(tmp_path: Path) -> None:
    """What counted against the first audio does not count against the next."""
    with new_world(tmp_path, QueueRules(max_receive_count=10)) as world:
        host = world.host(Plan(failures=(("rec-1", Failure.FAILURE),)))
        upload_and_send(world, b"bad")
        world.run(world.is_quiet)
        assert world.item()["remFailures"] == 3

        upload_and_send(world, b"still bad")
        world.run(world.is_quiet)

        assert world.item()["remFailures"] == 3
        assert world.item()["remAttempt"] == 6
        assert failed_ids(host) == ["rec-1"]


@pytest.mark.parametrize("hosts", [1, 2])
def test_same_bytes_again_stay_failed_and_status_says_so_again(tmp_path: Path, hosts: int) -> None:
    """REM's dispatcher sets TRANSCRIBING on every S3 event: readers would wait for ever."""
    with new_world(tmp_path, QueueRules(**REMS_RULES)) as world:
        first = world.host(Plan(failures=BAD))
        world.send()
        world.run(world.is_quiet)
        if hosts == 2:
            first.is_gone = True
            first.dies()
            world.host()

        world.send()
        assert world.item()["status"] == "TRANSCRIBING"
        world.run(world.is_quiet)

        assert (world.item()["status"], world.item()["remState"]) == ("FAILED", "FAILED")
        assert world.item()["remAttempt"] == 1
        assert len(world.queue.dead_letters) == 2


def test_other_bytes_under_the_key_of_a_finished_recording_are_a_new_try(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        world.host()
        upload_and_send(world, b"first")
        world.run(world.is_quiet)

        upload_and_send(world, b"second")
        world.run(world.is_quiet)

        assert (world.item()["remState"], world.item()["remAttempt"]) == ("DONE", 2)


def test_finished_recording_whose_audio_was_removed_stays_finished(tmp_path: Path) -> None:
    """A lifecycle rule removes audio; a duplicate of the message comes later."""
    with new_world(tmp_path) as world:
        world.host()
        world.send()
        world.run(world.is_quiet)

        world.send()
        del world.objects.stored["raw", rem_message()["key"]]
        world.run(world.is_quiet)

        assert_once(world)
        assert world.item()["remAttempt"] == 1


def test_events_of_s3_tell_other_bytes_by_their_etag(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        world.host()
        for data, etag in ((b"", "e-empty"), (b"whole", "e-whole")):
            world.objects.stored["raw", "a.wav"] = data
            stored = {"key": "a.wav", "eTag": etag}
            body = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "raw"}, "object": stored}}
            world.queue.send(json.dumps({"Records": [body]}), {})
            world.run(world.is_quiet)

        (item,) = world.records.items.values()
        assert (item["remState"], item["remAttempt"]) == ("DONE", 2)


@pytest.mark.parametrize("trouble", [later("audio", "503"), forbidden("audio")])
def test_look_that_fails_for_now_decides_nothing(tmp_path: Path, trouble: Any) -> None:
    with new_world(tmp_path) as world:
        world.host()
        upload_and_send(world, b"")
        world.run(world.is_quiet)
        Script(world).before("objects.look", trouble, times=40)

        upload_and_send(world, b"whole")
        world.run(world.is_quiet)

        assert_once(world)


@pytest.mark.parametrize("when", ["while it is fetched", "while it is worked on"])
def test_audio_uploaded_anew_in_mid_work_is_transcribed_too(tmp_path: Path, when: str) -> None:
    """Both messages once ended with the first audio's transcript."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=40.0))
        script = Script(world)
        if when == "while it is fetched":
            script.after("objects.fetch", lambda: upload_and_send(world, b"second"))
        world.send()
        world.run(lambda: bool(host.supervisor.jobs))
        if when == "while it is worked on":
            upload_and_send(world, b"second")
        world.run(world.is_quiet)

        assert (world.item()["remState"], world.item()["remAttempt"]) == ("DONE", 2)
        assert host.supervisor.endings == [("rec-1", Ending.DONE)] * 2
        assert world.queue.messages == {}


@pytest.mark.parametrize(
    "bad",
    [{"bucket": "elsewhere"}, {"key": "another.wav", "language": "german"}, {"key": ""}, {"options": 7}],
)
@pytest.mark.parametrize("comes", ["before", "after", "while it is worked on"])
def test_rejected_message_decides_nothing_about_a_recording_of_other_messages(
    tmp_path: Path, bad: dict[str, Any], comes: str
) -> None:
    """A message with a foreign bucket once failed a recording that was never begun; its own message, which
    came next, went to the dead letters."""
    with new_world(tmp_path, QueueRules(**REMS_RULES)) as world:
        host = world.host(Plan(work_s=30.0))
        body = json.dumps(rem_message(**bad))
        if comes == "before":
            world.queue.send(body, {})
            world.run(world.is_quiet)
        world.send()
        if comes == "while it is worked on":
            world.run(lambda: bool(host.supervisor.jobs))
        if comes != "before":
            world.queue.send(body, {})

        world.run(world.is_quiet)

        assert_once(world)
        assert len(world.queue.dead_letters) == 1
        assert failed_ids(host) == ["rec-1"]  # the message is kept for people


def test_recordings_own_message_that_cannot_be_a_job_tells_its_readers(tmp_path: Path) -> None:
    with new_world(tmp_path, QueueRules(**REMS_RULES)) as world:
        world.host()
        world.send()
        world.item()["s3KeyRaw"] = rem_message()["key"]
        (stored,) = world.queue.messages.values()
        stored.body = json.dumps(rem_message(language="german"))

        world.run(world.is_quiet)

        assert world.item()["status"] == "FAILED"
        assert "german" in world.item()["remReason"]
        assert "remState" not in world.item()


@pytest.mark.parametrize("first", [b"", b"first"])
def test_dying_at_any_call_of_a_new_try_leaves_exactly_one_transcript(tmp_path: Path, first: bytes) -> None:
    """The record was over, failed or done; the broker dies at each call of the try with the next audio."""

    def new_try(folder: Path, number: int) -> list[str]:
        with new_world(folder, QueueRules(max_receive_count=5)) as world:
            world.host()
            upload_and_send(world, first)
            world.run(world.is_quiet)
            begun, done = len(world.calls), len(world.completions)

            def die_at(at: int, name: str) -> None:
                if at == begun + number:
                    raise Killed

            world.after = die_at
            upload_and_send(world, b"second")
            world.run(world.is_quiet)
            assert (world.item()["status"], world.item()["remState"]) == ("TRANSCRIBED", "DONE")
            assert len(world.completions) == done + 1
            assert world.queue.messages == {}
            return world.calls[begun:]

    for number in range(len(new_try(tmp_path / "good", -1))):
        new_try(tmp_path / str(number), number)


@pytest.mark.parametrize(("etag", "attempts"), [("of-the-first", 1), ("of-the-second", 2)])
def test_events_of_s3_in_mid_work_say_themselves_which_bytes_they_mean(
    tmp_path: Path, etag: str, attempts: int
) -> None:
    """No look is needed, and a late duplicate of the first event waits for nothing."""
    with new_world(tmp_path) as world:
        host = world.host(Plan(work_s=40.0))
        world.objects.stored["raw", "a.wav"] = b"first"
        facts = world.objects.look("raw", "a.wav")
        assert facts is not None

        def send(named: str) -> None:
            stored = {"key": "a.wav", "eTag": named}
            body = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "raw"}, "object": stored}}
            world.queue.send(json.dumps({"Records": [body]}), {})

        send(facts.etag)
        world.run(lambda: bool(host.supervisor.jobs))
        if attempts == 2:
            world.objects.stored["raw", "a.wav"] = b"second"
        send(facts.etag if attempts == 1 else etag)
        world.run(world.is_quiet)

        (item,) = world.records.items.values()
        assert (item["remState"], item["remAttempt"]) == ("DONE", attempts)
        assert world.calls.count("objects.look") == attempts - 1  # once it is over
