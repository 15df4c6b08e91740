"""Queue, records and objects of each backend: in memory, on SQLite with folders, on moto and ministack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from supervisor.broker.backends.dynamodb import DynamoRecords
from supervisor.broker.backends.local_objects import LocalObjects
from supervisor.broker.backends.local_queue import LocalQueue, LocalRecords, open_database
from supervisor.broker.backends.s3 import S3Objects
from supervisor.broker.backends.sqs import SqsQueue
from supervisor.broker.ports.ports import JobQueue, ObjectStore, RecordTable
from tests.broker.aws_servers import deploy
from tests.support.memory_backend import FakeObjects, FakeQueue, FakeRecords


@dataclass(frozen=True)
class Ports:
    """The three ports of one backend, with a bucket to use."""

    name: str
    queue: JobQueue
    records: RecordTable
    objects: ObjectStore
    bucket: str


@pytest.fixture(
    params=[
        "fake",
        "local",
        pytest.param("moto", marks=[pytest.mark.aws, pytest.mark.slow]),
        pytest.param("ministack", marks=[pytest.mark.aws, pytest.mark.slow]),
    ]
)
def ports(request: pytest.FixtureRequest, tmp_path: Path) -> Ports:
    if request.param == "fake":
        return Ports("fake", FakeQueue(), FakeRecords(), FakeObjects(), "raw")
    if request.param == "local":
        database = open_database(tmp_path)
        objects = LocalObjects(tmp_path / "objects")
        return Ports("local", LocalQueue(database), LocalRecords(database), objects, "raw")
    made = deploy(request.getfixturevalue(request.param))
    client = made.server.client
    return Ports(
        request.param,
        SqsQueue(client("sqs"), made.queue_url),
        DynamoRecords(client("dynamodb"), made.table),
        S3Objects(client("s3")),
        made.raw_bucket,
    )
