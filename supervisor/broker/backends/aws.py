"""boto3 clients: created on first use, with timeouts for their purpose, and recreated on request.

There are three kinds. Receiving: the timeout covers the long poll, without retries, because a retried receive
hides messages that nobody gets. Quick: for heartbeats and releases, which are useless when late. Patient: for
audio and transcripts.

Because clients are created late, one that can't be created is an error like any other: the service stays up,
reports the cause, and picks up a corrected ~/.aws/config or new credentials without a restart.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from supervisor.broker.backends.aws_errors import NO_CREDENTIALS, setting_up
from supervisor.broker.ports.errors import CREDENTIALS, Misconfigured

_LONGEST_POLL_S = 20
CALLS_MOST = 67  # concurrent calls of all lanes together


class _OneLine(logging.Filter):
    """Removes the stack trace from botocore's warnings: our own message says what to do."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True


logging.getLogger("botocore.credentials").addFilter(_OneLine())


@dataclass(frozen=True)
class _Wanted:
    """A client's properties; equal ones share one client."""

    service: str
    connect_s: int
    read_s: int
    attempts: int


class Clients:
    """Creates boto3 clients. Credentials, endpoint and the rest come from boto3's usual sources."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._guard = threading.Lock()  # a boto3 session is not thread-safe
        self._session: Optional[boto3.session.Session] = None
        self._made: dict[_Wanted, Any] = {}

    def receiving(self, service: str) -> Client:
        return Client(self, _Wanted(service, connect_s=5, read_s=_LONGEST_POLL_S + 10, attempts=1))

    def quick(self, service: str) -> Client:
        return Client(self, _Wanted(service, connect_s=2, read_s=3, attempts=2))

    def patient(self, service: str) -> Client:
        return Client(self, _Wanted(service, connect_s=5, read_s=30, attempts=3))

    def renew(self) -> None:
        """Read profile and credentials again at the next call: an operator may have corrected them."""
        with self._guard:
            self._session = None
            self._made.clear()

    def credentials_from(self) -> str:
        """Return where boto3 found credentials. Raises Misconfigured if it found none."""
        with self._guard, setting_up(self._region):
            found = self._open_session().get_credentials()
        if found is None:
            raise Misconfigured(CREDENTIALS, NO_CREDENTIALS)
        return str(found.method)

    # Any: boto3 creates its clients at run time, without static types.
    def made(self, wanted: _Wanted) -> Any:
        """Return the boto3 client. Raises Misconfigured if it can't be created."""
        with self._guard:
            if wanted not in self._made:
                with setting_up(self._region):
                    self._made[wanted] = self._make(wanted)
            return self._made[wanted]

    def _make(self, wanted: _Wanted) -> Any:
        config = Config(
            connect_timeout=wanted.connect_s,
            read_timeout=wanted.read_s,
            retries={"total_max_attempts": wanted.attempts, "mode": "standard"},
            max_pool_connections=CALLS_MOST,
            parameter_validation=False,  # our arguments are valid, and the service validates them again
        )
        return self._open_session().client(wanted.service, config=config)

    def _open_session(self) -> boto3.session.Session:
        if self._session is None:
            _clean_environment()
            self._session = boto3.session.Session(region_name=self._region)
        return self._session


class Client:
    """A boto3 client that is created at its first call; it has the service's methods."""

    def __init__(self, clients: Clients, wanted: _Wanted) -> None:
        self._clients = clients
        self._wanted = wanted

    def __getattr__(self, method: str) -> Any:
        return getattr(self._clients.made(self._wanted), method)


def _clean_environment() -> None:
    """Unset empty AWS variables; raise Misconfigured on invalid endpoint URLs and missing CA bundles.

    `docker --env-file` and Compose pass `NAME=` for unset variables; boto3 would look for a profile without a
    name. An invalid endpoint would look like an outage.
    """
    for name, value in list(os.environ.items()):
        if not name.startswith("AWS_"):
            continue
        if not value.strip():
            del os.environ[name]
        elif name.startswith("AWS_ENDPOINT_URL") and not _is_address(value):
            raise Misconfigured(
                "settings",
                f"{name} = {value[:200]!r} is no address. Write one such as http://127.0.0.1:4566.",
            )
    bundle = os.environ.get("AWS_CA_BUNDLE")
    if bundle and not os.path.exists(bundle):
        raise Misconfigured(
            "settings", f"AWS_CA_BUNDLE names {bundle}, which is not there. Correct or unset it."
        )


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    fits = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    return fits and not any(sign.isspace() or sign in "\"'" for sign in text)
