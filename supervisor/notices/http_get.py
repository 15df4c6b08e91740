"""A minimal HTTP/1.1 request on the event loop, limited in time and bytes.

Only for the instance metadata service, which is link-local and uses no TLS: no proxy, no
redirect, no keep-alive, no chunks. It avoids importing an HTTP library.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

ANSWER_BYTES_MOST = 65_536

_LENGTH = re.compile(r"[0-9]{1,12}")  # isdigit() takes a superscript for a digit
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r?\n|$)")


class HttpFailed(Exception):
    """No usable answer came; the text says why."""


class Unreachable(HttpFailed):
    """The connection was refused or failed."""


class Silent(HttpFailed):
    """No complete answer arrived in time on an open connection."""


class Garbled(HttpFailed):
    """The answer is not valid HTTP, or too long."""


@dataclass(frozen=True)
class Endpoint:
    host: str
    port: int
    prefix: str = ""  # before every path, without a slash at its end


@dataclass(frozen=True)
class Limits:
    """How long one request may take."""

    connect_s: float = 1.0
    read_s: float = 2.0  # from the connection to the answer's last byte


@dataclass(frozen=True)
class Reply:
    """A whole answer. Header names are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


async def ask(
    endpoint: Endpoint,
    method: str,
    path: str,
    headers: Mapping[str, str],
    limits: Limits,
) -> Reply:
    """Send one request without a body and give the answer. Raises `HttpFailed`."""
    try:
        opening = asyncio.open_connection(endpoint.host, endpoint.port)
        reader, writer = await asyncio.wait_for(opening, limits.connect_s)
    except asyncio.TimeoutError:
        raise Unreachable(f"no connection within {limits.connect_s:g} s") from None
    except OSError as error:
        raise Unreachable(error.strerror or str(error)) from error
    try:
        writer.write(_request(endpoint, method, path, headers))
        return parse(await asyncio.wait_for(_read_all(reader), limits.read_s))
    except asyncio.TimeoutError:
        raise Silent(f"no whole answer within {limits.read_s:g} s") from None
    except OSError as error:
        raise Silent(f"hung up: {error.strerror or error}") from error
    finally:
        writer.transport.abort()  # at once: nothing is owed, and nobody waits for the other side


def parse(data: bytes) -> Reply:
    """Take an answer apart. Raises `Garbled`."""
    head, end, body = data.partition(b"\r\n\r\n")
    status = _STATUS.match(head)
    if status is None:
        raise Garbled(f"not HTTP: {data[:40]!r}" if data else "an empty answer")
    if not end:
        raise Garbled("an answer that breaks off")
    headers: dict[str, str] = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if "transfer-encoding" in headers:
        raise Garbled("an answer in chunks")
    length = headers.get("content-length", str(len(body)))
    if not _LENGTH.fullmatch(length) or len(body) < int(length):
        raise Garbled("an answer that breaks off")
    return Reply(int(status.group(1)), body[: int(length)], headers)


def _request(endpoint: Endpoint, method: str, path: str, headers: Mapping[str, str]) -> bytes:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    port = "" if endpoint.port == 80 else f":{endpoint.port}"
    lines = [f"{method} {endpoint.prefix}{path} HTTP/1.1", f"Host: {host}{port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if method == "PUT":
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    """Read until the answer is whole by its own length, or the other side hangs up."""
    data = b""
    while len(data) <= ANSWER_BYTES_MOST:
        part = await reader.read(4_096)
        data += part
        if not part or _is_whole(data):
            return data
    raise Garbled(f"an answer of over {ANSWER_BYTES_MOST} bytes")


def _is_whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d{1,12})(?:\r\n|$)", head.lower())
    return bool(end) and length is not None and len(body) >= int(length.group(1))
