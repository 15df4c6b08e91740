"""What we write into REM's table is found by REM's own keys and index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.broker.backends.dynamodb import DynamoRecords
from supervisor.broker.backends.local_queue import LocalRecords, open_database
from supervisor.broker.ports.conditions import changed
from supervisor.broker.ports.job_request import UNKNOWN_DEVICE, JobRequest, Source
from supervisor.broker.ports.ports import Applied, Change, Missing, RecordKey
from supervisor.broker.rules import record_rules
from supervisor.broker.rules.record_rules import RecordHold
from tests.broker.aws_servers import AwsServer, deploy, record_key
from tests.broker.harness import term

NOW = 1_800_000_000.0
STARTED = "2026-11-22T10:00:00.000Z"
REQUEST = JobRequest("rec-1", "user-9", "dev-7", Source("raw", "a.wav"), STARTED, "2026-11-22T10:05:00.000Z")


@pytest.mark.parametrize(
    "change",
    [record_rules.claim(REQUEST, RecordHold("t", "o"), term(NOW)), record_rules.uploaded(REQUEST, NOW)],
)
def test_record_that_was_missing_is_written_as_rems_dispatcher_would(change: Change) -> None:
    item = changed({}, change)

    assert {name: value for name, value in item.items() if not name.startswith("rem")} == {
        "status": item["status"],
        "recordingId": "rec-1",
        "deviceId": "dev-7",
        "GSI1PK": "dev-7",
        "GSI1SK": STARTED,
        "startedAt": STARTED,
        "endedAt": "2026-11-22T10:05:00.000Z",
        "s3KeyRaw": "a.wav",
        "createdAt": "2027-01-15T08:00:00Z",
        "updatedAt": "2027-01-15T08:00:00Z",
    }


@pytest.mark.parametrize(("device", "started"), [("dev-7", ""), (UNKNOWN_DEVICE, STARTED)])
def test_index_keys_are_left_out_where_device_or_start_is_not_known(device: str, started: str) -> None:
    """DynamoDB refuses an empty text as an index key, and with it the whole claim."""
    request = JobRequest("rec-1", "user-9", device, Source("raw", "a.wav"), started)

    for change in (
        record_rules.claim(request, RecordHold("t", "o"), term(NOW)),
        record_rules.uploaded(request, NOW),
    ):
        item = changed({}, change)
        assert not {"GSI1PK", "GSI1SK"} & set(item)
        assert "" not in item.values()


def test_claim_changes_nothing_that_the_dispatcher_wrote() -> None:
    written = {
        "recordingId": "its own", "deviceId": "d", "GSI1PK": "d", "GSI1SK": "s", "startedAt": "s",
        "endedAt": "e", "s3KeyRaw": "k", "createdAt": "c", "tags": ["kept"],
    }  # fmt: skip

    item = changed(
        {**written, "status": "UPLOADED"}, record_rules.claim(REQUEST, RecordHold("t", "o"), term(NOW))
    )

    assert {name: item[name] for name in written} == written


@pytest.mark.slow
@pytest.mark.aws
@pytest.mark.parametrize("name", ["moto", "ministack"])
def test_created_record_is_found_by_rems_keys_and_by_its_index(
    name: str, request: pytest.FixtureRequest
) -> None:
    server: AwsServer = request.getfixturevalue(name)
    made, client = deploy(server), server.client("dynamodb")

    answer = DynamoRecords(client, made.table).update(
        REQUEST.record_key, record_rules.claim(REQUEST, RecordHold("t", "o"), term(NOW))
    )

    assert isinstance(answer, Applied)
    item = client.get_item(TableName=made.table, Key=record_key("user-9", "rec-1"))["Item"]
    found = client.query(
        TableName=made.table,
        IndexName="DeviceTimeIndex",
        KeyConditionExpression="GSI1PK = :device AND GSI1SK >= :since",
        ExpressionAttributeValues={":device": {"S": "dev-7"}, ":since": {"S": "2026-11-22"}},
    )["Items"]
    assert found == [item]


@pytest.mark.slow
@pytest.mark.aws
def test_record_without_a_start_is_taken_by_the_table(moto: AwsServer) -> None:
    made = deploy(moto)
    request = JobRequest("rec-1", "user-9", "dev-7", Source("raw", "a.wav"))

    records = DynamoRecords(moto.client("dynamodb"), made.table)
    answer = records.update(request.record_key, record_rules.claim(request, RecordHold("t", "o"), term(NOW)))

    assert isinstance(answer, Applied)


def test_embedded_record_of_an_older_version_is_read_and_goes_on(tmp_path: Path) -> None:
    """Items were once written with userId and recordingId in the keys' place."""
    database = open_database(tmp_path)
    old = {"userId": "user-9", "recordingId": "rec-1", "status": "UPLOADED", "title": "kept"}
    with database.change() as tx:
        tx.execute("INSERT INTO records VALUES (?, ?, ?)", ("user-9", "rec-1", json.dumps(old)))
    records, key = LocalRecords(open_database(tmp_path)), RecordKey("user-9", "rec-1")

    before = records.get(key)
    answer = records.update(key, Change(Missing("remState"), {"status": "TRANSCRIBED"}))

    assert before == old
    assert isinstance(answer, Applied)
    assert answer.item == {**old, "PK": "user-9", "SK": "rec-1", "status": "TRANSCRIBED"}
