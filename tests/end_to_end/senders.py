"""Those who send recordings and read transcripts, on either backend: what REM's own parts would do."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Optional, Protocol

import numpy as np

from supervisor.broker.backends.local_queue import LocalQueue, LocalRecords, open_database
from supervisor.broker.ports.ports import RecordKey
from tests.broker.aws_servers import Deployment, record_key
from tests.end_to_end.running_service import Service, wait_for
from tests.workerproc import recordings

USER = "default-user"


class Sender(Protocol):
    """Puts recordings in and looks at what became of them."""

    def environ(self) -> dict[str, str]:
        """Give the environment that makes a service work on this backend."""

    def send(self, audio: Path) -> str:
        """Enqueue a recording; gives its id."""

    def record(self, recording_id: str) -> dict[str, Any]:
        """Give the record as its readers see it; empty while there is none."""

    def transcripts(self) -> dict[str, bytes]:
        """Give every transcript object by key."""

    def left(self) -> int:
        """Count the messages that wait or are held by anybody."""


class LocalSender:
    """The embedded backend, looked at through its own tables."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = open_database(folder)

    def environ(self) -> dict[str, str]:
        return {}

    def send(self, audio: Path) -> str:
        recording_id = f"{audio.stem}-{uuid.uuid4().hex[:8]}"
        key = f"raw/dev/2026/11/22/{recording_id}{audio.suffix}"
        place = self._folder / "objects" / "raw" / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(audio.read_bytes())
        body = {"recordingId": recording_id, "bucket": "raw", "key": key, "userId": USER, "deviceId": "dev"}
        self.send_body(json.dumps({**body, "startedAt": "1", "endedAt": "2"}))
        return recording_id

    def send_body(self, body: str) -> None:
        """Put any text into the queue."""
        LocalQueue(self._database).send(body, {})

    def record(self, recording_id: str) -> dict[str, Any]:
        return LocalRecords(self._database).get(RecordKey(USER, recording_id)) or {}

    def transcripts(self) -> dict[str, bytes]:
        root = self._folder / "objects" / "transcripts"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def left(self) -> int:
        counts = LocalQueue(self._database).counts()
        return (counts.waiting or 0) + (counts.in_flight or 0)


def finished(sender: Sender, recording_id: str) -> Optional[dict[str, Any]]:
    """The record once it is done, else None; a failed one ends the test."""
    record = sender.record(recording_id)
    assert record.get("remState") != "FAILED", record
    return record if record.get("remState") == "DONE" else None


def in_measured_work(service: Service, sender: Sender) -> str:
    """Bring a worker to the middle of a recording of which one can tell how long it will take; gives its id.

    One of which nobody can is put down when its worker must go. A recording before it gives the speed, a
    beat the length. A machine that is through with two minutes of speech before a beat was in the middle.
    """
    service.wait_ready(1)
    before = sender.send(recordings.SAMPLES / "harbour.wav")
    wait_for(lambda: finished(sender, before), "the first recording")
    speech = recordings.samples_of(recordings.SAMPLES / "lighthouse.ogg")
    audio = recordings.wav(service.state_dir.parent / "lighthouse-twice.wav", np.concatenate([speech] * 2))
    job = sender.send(audio)

    def told() -> bool:
        ratios = [one["progress_ratio"] for slot in service.slots() for one in slot["jobs"]]
        return any(0 < ratio < 1 for ratio in ratios) or finished(sender, job) is not None

    wait_for(told, "a worker that tells how far it is")
    return job


def transcript_of(sender: Sender, record: dict[str, Any]) -> dict[str, Any]:
    """The JSON transcript that the record names."""
    return dict(json.loads(sender.transcripts()[record["transcriptS3Key"]]))


class AwsSender:
    """Plays REM: the device's upload, the dispatcher's record and message, the readers."""

    def __init__(self, deployment: Deployment, with_record: bool = True) -> None:
        self.deployment = deployment
        self.with_record = with_record  # False: the dispatcher's record is missing
        self._sqs, self._s3, self._table = (
            deployment.server.client(name) for name in ("sqs", "s3", "dynamodb")
        )

    def environ(self) -> dict[str, str]:
        """REM's names and boto3's, as `terraform output` prints them, and nothing else."""
        names = {
            "SQS_QUEUE_URL": self.deployment.queue_url,
            "RAW_AUDIO_BUCKET": self.deployment.raw_bucket,
            "TRANSCRIPTS_BUCKET": self.deployment.transcripts_bucket,
            "DYNAMODB_TABLE": self.deployment.table,
        }
        return {**self.deployment.server.environ, **names}

    def send(self, audio: Path) -> str:
        recording_id = f"{audio.stem}-{uuid.uuid4().hex[:8]}"
        device, start, end = "dev-7", "2026-11-22T10-00-00Z", "2026-11-22T10-05-00Z"
        key = f"raw/{device}/2026/11/22/{device}_{start}_{end}-{recording_id}{audio.suffix}"
        self._s3.upload_file(str(audio), self.deployment.raw_bucket, key)
        item = {
            "PK": USER,
            "SK": recording_id,
            "recordingId": recording_id,
            "deviceId": device,
            "status": "TRANSCRIBING",
            "startedAt": start,
            "endedAt": end,
            "s3KeyRaw": key,
            "GSI1PK": device,
            "GSI1SK": start,
            "createdAt": "2026-11-22T10:05:01Z",
            "title": "kept as it is",
        }
        if self.with_record:
            self._table.put_item(
                TableName=self.deployment.table, Item={name: {"S": text} for name, text in item.items()}
            )
        body = {
            "recordingId": recording_id,
            "bucket": self.deployment.raw_bucket,
            "key": key,
            "userId": USER,
            "deviceId": device,
            "startedAt": start,
            "endedAt": end,
        }
        attributes = {
            name: {"DataType": "String", "StringValue": str(body[name])}
            for name in ("recordingId", "deviceId")
        }
        self._sqs.send_message(
            QueueUrl=self.deployment.queue_url, MessageBody=json.dumps(body), MessageAttributes=attributes
        )
        return recording_id

    def record(self, recording_id: str) -> dict[str, Any]:
        key = record_key(USER, recording_id)
        found = self._table.get_item(TableName=self.deployment.table, Key=key, ConsistentRead=True)
        return _plain(found.get("Item", {}))

    def of_device(self, device: str) -> list[dict[str, Any]]:
        """Give a device's records in the order of their starts, as REM's readers ask for them."""
        found = self._table.query(
            TableName=self.deployment.table,
            IndexName="DeviceTimeIndex",
            KeyConditionExpression="GSI1PK = :device",
            ExpressionAttributeValues={":device": {"S": device}},
        )
        return [_plain(item) for item in found["Items"]]

    def transcripts(self) -> dict[str, bytes]:
        bucket = self.deployment.transcripts_bucket
        keys = [entry["Key"] for entry in self._s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return {key: self._s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def content_type(self, key: str) -> str:
        found = self._s3.head_object(Bucket=self.deployment.transcripts_bucket, Key=key)
        return str(found["ContentType"])

    def visible(self) -> list[dict[str, Any]]:
        """Receive what waits, for a moment, with its count of deliveries."""
        found = self._sqs.receive_message(
            QueueUrl=self.deployment.queue_url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=0,
            AttributeNames=["ApproximateReceiveCount"],
        )
        return list(found.get("Messages", []))

    def left(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=self.deployment.queue_url, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    from boto3.dynamodb.types import TypeDeserializer

    read = TypeDeserializer()
    return {name: read.deserialize(value) for name, value in item.items()}
