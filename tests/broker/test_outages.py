"""What the outside does to the broker: outages, refusals, dead-letter queues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract.wire.messages import (
    Adopted,
    Commit,
    Done,
    Ending,
    Fail,
    Failure,
    Ready,
    Trouble,
    Up,
    Wanted,
)
from tests.broker.aws_servers import REGION, Deployment, record_key
from tests.broker.harness import BrokerProcess, rem_message, stage, until
from tests.broker.proxy import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.aws]


@pytest.fixture
def message(deployment: Deployment) -> dict[str, Any]:
    """One REM message on its way, its audio uploaded."""
    body = rem_message(bucket=deployment.raw_bucket)
    deployment.server.client("s3").put_object(
        Bucket=deployment.raw_bucket, Key=body["key"], Body=b"RIFF" + bytes(996)
    )
    deployment.send(body)
    return body


def record(deployment: Deployment) -> dict[str, Any]:
    key = record_key("user-9", "rec-1")
    found = deployment.server.client("dynamodb").get_item(TableName=deployment.table, Key=key)
    item: dict[str, Any] = found.get("Item", {})
    return item


def messages_left(deployment: Deployment, queue_url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = deployment.server.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)
    return sum(int(found["Attributes"][name]) for name in names)


def test_outage_is_said_once_sat_out_and_said_to_be_over(
    deployment: Deployment, message: dict[str, Any], tmp_path: Path
) -> None:
    with Proxy(deployment.server) as proxy:
        proxy.is_down = True
        with BrokerProcess(deployment.settings(tmp_path), proxy.environ(deployment)) as broker:
            assert broker.hear(Adopted) == Adopted(())
            broker.hear(Up)
            broker.say(Wanted(1))
            assert broker.hear(Trouble).where == "queue"
            tries = len(proxy.seen)
            until(lambda: len(proxy.seen) > tries + 1, "more tries")
            proxy.is_down = False
            assert broker.hear(Trouble) == Trouble("queue", "")
            assert broker.finish(broker.hear(Ready).card).ending is Ending.DONE

    assert messages_left(deployment, deployment.queue_url) == 0


def test_outage_during_the_commit_costs_no_transcript(
    deployment: Deployment, message: dict[str, Any], tmp_path: Path
) -> None:
    with (
        Proxy(deployment.server) as proxy,
        BrokerProcess(deployment.settings(tmp_path, lease_s=60), proxy.environ(deployment)) as broker,
    ):
        card = broker.take_one()
        stage(card)
        proxy.is_down = True
        broker.say(Commit(card.job_id))
        assert broker.hear(Trouble).where in ("table", "queue")
        proxy.is_down = False
        assert broker.hear(Done).ending is Ending.DONE

    assert record(deployment)["remAttempt"] == {"N": "1"}


def test_rems_own_role_without_change_visibility_works_on_the_long_visibility(
    deployment: Deployment, message: dict[str, Any], tmp_path: Path
) -> None:
    with Proxy(deployment.server) as proxy:
        proxy.denied = {"ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "SendMessage"}
        with BrokerProcess(deployment.settings(tmp_path), proxy.environ(deployment)) as broker:
            assert broker.finish(broker.take_one()).ending is Ending.DONE
            broker.logged("sqs:ChangeMessageVisibility")

    assert proxy.seen.count("ChangeMessageVisibility") == 1  # asked once, not again
    assert broker.log.count("sqs:ChangeMessageVisibility") == 1
    assert messages_left(deployment, deployment.queue_url) == 0


def test_failed_message_goes_to_the_dead_letter_queue_at_once_where_that_is_permitted(
    deployment: Deployment, message: dict[str, Any], tmp_path: Path
) -> None:
    with BrokerProcess(deployment.settings(tmp_path), deployment.server.environ) as broker:
        card = broker.take_one()
        broker.say(Fail(card.job_id, Failure.REJECTED, "This is not audio"))
        assert broker.hear(Done).ending is Ending.FAILED

    assert messages_left(deployment, deployment.queue_url) == 0
    (dead,) = deployment.server.client("sqs").receive_message(
        QueueUrl=deployment.queue_url + "-dlq", MessageAttributeNames=["All"]
    )["Messages"]
    assert json.loads(dead["Body"]) == message
    assert dead["MessageAttributes"]["remReason"]["StringValue"] == "This is not audio."
    assert record(deployment)["status"] == {"S": "FAILED"}


def test_dead_letter_queue_that_is_gone_keeps_nobody_from_working(
    deployment: Deployment, message: dict[str, Any], tmp_path: Path
) -> None:
    """Its error was taken for the service's own queue's: nothing was received meanwhile."""
    deployment.server.client("sqs").delete_queue(QueueUrl=deployment.queue_url + "-dlq")
    with BrokerProcess(deployment.settings(tmp_path), deployment.server.environ) as broker:
        card = broker.take_one()
        broker.say(Fail(card.job_id, Failure.REJECTED, "This is not audio"))
        assert broker.hear(Done).ending is Ending.FAILED
        broker.logged("dead-letter queue can't be used")

        good = rem_message("rec-2", bucket=deployment.raw_bucket)
        deployment.server.client("s3").put_object(
            Bucket=deployment.raw_bucket, Key=good["key"], Body=b"RIFF" + bytes(996)
        )
        deployment.send(good)
        assert broker.finish(broker.take_one()).ending is Ending.DONE
        assert not [said for said in broker.heard if isinstance(said, Trouble)]

    assert messages_left(deployment, deployment.queue_url) == 1


def test_failed_message_is_left_to_redrive_where_copying_is_refused(
    deployment: Deployment, message: dict[str, Any], tmp_path: Path
) -> None:
    with Proxy(deployment.server) as proxy:
        proxy.denied = {"SendMessage"}
        with BrokerProcess(deployment.settings(tmp_path), proxy.environ(deployment)) as broker:
            card = broker.take_one()
            broker.say(Fail(card.job_id, Failure.REJECTED, "This is not audio"))
            assert broker.hear(Done).ending is Ending.FAILED

    assert "DeleteMessage" not in proxy.seen
    assert messages_left(deployment, deployment.queue_url) == 1
    assert record(deployment)["remState"] == {"S": "FAILED"}


def test_bucket_that_goes_in_mid_job_keeps_the_transcript_waiting_and_is_not_the_jobs_fault(
    deployment: Deployment, message: dict[str, Any], tmp_path: Path
) -> None:
    with BrokerProcess(deployment.settings(tmp_path), deployment.server.environ) as broker:
        card = broker.take_one()
        stage(card)
        s3 = deployment.server.client("s3")
        s3.delete_bucket(Bucket=deployment.transcripts_bucket)
        broker.say(Commit(card.job_id))
        trouble = broker.hear(Trouble)
        state = record(deployment)["remState"]
        s3.create_bucket(
            Bucket=deployment.transcripts_bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        done = broker.hear(Done)

    assert trouble.where == "settings"
    assert f"The bucket {deployment.transcripts_bucket} can't be used: NoSuchBucket" in trouble.detail
    assert "Correct TRANSCRIPTS_BUCKET" in trouble.detail
    assert state == {"S": "PUBLISHING"}
    assert done.ending is Ending.DONE
    assert record(deployment)["remAttempt"] == {"N": "1"}


def test_forbidden_key_waits_at_first_and_harms_nobody(
    deployment: Deployment, message: dict[str, Any], tmp_path: Path
) -> None:
    """S3 answers 403 also for keys that are not there yet, where listing is not permitted."""
    with Proxy(deployment.server) as proxy:
        proxy.forbidden_path = message["key"]
        with BrokerProcess(deployment.settings(tmp_path), proxy.environ(deployment)) as broker:
            broker.say(Wanted(1))
            broker.logged("AccessDenied")
            until(lambda: "remState" not in record(deployment), "the record set free")

    assert not [told for told in broker.heard if isinstance(told, Trouble)]  # one key is no trouble of all
    assert messages_left(deployment, deployment.queue_url) == 1
    assert "remFailures" not in record(deployment)
