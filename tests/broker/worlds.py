"""A backend as its users see it, for tests that run the broker on several of them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from supervisor.broker.backends.local_objects import LocalObjects
from supervisor.broker.backends.local_queue import LocalQueue, LocalRecords, open_database
from supervisor.broker.ports.errors import JobRejected
from supervisor.broker.ports.ports import Counts, RecordKey
from supervisor.settings.schema import Settings
from tests.broker.aws_servers import AwsServer, deploy
from tests.broker.harness import BROKER, BrokerProcess, local_settings, until

USER = "user-9"


class World:
    """One backend as its users see it: send a message, look at record, objects and queue."""

    def __init__(
        self, name: str, settings: Settings, environ: Mapping[str, str], ports: Any, buckets: Any
    ) -> None:
        self.name = name
        self.settings = settings
        self.environ = environ
        self.queue, self.records, self.objects = ports
        self.raw_bucket, self.transcripts_bucket = buckets

    def broker(self, settings: Optional[Settings] = None, program: Sequence[str] = BROKER) -> BrokerProcess:
        return BrokerProcess(settings or self.settings, self.environ, program)

    def with_lease(self, lease_s: int) -> Settings:
        """The same service with leases of this length: shorter ones than a person may set."""
        return dataclasses.replace(
            self.settings, queue=dataclasses.replace(self.settings.queue, lease_s=lease_s)
        )

    def other_service(self) -> Settings:
        """A second service on the same queue, with a state directory of its own."""
        return dataclasses.replace(self.settings, state_dir=self.settings.state_dir + "-other")

    def upload(self, key: str, audio: Path) -> None:
        self.objects.put(self.raw_bucket, key, audio, "audio/wav")

    def send(self, body: Any) -> None:
        self.queue.send(body if isinstance(body, str) else json.dumps(body), {})

    def record(self, recording_id: str = "rec-1", user_id: str = USER) -> dict[str, Any]:
        found: dict[str, Any] = self.records.get(RecordKey(user_id, recording_id)) or {}
        return found

    def text_of(self, key: str, folder: Path) -> Optional[str]:
        """Give an object's text; None where there is no such object."""
        target = folder / f"got-{os.urandom(4).hex()}"
        try:
            self.objects.fetch(self.transcripts_bucket, key, target, lambda size_bytes: None)
        except JobRejected:
            return None
        return target.read_text()

    def wait_until_empty(self) -> None:
        until(lambda: self.queue.counts() == Counts(0, 0), "an empty queue")


def local_world(folder: Path) -> World:
    """The embedded backend, all in `folder`."""
    settings = local_settings(folder)
    database = open_database(Path(settings.local.folder))
    objects = LocalObjects(Path(settings.local.folder) / "objects")
    ports = (LocalQueue(database), LocalRecords(database), objects)
    return World("local", settings, {}, ports, ("raw", "transcripts"))


def aws_world(server: AwsServer, folder: Path) -> World:
    """A deployment of its own on an imitation of AWS."""
    from supervisor.broker.backends.dynamodb import DynamoRecords
    from supervisor.broker.backends.s3 import S3Objects
    from supervisor.broker.backends.sqs import SqsQueue

    made = deploy(server)
    client = made.server.client
    ports = (
        SqsQueue(client("sqs"), made.queue_url),
        DynamoRecords(client("dynamodb"), made.table),
        S3Objects(client("s3")),
    )
    buckets = (made.raw_bucket, made.transcripts_bucket)
    return World(server.name, made.settings(folder), made.server.environ, ports, buckets)
