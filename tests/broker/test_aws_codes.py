"""Whose fault each error code of AWS is: one table, and nothing that AWS documents is missing in it."""

from __future__ import annotations

from collections.abc import Iterator

import botocore.session
import pytest

from supervisor.broker.backends.aws_codes import ErrorClass, fault_of, of_job

CALLS = {
    "dynamodb": ("GetItem", "UpdateItem", "DescribeTable"),
    "sqs": (
        "ReceiveMessage",
        "DeleteMessage",
        "ChangeMessageVisibility",
        "SendMessage",
        "GetQueueAttributes",
    ),
    "s3": ("GetObject", "PutObject", "DeleteObject", "ListObjectsV2"),
}
PLACES = {"dynamodb": "table", "sqs": "queue", "s3": "audio"}
# Dealt with where the call is made: a refused condition, handles that are no longer good.
HANDLED = {
    *("ConditionalCheckFailedException", "ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidIdFormat"),
    *("EncryptionTypeMismatch", "InvalidWriteOffset", "TooManyParts", "InvalidAttributeName"),
}


def documented() -> Iterator[tuple[str, str]]:
    """Give what botocore knows of the errors of our calls."""
    session = botocore.session.get_session()
    for service, calls in CALLS.items():
        model = session.get_service_model(service)
        for call in calls:
            for shape in model.operation_model(call).error_shapes:
                yield PLACES[service], str(shape.metadata.get("error", {}).get("code", shape.name))


@pytest.mark.parametrize(("place", "code"), sorted(set(documented())))
def test_every_documented_error_of_our_calls_has_a_class(place: str, code: str) -> None:
    assert code in HANDLED or fault_of(place, code, "", 400) is not ErrorClass.UNKNOWN


@pytest.mark.parametrize(
    ("place", "code", "message", "fault"),
    [
        (
            "audio",
            "InvalidObjectState",
            "The operation is not valid for the object's storage class",
            ErrorClass.JOB,
        ),
        ("audio", "KMS.DisabledException", "arn is disabled.", ErrorClass.JOB),
        ("audio", "KMS.NotFoundException", "Key does not exist", ErrorClass.JOB),
        (
            "audio",
            "InvalidRequest",
            "The object was stored using a form of Server Side Encryption.",
            ErrorClass.JOB,
        ),
        ("audio", "KeyTooLongError", "", ErrorClass.JOB),
        ("audio", "AccessDenied", "", ErrorClass.RIGHT),
        ("audio", "NoSuchBucket", "", ErrorClass.NAME),
        ("audio", "SlowDown", "", ErrorClass.PASSING),
        ("transcripts", "KMS.DisabledException", "arn is disabled.", ErrorClass.SETUP),
        ("transcripts", "InvalidRequest", "Content-MD5 is required", ErrorClass.SETUP),
        (
            "table",
            "ValidationException",
            "Item size to update has exceeded the maximum allowed size",
            ErrorClass.JOB,
        ),
        ("table", "ValidationException", "Item size has exceeded the maximum allowed size", ErrorClass.JOB),
        (
            "table",
            "ValidationException",
            "An operand in the update expression has an incorrect data type",
            ErrorClass.JOB,
        ),
        ("table", "ValidationException", "something else", ErrorClass.UNKNOWN),
        ("table", "ProvisionedThroughputExceededException", "", ErrorClass.PASSING),
        ("queue", "KmsThrottled", "", ErrorClass.PASSING),
        ("queue", "KmsDisabled", "", ErrorClass.SETUP),
        ("queue", "OverLimit", "", ErrorClass.PASSING),
        ("queue", "RequestTimeTooSkewed", "", ErrorClass.CREDENTIALS),
    ],
)
def test_code_means_what_it_means_at_its_place(
    place: str, code: str, message: str, fault: ErrorClass
) -> None:
    assert fault_of(place, code, message, 400) is fault


@pytest.mark.parametrize(
    ("status", "fault"), [(503, ErrorClass.PASSING), (429, ErrorClass.PASSING), (418, ErrorClass.UNKNOWN)]
)
def test_code_that_nobody_knows_passes_where_the_service_itself_is_in_trouble(
    status: int, fault: ErrorClass
) -> None:
    assert fault_of("audio", "BrandNewError", "", status) is fault


@pytest.mark.parametrize(
    ("place", "code", "said", "words"),
    [
        ("audio", "InvalidObjectState", "", "archived (storage class GLACIER)"),
        ("audio", "KMS.DisabledException", "key is disabled", "Enable the key"),
        ("audio", "InvalidRequest", "stored using SSE", "SSE-C"),
        ("audio", "KeyTooLongError", "too long", "does not give this audio out (too long)"),
        ("table", "ValidationException", "Item size", "Make it smaller"),
        ("transcripts", "EntityTooLarge", "too large", "transcript can't be stored"),
    ],
)
def test_reason_of_a_failed_recording_says_what_to_do(place: str, code: str, said: str, words: str) -> None:
    assert words in of_job(place, code, said, "GLACIER")
