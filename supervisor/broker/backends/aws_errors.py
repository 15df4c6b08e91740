"""Translates boto3's errors into the broker's, with what an operator must change.

The results are `JobRejected` (nobody: this recording can never succeed), `Misconfigured` (an operator: a
setting, a permission that every job needs, the credentials), `Forbidden` (the same, for one key or an
optional permission), `TryLater` (may pass with time) and `Unexplained` (unknown). `aws_codes.py` classifies
the codes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import botocore.exceptions as boto

from supervisor.broker.backends import aws_codes
from supervisor.broker.backends.aws_codes import ErrorClass
from supervisor.broker.ports.errors import (
    CREDENTIALS,
    BrokerError,
    Forbidden,
    JobRejected,
    Misconfigured,
    TryLater,
    Unexplained,
)

_NAMED_BY = {
    "queue": ("queue", "SQS_QUEUE_URL"),
    "table": ("table", "DYNAMODB_TABLE"),
    "audio": ("bucket", "RAW_AUDIO_BUCKET"),
    "transcripts": ("bucket", "TRANSCRIPTS_BUCKET"),
}
NO_CREDENTIALS = (
    "No AWS credentials were found. Give this host an instance role, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
)
_CREDENTIAL_ERRORS = tuple(
    # By name, because older botocore releases lack some of them.
    found
    for name in (
        *(
            "ConfigNotFound",
            "ConfigParseError",
            "CredentialRetrievalError",
            "InvalidConfigError",
            "LoginError",
        ),
        *("NoAuthTokenError", "PartialCredentialsError", "ProfileNotFound", "RefreshWithMFAUnsupportedError"),
        *("SSOError", "TokenRetrievalError", "UnknownCredentialError"),
    )
    if (found := getattr(boto, name, None)) is not None
)


@contextmanager
def translated(where: str, doing: str, name: str = "") -> Iterator[None]:
    """Translate boto3's errors in this block into the broker's, at `where`.

    `name` is the queue, table or bucket, for the message that it does not exist.
    """
    try:
        yield
    except boto.ClientError as error:
        raise _of_answer(where, doing, name, error) from error
    except boto.NoCredentialsError as error:
        raise Misconfigured(CREDENTIALS, NO_CREDENTIALS) from error
    except _CREDENTIAL_ERRORS as error:
        raise Misconfigured(CREDENTIALS, of_credentials(error)) from error
    except boto.ParamValidationError as error:
        raise Misconfigured(where, wrong_name(where, name, _line(error))) from error
    except (boto.BotoCoreError, boto.HTTPClientError, OSError, ValueError) as error:
        if isinstance(error, OSError) and _is_token_file(error.filename):
            raise Misconfigured(CREDENTIALS, of_credentials(error)) from error
        raise TryLater(where, f"{doing}: {type(error).__name__}: {_line(error)}") from error


@contextmanager
def setting_up(region: str) -> Iterator[None]:
    """Translate any error of boto3's configuration into `Misconfigured`: no call was made yet."""
    try:
        yield
    except Misconfigured:
        raise
    except boto.InvalidRegionError as error:
        raise Misconfigured(
            "settings", f"AWS_REGION = {region!r} can't be a region. Write one such as us-east-1."
        ) from error
    except boto.ProfileNotFound as error:
        raise Misconfigured(CREDENTIALS, _of_profile()) from error
    except _CREDENTIAL_ERRORS as error:
        raise Misconfigured(CREDENTIALS, of_credentials(error)) from error
    except Exception as error:  # ValueError, JSONDecodeError, OSError ...: depends on the source
        raise Misconfigured(
            CREDENTIALS,
            f"boto3 can't be set up: {type(error).__name__}: {_line(error)}. "
            "Correct the AWS_* variables, ~/.aws/config or ~/.aws/credentials.",
        ) from error


def wrong_name(where: str, name: str, said: str) -> str:
    """Return the message for a setting that names a missing resource."""
    kind, setting = _NAMED_BY[where]
    return f"The {kind} {name} can't be used: {said}. Correct {setting} or AWS_REGION."


def of_credentials(error: Exception) -> str:
    """Return what is wrong with the source of the credentials, and what to do."""
    return (
        f"The AWS credentials can't be used: {_line(error)}. "
        "Correct the AWS_* variables, ~/.aws/config or ~/.aws/credentials, or log in again."
    )


def code_of(error: boto.ClientError) -> str:
    """Return the service's error code, without the namespace that some services prepend."""
    return str(error.response.get("Error", {}).get("Code", "")).rsplit("#", 1)[-1]


def lacks_right(error: boto.ClientError) -> bool:
    """Return whether the service knows the caller but denies the call."""
    return aws_codes.fault_of("", code_of(error), "", 0) is ErrorClass.RIGHT


def is_about_the_input(error: boto.ClientError) -> bool:
    """Return whether the service rejects the input, which is what an invalid test call expects."""
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    return aws_codes.fault_of("", code_of(error), "", status) in (ErrorClass.JOB, ErrorClass.UNKNOWN)


def describe(error: boto.ClientError) -> str:
    """Return the service's message in one line of limited length."""
    message = str(error.response.get("Error", {}).get("Message", ""))
    return f"{code_of(error)}: {message}"[:300].rstrip(". ")


def _of_answer(where: str, doing: str, name: str, error: boto.ClientError) -> BrokerError:
    code, answer_text, said = code_of(error), describe(error), f"{doing}: {describe(error)}"
    facts = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    fault = aws_codes.fault_of(where, code, str(facts.get("Message", "")), status)
    if fault is ErrorClass.JOB:
        return JobRejected(aws_codes.of_job(where, code, answer_text, str(facts.get("StorageClass", ""))))
    if fault is ErrorClass.CREDENTIALS:
        cure = "Set this host's clock" if code == "RequestTimeTooSkewed" else "Renew or correct them"
        return Misconfigured(CREDENTIALS, f"AWS does not accept these credentials: {said}. {cure}.")
    if fault is ErrorClass.NAME:
        return Misconfigured(where, wrong_name(where, name, answer_text))
    if fault is ErrorClass.SETUP:
        kind, _ = _NAMED_BY[where]
        return Misconfigured(where, f"The {kind} {name} can't be used: {said}. Correct how it is set up.")
    if fault is ErrorClass.RIGHT:
        return Forbidden(where, said)
    return Unexplained(where, said) if fault is ErrorClass.UNKNOWN else TryLater(where, said)


def _of_profile() -> str:
    name = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or "default"
    return (
        f"AWS_PROFILE names the profile {name!r}, which is not in ~/.aws/config or ~/.aws/credentials. "
        "Correct AWS_PROFILE or unset it."
    )


def _is_token_file(name: object) -> bool:
    """Return whether this file should hold the web identity token of a Kubernetes service account."""
    return bool(name) and name == os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(". ")
