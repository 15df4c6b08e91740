"""boto3's side of the fence: clients with the right patience, and its errors made ours.

Three kinds of client. Receiving: waits as long as the long poll and never twice, because
a repeated receive hides a message for nobody. Quick: for beats and releases, which are
worth nothing when late. Patient: for audio and transcripts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

from supervisor.broker.crew import LANES
from supervisor.broker.errors import Forbidden, TryLater

_LONGEST_POLL_S = 20
_NO_RIGHT = frozenset(
    {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "UnauthorizedOperation",
        "AWS.SimpleQueueService.AccessDenied",
    }
)
_UNKNOWN_CALLER = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
    }
)


class Clients:
    """Makes boto3 clients. Credentials, endpoint and the rest are boto3's own search."""

    def __init__(self, region: str) -> None:
        self._session = boto3.session.Session(region_name=region)

    # Any: boto3's clients are made at run time and have no static type.
    def receiving(self, service: str) -> Any:
        return self._client(service, connect_s=5, read_s=_LONGEST_POLL_S + 10, attempts=1)

    def quick(self, service: str) -> Any:
        return self._client(service, connect_s=2, read_s=3, attempts=2)

    def patient(self, service: str) -> Any:
        return self._client(service, connect_s=5, read_s=30, attempts=3)

    def _client(self, service: str, connect_s: int, read_s: int, attempts: int) -> Any:
        config = Config(
            connect_timeout=connect_s,
            read_timeout=read_s,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            max_pool_connections=sum(LANES.values()),  # as many as ever call at once
            parameter_validation=False,  # arguments are ours, and checked; the service checks them again
        )
        with translated("queue", "connect"):
            return self._session.client(service, config=config)


@contextmanager
def translated(where: str, doing: str) -> Iterator[None]:
    """Turn what boto3 raises into `TryLater` or `Forbidden` at `where`."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        if lacks_right(error) or code_of(error) in _UNKNOWN_CALLER:
            raise Forbidden(where, f"{doing}: {describe(error)}") from error
        raise TryLater(where, f"{doing}: {describe(error)}") from error
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as error:
        raise Forbidden(where, f"{doing}: no AWS credentials are to be found") from error
    except (
        botocore.exceptions.BotoCoreError,
        botocore.exceptions.HTTPClientError,
        OSError,
        ValueError,
    ) as error:
        raise TryLater(where, f"{doing}: {type(error).__name__}: {str(error)[:200]}") from error


def code_of(error: botocore.exceptions.ClientError) -> str:
    """Give the service's own name of the error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def lacks_right(error: botocore.exceptions.ClientError) -> bool:
    """Say whether the service knows the caller and still says no."""
    return code_of(error) in _NO_RIGHT


def describe(error: botocore.exceptions.ClientError) -> str:
    """Say what the service said, in one bounded line."""
    message = str(error.response.get("Error", {}).get("Message", ""))
    return f"{code_of(error)}: {message}"[:300]
