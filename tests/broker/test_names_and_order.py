"""Names that each attempt has for itself, and queues that keep an order."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.backends.sqs import SqsQueue
from supervisor.contract.wire.messages import Ending, Wanted
from tests.broker.aws_servers import AwsServer
from tests.broker.harness import rem_message, until
from tests.broker.model import new_world
from tests.broker.worlds import World, aws_world


def test_each_attempt_writes_names_of_its_own_where_keys_are_immutable(tmp_path: Path) -> None:
    with new_world(tmp_path) as world:
        world.send()
        world.host(immutable_keys=True)
        world.run(world.is_quiet)
        world.send(force=True)
        world.run(world.is_quiet)

        assert sorted(world.transcripts()) == [
            f"transcripts/user-9/dev-7/rec-1/{attempt}.{suffix}"
            for attempt in (1, 2)
            for suffix in ("json", "txt")
        ]
        assert world.item()["transcriptS3Key"] == "transcripts/user-9/dev-7/rec-1/2.json"
        assert len(world.objects.puts) == 4  # nothing was written twice


@pytest.mark.slow
@pytest.mark.aws
def test_immutable_keys_on_aws(moto: AwsServer, tmp_path: Path, audio: Path) -> None:
    world = aws_world(moto, tmp_path)
    message = rem_message(bucket=world.raw_bucket)
    world.upload(message["key"], audio)
    world.send(message)
    aws = dataclasses.replace(world.settings.aws, immutable_keys=True)

    with world.broker(dataclasses.replace(world.settings, aws=aws)) as broker:
        assert broker.finish(broker.take_one(), "Hello.").ending is Ending.DONE

    key = world.record()["transcriptS3Key"]
    assert key == "transcripts/user-9/dev-7/rec-1/1.json"
    assert world.text_of(key[: -len("json")] + "txt", tmp_path) == "Hello."


@pytest.fixture(params=["moto", "ministack"])
def fifo(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A deployment whose queue and dead-letter queue are FIFO queues."""
    world = aws_world(request.getfixturevalue(request.param), tmp_path)
    sqs = request.getfixturevalue(request.param).client("sqs")
    name = world.settings.aws.queue_url.rsplit("/", 1)[-1]
    dead = sqs.create_queue(QueueName=f"{name}-dead.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    url = sqs.create_queue(
        QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true", "RedrivePolicy": redrive}
    )["QueueUrl"]
    world.queue = SqsQueue(sqs, url)
    world.settings = dataclasses.replace(
        world.settings, aws=dataclasses.replace(world.settings.aws, queue_url=url)
    )
    return world


def server_of(world: World) -> AwsServer:
    return AwsServer(world.name, world.environ["AWS_ENDPOINT_URL"])


def taken(queue: Any) -> Any:
    (message,) = until(lambda: queue.receive(1, 30.0, 0.0), "a message")
    return message


@pytest.mark.slow
@pytest.mark.aws
def test_copies_stay_in_their_group_and_are_sent_once(fifo: World) -> None:
    fifo.queue.send("hello", {"deviceId": "dev-7"})
    message = taken(fifo.queue)
    assert message.group == "dev-7"

    fifo.queue.send_copy(message, 30.0)
    fifo.queue.send_copy(message, 30.0)  # its answer was lost
    fifo.queue.delete(message.handle)

    again = taken(fifo.queue)
    assert (again.body, again.group, again.receive_count) == ("hello", "dev-7", 1)
    fifo.queue.delete(again.handle)
    assert fifo.queue.receive(1, 30.0, 0.0) == []


@pytest.mark.slow
@pytest.mark.aws
def test_jobs_of_a_fifo_queue_are_done_and_its_failures_buried(fifo: World, audio: Path) -> None:
    message = rem_message(bucket=fifo.raw_bucket)
    fifo.upload(message["key"], audio)
    fifo.send(message)
    fifo.send(rem_message("rec-2", bucket="elsewhere"))

    with fifo.broker() as broker:
        assert broker.finish(broker.take_one()).ending is Ending.DONE
        broker.say(Wanted(1))
        fifo.wait_until_empty()

    dead = SqsQueue(server_of(fifo).client("sqs"), fifo.settings.aws.queue_url.replace(".fifo", "-dead.fifo"))
    assert "elsewhere" in taken(dead).attributes["remReason"]
