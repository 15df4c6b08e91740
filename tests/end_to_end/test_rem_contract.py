"""One of REM's messages from end to end over HTTP, compared with the contract letter by letter."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from tests.broker.aws_servers import deploy
from tests.end_to_end.running_service import SAMPLES, direct_text, running, wait_for
from tests.end_to_end.senders import (
    USER,
    AwsSender,
    LocalSender,
    Sender,
    finished,
    transcript_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.oldest, pytest.mark.aws]
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def run_one(sender: Sender, tmp_path: Path) -> tuple[str, dict[str, object]]:
    """Let a service work on one recording; give its id and its record."""
    with running(tmp_path / "state", slots=1, **sender.environ()) as service:
        service.wait_ready()
        job = sender.send(SAMPLES / "harbour.wav")
        record = wait_for(lambda: finished(sender, job), "a finished record")
        wait_for(lambda: sender.left() == 0, "an empty queue")
    return job, record


@pytest.mark.parametrize("name", ["moto", "ministack"])
def test_rem_message_ends_in_the_exact_objects_and_attributes(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    sender = AwsSender(deploy(request.getfixturevalue(name)))

    job, record = run_one(sender, tmp_path)

    device = "dev-7"
    json_key = f"transcripts/{USER}/{device}/{job}.json"
    text_key = f"transcripts/{USER}/{device}/{job}.txt"
    objects = sender.transcripts()
    assert sorted(objects) == [json_key, text_key]
    assert sender.content_type(json_key) == "application/json"
    assert sender.content_type(text_key).startswith("text/plain")

    transcript = transcript_of(sender, record)
    assert transcript["recordingId"] == job
    assert transcript["userId"] == USER
    assert transcript["deviceId"] == device
    assert transcript["language"] == "en"
    assert transcript["whisperModel"] == "tiny.en"
    assert transcript["durationSeconds"] == round(transcript["durationSeconds"], 2) > 7
    assert MOMENT.fullmatch(transcript["transcribedAt"])
    assert transcript["segments"]
    for segment in transcript["segments"]:
        assert list(segment)[:4] == ["id", "start", "end", "text"]
        assert segment["text"] == segment["text"].strip() != ""
        assert segment["start"] == round(segment["start"], 2) <= segment["end"] == round(segment["end"], 2)
    assert [segment["id"] for segment in transcript["segments"]] == list(
        range(1, len(transcript["segments"]) + 1)
    )
    assert transcript["fullText"] == " ".join(segment["text"] for segment in transcript["segments"])
    assert transcript["fullText"] == direct_text(SAMPLES / "harbour.wav")
    assert objects[text_key].decode() == transcript["fullText"]

    assert record["status"] == "TRANSCRIBED"
    assert record["transcriptS3Key"] == json_key
    assert record["language"] == "en"
    assert record["durationSeconds"] == Decimal(str(transcript["durationSeconds"]))
    assert MOMENT.fullmatch(str(record["updatedAt"]))
    assert record["remState"] == "DONE"
    assert record["remAttempt"] == 1
    assert not {"remToken", "remOwner", "remLeaseUnix", "remCheckpoint"} & set(record)
    # What others wrote survives as it was.
    assert record["title"] == "kept as it is"
    assert record["createdAt"] == "2026-11-22T10:05:01Z"
    assert record["GSI1PK"] == device
    assert record["GSI1SK"] == record["startedAt"] == "2026-11-22T10-00-00Z"
    assert (record["PK"], record["SK"]) == (USER, job)
    assert sender.of_device(device) == [record]


def test_embedded_backend_keeps_the_same_contract(tmp_path: Path) -> None:
    sender = LocalSender(tmp_path / "state" / "local")

    job, record = run_one(sender, tmp_path)

    assert sorted(sender.transcripts()) == [f"transcripts/{USER}/dev/{job}.{end}" for end in ("json", "txt")]
    assert record["status"] == "TRANSCRIBED"
    assert record["transcriptS3Key"] == f"transcripts/{USER}/dev/{job}.json"
    assert record["durationSeconds"] == transcript_of(sender, record)["durationSeconds"]
    assert {"language", "updatedAt", "remTranscriptSha256"} <= set(record)
    assert transcript_of(sender, record)["fullText"] == direct_text(SAMPLES / "harbour.wav")


def test_queue_that_is_not_there_is_told_once_and_served_when_it_comes(tmp_path: Path) -> None:
    """The service starts before its queue's host answers, says so once, and goes on by itself."""
    from tests.broker.aws_servers import deploy, run_server

    server = run_server("moto")
    first = next(server)
    environ = AwsSender(deploy(first)).environ()
    server.close()

    with running(tmp_path / "state", slots=1, **environ) as service:
        service.wait_ready()
        wait_for(lambda: (service.status() or {})["supervisor"]["troubles"], "a trouble in the status")
        # The log is written a moment after the status shows it.
        wait_for(lambda: "service does not answer" in service.log, "a line about it in the log")
        wait_for(lambda: service.command("status").returncode == 4, "an outage that counts")
        shown = service.command("status").stdout.splitlines()[0]

    assert shown.startswith("rem-supervisor degraded: queue: ")
    assert service.log.count('"where": "queue"') <= 3
    assert "Traceback" not in service.log
