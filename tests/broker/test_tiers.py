"""The broker with just the permissions of each tier: every other call is refused on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.verbs.check import findings
from supervisor.contract.finding import Finding
from supervisor.contract.wire.messages import (
    Checkpoint,
    Commit,
    Done,
    Ending,
    Fail,
    Failure,
    JobCard,
    Ready,
    Release,
    Wanted,
)
from tests.broker.aws_servers import Deployment, deploy, record_key
from tests.broker.harness import BrokerProcess, rem_message, stage, until
from tests.broker.proxy import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.aws]


@pytest.fixture(params=["moto", "ministack"])
def made(request: pytest.FixtureRequest) -> Deployment:
    return deploy(request.getfixturevalue(request.param))


@pytest.fixture
def proxy(made: Deployment) -> Iterator[Proxy]:
    with Proxy(made.server) as standing:
        standing.permitted = tier_0(made)
        yield standing


def queue_name(made: Deployment) -> str:
    return made.queue_url.rsplit("/", 1)[-1]


def tier_0(made: Deployment) -> frozenset[str]:
    """What REM's own role may do, and nothing else."""
    queue = queue_name(made)
    return frozenset(
        (
            f"sqs:ReceiveMessage {queue}",
            f"sqs:DeleteMessage {queue}",
            f"sqs:GetQueueAttributes {queue}",
            "dynamodb:UpdateItem",
            "dynamodb:GetItem",
            f"s3:GetObject {made.raw_bucket}",
            f"s3:PutObject {made.transcripts_bucket}",
        )
    )


def by_the_proof(made: Deployment) -> str:
    """Name what is asked once at start: it tells a bucket that is not there from one that may not be read."""
    return f"s3:GetObject {made.transcripts_bucket}"


def tier_1(made: Deployment) -> frozenset[str]:
    changes = ("ChangeMessageVisibility", "ChangeMessageVisibilityBatch")
    return tier_0(made) | {f"sqs:{name} {queue_name(made)}" for name in changes}


def tier_2(made: Deployment) -> frozenset[str]:
    bucket = made.transcripts_bucket
    more = (f"s3:GetObject {bucket}", f"s3:DeleteObject {bucket}", f"s3:GetBucket {bucket}")  # the last: list
    return tier_1(made) | frozenset(more)


def tier_3(made: Deployment) -> frozenset[str]:
    return tier_1(made) | {f"sqs:SendMessage {queue_name(made)}-dlq"}


def send(made: Deployment, audio: bool = True) -> dict[str, Any]:
    body = rem_message(bucket=made.raw_bucket)
    if audio:
        s3 = made.server.client("s3")
        s3.put_object(Bucket=made.raw_bucket, Key=body["key"], Body=b"RIFF" + bytes(996))
    made.send(body)
    return body


def left(made: Deployment, url: str) -> tuple[int, int]:
    """Count what is visible and what is hidden."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = made.server.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def record(made: Deployment) -> dict[str, Any]:
    key = record_key("user-9", "rec-1")
    answer = made.server.client("dynamodb").get_item(TableName=made.table, Key=key)
    return {name: next(iter(value.values())) for name, value in answer.get("Item", {}).items()}


def lost(broker: BrokerProcess) -> list[str]:
    """Name the permissions that the log says are missing, each as often as it says so."""
    lines = [json.loads(line) for line in broker.log.splitlines() if "permission missing" in line]
    return [line["missing"] for line in lines]


def test_rems_own_role_brings_a_job_to_its_end(made: Deployment, proxy: Proxy, tmp_path: Path) -> None:
    send(made)

    with BrokerProcess(made.settings(tmp_path), proxy.environ(made)) as broker:
        card = broker.take_one()
        hidden = broker.finish(card)
        broker.logged("sqs:ChangeMessageVisibility")

    assert hidden.ending is Ending.DONE
    assert record(made)["status"] == "TRANSCRIBED"
    assert left(made, made.queue_url) == (0, 0)
    assert proxy.refused == [by_the_proof(made), f"sqs:ChangeMessageVisibility {queue_name(made)}"]
    assert lost(broker) == ["sqs:ChangeMessageVisibility"]


def test_rems_own_role_brings_a_failure_to_its_end(made: Deployment, proxy: Proxy, tmp_path: Path) -> None:
    send(made)

    with BrokerProcess(made.settings(tmp_path), proxy.environ(made)) as broker:
        card = broker.take_one()
        broker.say(Fail(card.job_id, Failure.REJECTED, "This is not audio"))
        assert broker.hear(Done).ending is Ending.FAILED
        broker.logged("dead-letter queue")

    assert (record(made)["status"], record(made)["remReason"]) == ("FAILED", "This is not audio.")
    assert left(made, made.queue_url) == (0, 1)  # hidden until its visibility ends, then redriven
    assert lost(broker) == ["sqs:ChangeMessageVisibility", "sqs:SendMessage on the dead-letter queue"]
    assert proxy.refused[2:] == [f"sqs:SendMessage {queue_name(made)}-dlq"]


def test_rems_own_role_survives_outages_and_a_broker_that_dies(
    made: Deployment, proxy: Proxy, tmp_path: Path
) -> None:
    send(made)
    with BrokerProcess(made.settings(tmp_path), proxy.environ(made)) as broker:
        card = broker.take_one()
        stage(card)
    with BrokerProcess(made.settings(tmp_path), proxy.environ(made)) as heir:
        again = heir.hear(Ready).card
        assert again.staged
        heir.say(Commit(again.job_id))
        assert heir.hear(Done).ending is Ending.DONE

    assert left(made, made.queue_url) == (0, 0)


def test_missing_key_without_the_right_to_list_fails_at_the_third_receive(
    made: Deployment, proxy: Proxy, tmp_path: Path
) -> None:
    send(made, audio=False)
    proxy.permitted = tier_1(made)
    client = made.server.client("sqs")
    for _ in range(2):
        (message,) = client.receive_message(QueueUrl=made.queue_url, WaitTimeSeconds=2)["Messages"]
        client.change_message_visibility(
            QueueUrl=made.queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )

    with BrokerProcess(made.settings(tmp_path), proxy.environ(made)) as broker:
        broker.say(Wanted(1))
        until(lambda: record(made).get("remState") == "FAILED", "a failed record")

    assert record(made)["remReason"].startswith("The audio can't be read:")


def test_with_change_visibility_a_released_job_is_there_at_once(
    made: Deployment, proxy: Proxy, tmp_path: Path
) -> None:
    send(made)
    proxy.permitted = tier_1(made)

    with BrokerProcess(made.settings(tmp_path), proxy.environ(made)) as broker:
        card = broker.take_one()
        broker.say(Release(card.job_id, "a test"))
        assert broker.hear(Done).ending is Ending.RELEASED

    assert left(made, made.queue_url) == (1, 0)
    assert lost(broker) == []
    assert proxy.refused == [by_the_proof(made)]


def test_with_send_message_a_failed_one_goes_to_the_dead_letters_with_its_facts(
    made: Deployment, proxy: Proxy, tmp_path: Path
) -> None:
    body = send(made)
    proxy.permitted = tier_3(made)

    with BrokerProcess(made.settings(tmp_path), proxy.environ(made)) as broker:
        card = broker.take_one()
        broker.say(Fail(card.job_id, Failure.CRASH, "its worker died 3 times on this recording"))
        assert broker.hear(Done).ending is Ending.FAILED

    assert left(made, made.queue_url) == (0, 0)
    (dead,) = made.server.client("sqs").receive_message(
        QueueUrl=f"{made.queue_url}-dlq", MessageAttributeNames=["All"]
    )["Messages"]
    said = {name: value["StringValue"] for name, value in dead["MessageAttributes"].items()}
    assert json.loads(dead["Body"]) == body
    assert said.pop("remHost")
    assert said == {
        "remReason": "its worker died 3 times on this recording.",
        "remAttempt": "1",
        "remError": "crash",
    }
    assert proxy.refused == [by_the_proof(made)]


@pytest.mark.parametrize("may_send", [True, False])
def test_last_receive_that_is_given_back_becomes_a_copy_where_that_is_permitted(
    made: Deployment, proxy: Proxy, tmp_path: Path, may_send: bool
) -> None:
    """REM's queue buries a message at its fourth delivery: innocent releases must not lead there."""
    send(made)
    proxy.permitted = tier_1(made) | ({f"sqs:SendMessage {queue_name(made)}"} if may_send else set())

    with BrokerProcess(made.settings(tmp_path), proxy.environ(made)) as broker:
        for _ in range(3):
            card = broker.take_one()
            broker.say(Release(card.job_id, "a test"))
            assert broker.hear(Done).ending is Ending.RELEASED
        if not may_send:
            broker.logged("sqs:SendMessage")

    (message,) = made.server.client("sqs").receive_message(
        QueueUrl=made.queue_url, AttributeNames=["ApproximateReceiveCount"], WaitTimeSeconds=2
    ).get("Messages") or [None]
    if may_send:
        assert message["Attributes"]["ApproximateReceiveCount"] == "1"
        assert lost(broker) == []
    else:
        assert message is None
        assert left(made, f"{made.queue_url}-dlq") == (1, 0)
        assert lost(broker) == ["sqs:SendMessage"]


def test_length_of_the_queue_is_unknown_where_it_may_not_be_asked_for(
    made: Deployment, proxy: Proxy, tmp_path: Path
) -> None:
    send(made)
    proxy.permitted = tier_3(made) - {f"sqs:GetQueueAttributes {queue_name(made)}"}

    with BrokerProcess(made.settings(tmp_path), proxy.environ(made)) as broker:
        assert broker.finish(broker.take_one()).ending is Ending.DONE
        broker.logged("sqs:GetQueueAttributes")
        until(lambda: proxy.refused.count(f"sqs:GetQueueAttributes {queue_name(made)}") > 1, "a count")

    assert lost(broker) == ["sqs:GetQueueAttributes"]


def look(made: Deployment, proxy: Proxy, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Finding]:
    for name, value in proxy.environ(made).items():
        patch.setenv(name, value)
    return {finding.check: finding for finding in findings(made.settings(folder))}


def test_doctor_names_what_rems_own_role_lacks_and_what_that_costs(
    made: Deployment, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = look(made, proxy, tmp_path, monkeypatch)

    warned = {name: finding for name, finding in found.items() if finding.state == "warn"}
    assert set(warned) == {
        "permission sqs:ChangeMessageVisibility",
        "permission sqs:SendMessage",
        "permission sqs:SendMessage on the dead-letter queue",
        "permission s3:GetObject, s3:DeleteObject or s3:ListBucket under checkpoints/",
        "redrive",
        "audio",
    }
    assert all(finding.detail and finding.cure for finding in warned.values())
    assert not [finding for finding in found.values() if finding.state == "fail"]
    assert left(made, made.queue_url) == (0, 0)


def test_doctor_finds_all_permissions_without_sending_anything(
    made: Deployment, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.permitted = None

    found = look(made, proxy, tmp_path, monkeypatch)

    assert {name: finding.state for name, finding in found.items() if finding.state != "ok"} == {
        "redrive": "warn"
    }
    assert left(made, made.queue_url) == left(made, f"{made.queue_url}-dlq") == (0, 0)


def checkpoints_in(made: Deployment) -> list[str]:
    found = made.server.client("s3").list_objects_v2(Bucket=made.transcripts_bucket, Prefix="checkpoints/")
    return [entry["Key"] for entry in found.get("Contents", [])]


def leave_and_give_back(broker: BrokerProcess, card: JobCard) -> None:
    """Be a worker that is put down: its last checkpoint, then the job."""
    (Path(card.folder) / "checkpoint.json").write_text('{"so": "far"}')
    broker.say(Checkpoint(card.job_id, 12.5))
    broker.say(Release(card.job_id, "drain"))
    assert broker.hear(Done).ending is Ending.RELEASED


def test_checkpoint_reaches_the_next_host_where_its_bucket_may_hold_it(
    made: Deployment, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.permitted = tier_2(made)
    send(made)
    with BrokerProcess(made.settings(tmp_path / "one"), proxy.environ(made)) as broker:
        leave_and_give_back(broker, broker.take_one())
    assert len(checkpoints_in(made)) == 1

    with BrokerProcess(made.settings(tmp_path / "two"), proxy.environ(made)) as broker:
        card = broker.take_one()
        found = (Path(card.folder) / "checkpoint.json").read_text()
        ending = broker.finish(card)

    assert found == '{"so": "far"}'
    assert ending.ending is Ending.DONE
    assert checkpoints_in(made) == []
    assert "remCheckpoint" not in record(made)
    assert lost(broker) == []


def test_checkpoint_that_may_not_be_kept_leaves_nothing_and_is_told_once(
    made: Deployment, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.permitted = tier_1(made)
    send(made)
    with BrokerProcess(made.settings(tmp_path / "one"), proxy.environ(made)) as broker:
        card = broker.take_one()
        broker.say(Checkpoint(card.job_id, 5.0))
        leave_and_give_back(broker, card)
        broker.logged("checkpoints/")

    told = lost(broker)
    assert checkpoints_in(made) == []
    assert "remCheckpoint" not in record(made)
    assert [right for right in told if "checkpoints/" in right] == told
    assert len(told) == 1
