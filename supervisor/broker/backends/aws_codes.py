"""Classes of the error codes of S3, SQS and DynamoDB: job, settings, credentials, permission, passing. PURE.

One table. A code that is not listed counts as an error that may pass: the job is retried a limited number of
times (`retry_policy.py`). Sources: S3 API Reference, "Error responses"; SQS API Reference and DynamoDB
Developer Guide, the errors of each action and "Common errors". Read 2026-11-28.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping


class ErrorClass(str, enum.Enum):
    """What an error code concerns."""

    JOB = "job"  # this recording only: it can never succeed as it is
    CREDENTIALS = "credentials"  # AWS does not accept the credentials
    NAME = "name"  # a setting names a missing resource, or one in another region
    SETUP = "setup"  # queue, table or bucket are set up so that no job can succeed
    RIGHT = "right"  # permission denied, for this key or for all
    PASSING = "passing"
    UNKNOWN = "unknown"


_CODES: Mapping[ErrorClass, tuple[str, ...]] = {
    ErrorClass.RIGHT: (
        *("403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedOperation"),
        *("AWS.SimpleQueueService.AccessDenied", "NotAuthorized"),
    ),
    ErrorClass.CREDENTIALS: (
        *(
            "AuthFailure",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidAccessKeyId",
        ),
        *("InvalidClientTokenId", "InvalidSignatureException", "InvalidToken", "MissingAuthenticationToken"),
        *("MissingAuthenticationTokenException", "NotSignedUp", "OptInRequired", "RequestExpired"),
        *("RequestTimeTooSkewed", "SignatureDoesNotMatch", "TokenRefreshRequired", "InvalidSecurity"),
        "UnrecognizedClientException",
    ),
    ErrorClass.NAME: (
        *("AWS.SimpleQueueService.NonExistentQueue", "AuthorizationHeaderMalformed", "InvalidAddress"),
        *("IllegalLocationConstraintException", "InvalidBucketName", "NoSuchBucket", "PermanentRedirect"),
        *("QueueDoesNotExist", "ResourceNotFoundException", "TableNotFoundException"),
    ),
    ErrorClass.SETUP: (
        *("KMS.DisabledException", "KMS.KMSInvalidStateException", "KMS.InvalidStateException"),
        *("KMS.NotFoundException", "KMS.InvalidKeyUsageException", "KMS.OptInRequired", "KmsAccessDenied"),
        *("KmsDisabled", "KmsInvalidKeyUsage", "KmsInvalidState", "KmsNotFound", "KmsOptInRequired"),
        *("KMSAccessDeniedException", "AWS.SimpleQueueService.UnsupportedOperation", "UnsupportedOperation"),
    ),
    ErrorClass.JOB: (
        *("InvalidObjectState", "InvalidRange", "InvalidURI", "KeyTooLongError", "MethodNotAllowed"),
        *("EntityTooLarge", "EntityTooSmall", "NoSuchKey", "NoSuchVersion", "404", "405", "416"),
        *("InvalidMessageContents", "ItemCollectionSizeLimitExceededException"),
    ),
    ErrorClass.PASSING: (
        *(
            "BandwidthLimitExceeded",
            "InternalError",
            "InternalFailure",
            "InternalServerError",
            "OperationAborted",
        ),
        *("RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "SlowDown", "Busy", "BadDigest"),
        *(
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "TooManyRequestsException",
            "IncompleteBody",
        ),
        *("RequestThrottled", "RequestThrottledException", "RequestLimitExceeded", "LimitExceededException"),
        *("ProvisionedThroughputExceededException", "TransactionConflictException", "EC2ThrottledException"),
        *("TransactionInProgressException", "ReplicatedWriteConflictException", "ResourceInUseException"),
        *(
            "OverLimit",
            "QueueDeletedRecently",
            "PurgeQueueInProgress",
            "KmsThrottled",
            "KMS.ThrottlingException",
        ),
        *("AWS.SimpleQueueService.PurgeQueueInProgress", "AWS.SimpleQueueService.QueueDeletedRecently"),
        *(
            "AWS.SimpleQueueService.OverLimit",
            "TemporaryRedirect",
            "ConditionalRequestConflict",
            "XAmzContentSHA256Mismatch",
        ),
    ),
}
_FAULTS: Mapping[str, ErrorClass] = {code: fault for fault, codes in _CODES.items() for code in codes}
# The meaning of some codes depends on the place.
_AT: Mapping[tuple[str, str], ErrorClass] = {
    # The audio's own KMS key, a customer-provided key (SSE-C), a key that S3 does not accept.
    **{("audio", code): ErrorClass.JOB for code in _CODES[ErrorClass.SETUP] if code.startswith("KMS.")},
    ("audio", "InvalidRequest"): ErrorClass.JOB,
    ("audio", "InvalidArgument"): ErrorClass.JOB,
    ("transcripts", "InvalidRequest"): ErrorClass.SETUP,  # for example Object Lock without a checksum
    ("table", "ResourceInUseException"): ErrorClass.PASSING,
}
# DynamoDB uses one code for all invalid input. Errors about the table's keys are recognized earlier.
_ABOUT_THE_ITEM = re.compile(
    r"item size|item collection|expression size|exceeded the maximum allowed size|"
    r"operand|data type|index key|nesting",
    re.IGNORECASE,
)


def fault_of(place: str, code: str, message: str, http_status: int) -> ErrorClass:
    """Return an error code's class. `place` is a port: audio, transcripts, table, queue."""
    if place == "table" and code == "ValidationException":
        return ErrorClass.JOB if _ABOUT_THE_ITEM.search(message) else ErrorClass.UNKNOWN
    found = _AT.get((place, code)) or _FAULTS.get(code)
    if found is not None:
        return found
    return ErrorClass.PASSING if http_status >= 500 or http_status == 429 else ErrorClass.UNKNOWN


def of_job(place: str, code: str, said: str, storage_class: str = "") -> str:
    """Return the message for people: why this recording failed, and what to do."""
    if code == "InvalidObjectState":
        where = f" (storage class {storage_class})" if storage_class else ""
        return f"The audio is archived{where} and can't be read. Restore it, then redrive the job."
    if code.startswith("KMS."):
        return f"The audio's encryption key can't be used ({said}). Enable the key, then redrive the job."
    if place == "audio" and code == "InvalidRequest":
        return (
            f"S3 does not give this audio out ({said}). An object with a customer's own key (SSE-C) can't "
            "be read: store it with another encryption, then redrive the job."
        )
    if place == "table":
        return f"The record can't be changed ({said}). Make it smaller or correct it, then redrive the job."
    if place == "transcripts":
        return f"The transcript can't be stored ({said})."
    return f"S3 does not give this audio out ({said})."
