"""What events of S3 become, in each dialect and wrapping: jobs, or a reason why there is none."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from supervisor.broker.ports.job_request import UNKNOWN_DEVICE, Source
from supervisor.broker.rules.envelope import EnvelopePolicy, parse
from tests.broker.harness import rem_message

POLICY = EnvelopePolicy("raw", "default-user")


def by_sns(body: Any) -> dict[str, Any]:
    """What SNS makes of a message where raw delivery is off."""
    return {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": "arn:aws:sns:eu-central-1:123456789012:raw-audio",
        "Message": json.dumps(body),
    }


def notification(*keys: str, event: Any = "ObjectCreated:Put", **changed: Any) -> dict[str, Any]:
    """What S3 sends: keys URL-encoded, a blank as plus."""
    records = [
        {
            "eventName": event,
            "s3": {"bucket": {"name": "raw"}, "object": {"key": key, **changed}},
        }
        for key in keys
    ]
    return {"Records": records}


def test_notification_of_three_objects_becomes_three_jobs_with_decoded_keys() -> None:
    body = notification(
        "raw/d/2026/11/22/d_a_b.wav", "my+first%2Bfile.mp3", "gr%C3%BC%C3%9Fe.wav", versionId="v1"
    )

    parsed = parse(json.dumps(body), POLICY)

    assert [job.source.key for job in parsed.jobs] == [
        "raw/d/2026/11/22/d_a_b.wav",
        "my first+file.mp3",
        "grüße.wav",
    ]
    first, second, _ = parsed.jobs
    assert (first.device_id, first.started_at, first.ended_at) == ("d", "a", "b")
    assert (second.user_id, second.device_id) == ("default-user", UNKNOWN_DEVICE)
    assert first.job_id == hashlib.sha256(b"raw/raw/d/2026/11/22/d_a_b.wav/v1").hexdigest()[:32]
    assert first.source.version == "v1"


def test_one_bad_record_does_not_stop_its_neighbours() -> None:
    body = notification("good.wav")
    body["Records"].append({"s3": {"bucket": {"name": "private"}, "object": {"key": "x"}}})
    body["Records"].append("nonsense")

    parsed = parse(json.dumps(body), POLICY)

    assert [job.source.key for job in parsed.jobs] == ["good.wav"]
    assert [found.reason for found in parsed.rejected] == [
        "The message names bucket private; this service reads from raw only.",
        "A record of the S3 notification names no bucket and key.",
    ]


TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "raw"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (TEST_EVENT, "s3:TestEvent"),
        (by_sns(TEST_EVENT), "s3:TestEvent"),
        (notification("x.wav", event="ObjectRemoved:Delete"), "ObjectRemoved:Delete"),
        (notification("x.wav", event="s3:ObjectRemoved:DeleteMarkerCreated"), "DeleteMarkerCreated"),
        (notification("x.wav", event="s3:TestEvent"), "s3:TestEvent"),
        (notification("x.wav", event="ObjectRestore:Post"), "ObjectRestore:Post"),
        (notification("x.wav", event=7), "7"),
        (notification("raw/dev-7/", size=0), "mark of a folder"),
        (notification("raw/dev-7/"), "mark of a folder"),
        ({"Type": "SubscriptionConfirmation", "Message": "You have chosen", "Token": "2336"}, "confirm"),
        ({"source": "aws.s3", "detail-type": "Object Deleted", "detail": {}}, "Object Deleted"),
    ],
)
def test_what_is_nobodys_job_is_neither_job_nor_failure_and_says_what_it_is(
    body: dict[str, Any], says: str
) -> None:
    parsed = parse(json.dumps(body), POLICY)

    assert parsed.jobs == parsed.rejected == ()
    assert says in parsed.ignored[0]
    assert "2336" not in parsed.ignored[0]


@pytest.mark.parametrize(
    "event", ["ObjectCreated:Put", "s3:ObjectCreated:Put", "s3:ObjectCreated:CompleteMultipartUpload",
              "s3:ObjectRestore:Completed", "ObjectRestore:Completed", None, ""],
)  # fmt: skip
def test_event_of_an_object_that_can_be_read_is_a_job_in_each_dialect(event: Any) -> None:
    """MinIO and Ceph write `s3:` before AWS's names: such messages were deleted without a trace."""
    parsed = parse(json.dumps(notification("raw/d1/2026/11/22/d1_a_b.wav", event=event)), POLICY)

    assert [job.device_id for job in parsed.jobs] == ["d1"]
    assert parsed.ignored == ()


def test_key_with_a_slash_at_its_end_and_bytes_in_it_is_a_recording() -> None:
    parsed = parse(json.dumps(notification("odd.wav/", size=7)), POLICY)

    assert [job.source.key for job in parsed.jobs] == ["odd.wav/"]


def test_two_versions_of_one_key_are_two_recordings_and_null_is_no_version() -> None:
    one, two, none = (
        parse(json.dumps(notification("v.wav", versionId=version)), POLICY).jobs[0]
        for version in ("v1", "v2", "null")
    )

    assert len({one.job_id, two.job_id, none.job_id}) == 3
    assert [job.source.version for job in (one, two, none)] == ["v1", "v2", ""]
    assert not one.source.is_same(two.source)
    assert none.job_id == parse(json.dumps(notification("v.wav")), POLICY).jobs[0].job_id


def test_message_that_sns_wrapped_twice_is_read() -> None:
    parsed = parse(json.dumps(by_sns(by_sns(rem_message()))), POLICY)

    assert [job.recording_id for job in parsed.jobs] == ["rec-1"]


def event(key: str = "a b+c.wav", **detail: Any) -> dict[str, Any]:
    """What EventBridge sends of S3."""
    stored = {"key": key, "size": 5, "etag": "e1", "version-id": "v1"}
    return {
        "version": "0",
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "raw"}, "object": stored, "reason": "PutObject", **detail},
    }


@pytest.mark.parametrize("body", [rem_message(), notification("some+file.wav", versionId="v"), event()])
def test_wrapped_by_sns_means_the_same_as_raw(body: dict[str, Any]) -> None:
    raw = parse(json.dumps(body), POLICY)

    assert parse(json.dumps(by_sns(body)), POLICY) == raw
    assert len(raw.jobs) == 1


def test_eventbridge_names_the_key_as_it_is() -> None:
    (job,) = parse(json.dumps(event()), POLICY).jobs

    assert job.source == Source("raw", "a b+c.wav", "v1", "e1")
    assert job.job_id == hashlib.sha256(b"raw/a b+c.wav/v1").hexdigest()[:32]


def test_one_upload_is_one_job_whether_s3_or_eventbridge_tells_of_it() -> None:
    told = notification("a+b%2Bc.wav", versionId="v1", eTag="e1")

    assert parse(json.dumps(told), POLICY).jobs == parse(json.dumps(event()), POLICY).jobs


def test_sns_test_event_and_other_events_of_s3_are_nobodys_job() -> None:
    deleted = {**event(), "detail-type": "Object Deleted"}
    for body in (by_sns({"Event": "s3:TestEvent"}), deleted, by_sns(deleted)):
        parsed = parse(json.dumps(body), POLICY)

        assert parsed.jobs == parsed.rejected == ()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({**by_sns({}), "Message": {"a": 1}}, "Message is not a text"),
        ({**by_sns({}), "Message": "hello"}, "not JSON"),
        (by_sns(by_sns(by_sns(by_sns(rem_message())))), "lacks recordingId"),
        (event(object={}), "names no bucket and key"),
        (event(bucket={"name": "private"}), "reads from raw only"),
        ({**event(), "detail": None}, "names no bucket and key"),
        (event(key="a\nb"), "control characters"),
    ],
)
def test_bad_wrapping_gets_a_reason(body: dict[str, Any], says: str) -> None:
    parsed = parse(json.dumps(body), POLICY)

    assert parsed.jobs == ()
    assert says in parsed.rejected[0].reason


def test_only_buckets_on_the_list_are_read() -> None:
    policy = EnvelopePolicy("raw", "default-user", ("archive",))

    assert [
        parse(json.dumps(rem_message(bucket=name)), policy).jobs != () for name in ("raw", "archive")
    ] == [
        True,
        True,
    ]
    (found,) = parse(json.dumps(rem_message(bucket="private")), policy).rejected
    assert found.reason == "The message names bucket private; this service reads from raw, archive only."


def test_longest_version_that_s3_gives_is_a_version() -> None:
    (job,) = parse(json.dumps(notification("v.wav", versionId="v" * 1_024)), POLICY).jobs

    assert job.source.version == "v" * 1_024
