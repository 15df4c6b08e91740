"""moto and ministack as real servers on loopback: started once a test process, stopped after it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3

from supervisor.settings.schema import AwsSettings, BackendSettings, QueueSettings, Settings
from tests.support import leftovers
from tests.support.waiting import wait_for

REGION = "eu-central-1"
_COMMANDS = {
    "moto": lambda port: [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
    "ministack": lambda port: [sys.executable, "-m", "ministack"],
}


@dataclasses.dataclass(frozen=True)
class AwsServer:
    """One running imitation of AWS."""

    name: str
    url: str

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to find it, as boto3 reads it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


@dataclasses.dataclass(frozen=True)
class Deployment:
    """What REM's terraform would have made: a queue, two buckets, a table; new for each test."""

    server: AwsServer
    queue_url: str
    raw_bucket: str
    transcripts_bucket: str
    table: str

    def settings(self, folder: Path, lease_s: int = 10) -> Settings:
        return Settings(
            backend=BackendSettings("aws"),
            aws=AwsSettings(REGION, self.queue_url, self.raw_bucket, self.transcripts_bucket, self.table),
            queue=QueueSettings(lease_s=lease_s),
            state_dir=str(folder / "state"),
        )

    def send(self, message: Mapping[str, Any]) -> None:
        self.server.client("sqs").send_message(QueueUrl=self.queue_url, MessageBody=json.dumps(message))


def run_server(name: str) -> Iterator[AwsServer]:
    """Start a server on a free port, give it, stop it and leave nothing behind."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("AWS_")},
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "EDGE_PORT": str(port),
            "TMPDIR": folder,
            "HOME": folder,
        }
        process = subprocess.Popen(
            _COMMANDS[name](port),
            env=environ,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=leftovers.die_with_tests,
        )
        try:
            _wait_for_answer(port, process)
            with leftovers.kept(process.pid):
                yield AwsServer(name, f"http://127.0.0.1:{port}")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def deploy(server: AwsServer, max_receive_count: int = 3) -> Deployment:
    """Make a queue with REM's redrive, two buckets and a table, all with new names."""
    name = f"rem-{uuid.uuid4().hex[:10]}"
    sqs = server.client("sqs")
    dead = sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": max_receive_count})
    queue = sqs.create_queue(
        QueueName=name, Attributes={"VisibilityTimeout": "900", "RedrivePolicy": redrive}
    )["QueueUrl"]
    for bucket in (f"{name}-raw", f"{name}-transcripts"):
        server.client("s3").create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    make_table(server, name)
    return Deployment(server, queue, f"{name}-raw", f"{name}-transcripts", name)


def make_table(server: AwsServer, name: str, keys: tuple[str, str] = ("PK", "SK")) -> None:
    """Make a records table as REM's infrastructure code does; `keys`: its key attributes."""
    dynamodb = server.client("dynamodb")
    capacity = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
    dynamodb.create_table(
        TableName=name,
        BillingMode="PROVISIONED",
        ProvisionedThroughput=capacity,
        KeySchema=_key_schema(*keys),
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": "S"} for attribute in (*keys, "GSI1PK", "GSI1SK")
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "DeviceTimeIndex",
                "KeySchema": _key_schema("GSI1PK", "GSI1SK"),
                "Projection": {"ProjectionType": "ALL"},
                "ProvisionedThroughput": capacity,
            }
        ],
    )
    dynamodb.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expiresAt"}
    )


def _key_schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]


def record_key(user_id: str, recording_id: str) -> dict[str, dict[str, str]]:
    """Say where a record stands in REM's table, in DynamoDB's own form."""
    return {"PK": {"S": user_id}, "SK": {"S": recording_id}}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for_answer(port: int, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        assert process.poll() is None, "the server ended by itself"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return True  # an answer, though not a good one
        except OSError:
            return False
        return True

    wait_for(answers, f"the server's first answer on port {port}")
