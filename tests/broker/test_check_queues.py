"""`doctor` on the dead-letter queue: a queue that is not there is never called one that may be written to."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.broker.aws_servers import Deployment
from tests.broker.proxy import Proxy
from tests.broker.test_verbs import run

pytestmark = [pytest.mark.slow, pytest.mark.aws]
RIGHT = "permission sqs:SendMessage on the dead-letter queue"


def look(deployment: Deployment, folder: Path, environ: dict[str, str]) -> tuple[int, dict[str, Any]]:
    code, lines, _ = run(deployment.settings(folder), "check", environ)
    return code, {line["check"]: line for line in lines}


def test_dead_letter_queue_that_may_be_written_to_is_named(deployment: Deployment, tmp_path: Path) -> None:
    code, found = look(deployment, tmp_path, deployment.server.environ)

    assert code == 0
    assert found[RIGHT]["state"] == "ok"
    assert f"{name_of(deployment)}-dlq" in found[RIGHT]["detail"]


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"])
def test_variable_that_sends_calls_to_where_nobody_listens_is_named_in_the_cure(
    deployment: Deployment, tmp_path: Path, variable: str
) -> None:
    """Five failures advised to look at SQS_QUEUE_URL and others, none at the variable that was wrong."""
    with socket.socket() as bound:  # and does not listen: connections are refused
        bound.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{bound.getsockname()[1]}"

        code, found = look(deployment, tmp_path, {**deployment.server.environ, variable: nowhere})

    is_for_all = variable == "AWS_ENDPOINT_URL"
    assert code == 1
    assert f"Check {variable}, " in found["queue"]["cure"]
    assert found["table"]["state"] == ("fail" if is_for_all else "ok")
    assert not is_for_all or variable in found["table"]["cure"]


def test_wrong_bucket_of_transcripts_is_told_once(deployment: Deployment, tmp_path: Path) -> None:
    deployment.server.client("s3").delete_bucket(Bucket=deployment.transcripts_bucket)

    code, found = look(deployment, tmp_path, deployment.server.environ)

    assert code == 1
    assert [line["check"] for line in found.values() if line["state"] == "fail"] == ["transcripts"]
    assert [line["state"] for name, line in found.items() if "checkpoints" in name] == ["skip"]


def test_dead_letter_queue_that_is_not_there_fails_by_its_name(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Doctor said "failed messages go there at once" of a queue that had been deleted."""
    dead = f"{name_of(deployment)}-dlq"
    deployment.server.client("sqs").delete_queue(QueueUrl=f"{deployment.queue_url}-dlq")

    code, found = look(deployment, tmp_path, deployment.server.environ)

    assert code == 1
    assert RIGHT not in found
    assert found["dead-letter queue"]["state"] == "fail"
    assert dead in found["dead-letter queue"]["detail"]
    assert "NonExistentQueue" in found["dead-letter queue"]["detail"]
    assert found["dead-letter queue"]["cure"].startswith(f"Create {dead} ")


def test_missing_dead_letter_queue_fails_also_for_a_role_that_may_not_read_its_attributes(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.server.client("sqs").delete_queue(QueueUrl=f"{deployment.queue_url}-dlq")

    with Proxy(deployment.server) as proxy:
        proxy.permitted = permitted(deployment) | {f"sqs:SendMessage {name_of(deployment)}-dlq"}
        code, found = look(deployment, tmp_path, proxy.environ(deployment))

    assert code == 1
    assert found["dead-letter queue"]["state"] == "fail"


def test_dead_letter_queue_that_may_not_be_written_to_is_a_warning_with_its_name(
    deployment: Deployment, tmp_path: Path
) -> None:
    with Proxy(deployment.server) as proxy:
        proxy.permitted = permitted(deployment)
        code, found = look(deployment, tmp_path, proxy.environ(deployment))

    assert code == 0
    assert (found[RIGHT]["state"], found["permission sqs:SendMessage"]["state"]) == ("warn", "ok")
    assert found[RIGHT]["cure"] == f"Grant sqs:SendMessage on {name_of(deployment)}-dlq to this role."


def test_redrive_policy_that_may_not_be_read_is_no_judgement_of_the_dead_letter_queue(
    deployment: Deployment, tmp_path: Path
) -> None:
    with Proxy(deployment.server) as proxy:
        proxy.denied = {"GetQueueAttributes"}
        _, found = look(deployment, tmp_path, proxy.environ(deployment))

    assert found["queue"]["state"] == "fail"
    assert (found[RIGHT]["state"], found["redrive"]["state"]) == ("skip", "skip")


def name_of(deployment: Deployment) -> str:
    return deployment.queue_url.rsplit("/", 1)[-1]


def permitted(deployment: Deployment) -> frozenset[str]:
    """REM's role with all that doctor asks for, and nothing on the dead-letter queue."""
    queue = name_of(deployment)
    calls = ("GetQueueAttributes", "ChangeMessageVisibility", "SendMessage", "ReceiveMessage")
    buckets = (deployment.raw_bucket, deployment.transcripts_bucket)
    return frozenset(
        {f"sqs:{call} {queue}" for call in calls}
        | {
            f"s3:{verb}{what} {name}"
            for verb in ("Get", "Put", "Head", "Delete", "Post")
            for what in ("Object", "Bucket")
            for name in buckets
        }
        | {f"dynamodb:{call}" for call in ("GetItem", "UpdateItem", "DescribeTable")}
    )
