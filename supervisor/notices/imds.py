"""Client of the EC2 instance metadata service, version 2 only.

Every request ends in an `Answer` of status 200 or 404, or in `ImdsFailed`, after at most two
tries and within a few seconds. Nothing is read without a token: there is no fallback to
version 1.

Source: EC2 User Guide, "Use the Instance Metadata Service to access instance metadata".
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from supervisor.contract import clock
from supervisor.notices import http_get
from supervisor.notices.http_get import Endpoint, HttpFailed, Limits, Reply
from supervisor.notices.notice import Answer

LINK_LOCAL = Endpoint("169.254.169.254", 80)
LINK_LOCAL_6 = Endpoint("fd00:ec2::254", 80)
TOKEN_PATH = "/latest/api/token"  # noqa: S105 - a path, no secret
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105 - a name, no secret
TTL_S = 21_600  # the longest there is
RENEW_AFTER_S = TTL_S - 600.0
TRIES = 2
_TOKEN_CHARS_MOST = 1_024
# What the firmware (Nitro, metal) and the hypervisor (Xen) say of an EC2 machine; seen in containers too.
_FIRMWARE = (
    ("sys/devices/virtual/dmi/id/sys_vendor", "Amazon EC2"),
    ("sys/devices/virtual/dmi/id/bios_version", "amazon"),
    ("sys/hypervisor/uuid", "ec2"),
)


class ImdsTrouble(str, enum.Enum):
    """Why nothing could be read. A repeated reason is reported once."""

    UNREACHABLE = "unreachable"
    SILENT = "silent"
    HOP_LIMIT = "hop-limit"
    OFF = "off"
    REFUSED = "refused"
    FAILING = "failing"
    NONSENSE = "nonsense"

    @property
    def is_of_all(self) -> bool:
        """Return whether every other request would fail in the same way."""
        return self in (ImdsTrouble.UNREACHABLE, ImdsTrouble.SILENT, ImdsTrouble.HOP_LIMIT, ImdsTrouble.OFF)


class ImdsFailed(Exception):
    """No answer; `trouble` is the reason, the text is for people."""

    def __init__(self, trouble: ImdsTrouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble


class EndpointWrong(ValueError):
    """AWS_EC2_METADATA_SERVICE_ENDPOINT is not a usable address."""


class Step(str, enum.Enum):
    """What to do after one try."""

    TAKE = "take"
    NEW_TOKEN = "new-token"  # noqa: S105 - no secret
    AGAIN = "again"
    GIVE_UP = "give-up"


def step_after(status: int, tries: int, is_renewed: bool) -> Step:
    """Decide after the `tries`th try; status 0: none came."""
    if status in (200, 404):
        return Step.TAKE
    if status == 401 and not is_renewed:
        return Step.NEW_TOKEN
    passes = status == 0 or status >= 500
    return Step.AGAIN if passes and tries < TRIES else Step.GIVE_UP


def endpoint_of(environ: Mapping[str, str]) -> Endpoint:
    """Say where the metadata service is, by the names that boto3 knows too. Raises `EndpointWrong`."""
    given = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "").strip()
    if not given:
        mode = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").strip().lower()
        return LINK_LOCAL_6 if mode == "ipv6" else LINK_LOCAL
    try:
        parts = urlsplit(given)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    if parts.scheme != "http" or not host or not given.isascii() or any(c.isspace() for c in given):
        raise EndpointWrong(
            f"AWS_EC2_METADATA_SERVICE_ENDPOINT={given[:80]} is not of the form http://HOST:PORT"
        )
    return Endpoint(host, port, parts.path.rstrip("/"))


def is_ec2(root: Path = Path("/")) -> bool:
    """Return whether firmware or hypervisor identify an EC2 machine; sends no request."""
    for name, mark in _FIRMWARE:
        try:
            if mark in (root / name).read_text(encoding="ascii", errors="replace")[:200]:
                return True
        except OSError:
            continue
    return False


class Imds:
    """One metadata service and our token for it."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._token = ""
        self._token_at_s = 0.0

    async def get(self, path: str) -> Answer:
        """Send one request. Raises `ImdsFailed`."""
        tries, is_renewed = 0, False
        while True:
            status, words, reply = 0, "", Reply(0, b"")
            token = await self._valid_token()
            tries += 1
            try:
                reply = await self._ask("GET", path, {TOKEN_HEADER: token})
                status = reply.status
            except HttpFailed as error:
                trouble, words = _trouble_of(error), str(error)
                if tries >= TRIES:
                    raise ImdsFailed(trouble, _told(trouble, path, words)) from error
                continue
            step = step_after(status, tries, is_renewed)
            if step is Step.TAKE:
                date = reply.headers.get("date", "")
                return Answer(status, reply.body.decode("utf-8", "replace"), date)
            if step is Step.GIVE_UP:
                raise _failed(path, status)
            if step is Step.NEW_TOKEN:
                self._token, is_renewed = "", True

    async def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> Reply:
        return await http_get.ask(self._endpoint, method, path, headers, self._limits)

    async def _valid_token(self) -> str:
        """Return a valid token, a new one if there is none or it is about to expire."""
        if not self._token or clock.now_s() - self._token_at_s >= RENEW_AFTER_S:
            self._token = await self._new_token()
            self._token_at_s = clock.now_s()
        return self._token

    async def _new_token(self) -> str:
        tries, answers_others = 0, False
        while True:
            tries += 1
            try:
                reply = await self._ask("PUT", TOKEN_PATH, {TTL_HEADER: str(TTL_S)})
            except HttpFailed as error:
                trouble = _trouble_of(error)
                if trouble is ImdsTrouble.SILENT and answers_others:
                    trouble = ImdsTrouble.HOP_LIMIT
                if tries >= TRIES:
                    raise ImdsFailed(trouble, _told(trouble, TOKEN_PATH, str(error))) from error
                answers_others = trouble is ImdsTrouble.SILENT and await self._answers_without_token()
                continue
            if reply.status == 200:
                return _token_in(reply.body)
            # A 401 has no token to renew here, a 404 nothing to take.
            if reply.status < 500 or tries >= TRIES:
                raise _failed(TOKEN_PATH, reply.status)

    async def _answers_without_token(self) -> bool:
        """Distinguish the hop limit from a service that does not answer at all.

        One question without a token, for its mere answer: answers to questions travel on,
        the answer to the token request alone dies at the hop limit. Asked between two tries
        for a token, so that a service which comes back meanwhile is not misjudged.
        """
        try:
            await self._ask("GET", "/latest/meta-data/", {})
        except HttpFailed:
            return False
        return True


def _trouble_of(error: HttpFailed) -> ImdsTrouble:
    if isinstance(error, http_get.Unreachable):
        return ImdsTrouble.UNREACHABLE
    return ImdsTrouble.SILENT if isinstance(error, http_get.Silent) else ImdsTrouble.NONSENSE


def _token_in(body: bytes) -> str:
    token = body.decode("latin-1").strip()
    if not token or len(token) > _TOKEN_CHARS_MOST or not all("!" <= c <= "~" for c in token):
        raise ImdsFailed(ImdsTrouble.NONSENSE, "the metadata service gave a token that is none")
    return token


def _failed(path: str, status: int) -> ImdsFailed:
    if status == 403:
        return ImdsFailed(
            ImdsTrouble.OFF,
            "the metadata service is switched off for this instance (403). Switch it on: "
            "aws ec2 modify-instance-metadata-options --instance-id ID --http-endpoint enabled",
        )
    if status == 401:
        return ImdsFailed(ImdsTrouble.REFUSED, f"{path}: refused with a new token too (401)")
    trouble = ImdsTrouble.FAILING if status >= 500 else ImdsTrouble.NONSENSE
    return ImdsFailed(trouble, f"{path}: answered with status {status}")


def _told(trouble: ImdsTrouble, path: str, words: str) -> str:
    if trouble is ImdsTrouble.HOP_LIMIT:
        return (
            "the metadata service answers, but its token does not reach this process: in a container that is "
            "the hop limit. Raise it: aws ec2 modify-instance-metadata-options --instance-id ID "
            "--http-put-response-hop-limit 2, or use the host's network"
        )
    return f"{path}: {words}"
