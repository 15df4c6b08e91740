"""A mock EC2 instance metadata service on loopback, for tests and drills.

Version 2 of the protocol: a token by PUT, 401 without one, 404 for unknown paths. It can
also simulate faults: see `ImdsFault`. Point a service at it with
AWS_EC2_METADATA_SERVICE_ENDPOINT; nothing but loopback is ever bound.
"""

from __future__ import annotations

import enum
import secrets
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Callable, Optional

from supervisor.contract import clock
from supervisor.notices.imds import TOKEN_HEADER, TOKEN_PATH, TTL_HEADER, TTL_S
from supervisor.notices.notice import PATHS, Kind, body_of

IDENTITY: Mapping[str, str] = {
    "/latest/meta-data/": "events/\nspot/",
    "/latest/meta-data/instance-id": "i-0123456789abcdef0",
    "/latest/meta-data/instance-type": "g5.xlarge",
    "/latest/meta-data/instance-life-cycle": "spot",
    "/latest/meta-data/placement/region": "us-east-1",
}


class ImdsFault(str, enum.Enum):
    """The simulated fault of the service."""

    NONE = "none"
    REFUSING = "refusing"  # 401 whatever the token
    OFF = "off"  # 403, as with --http-endpoint disabled
    FAILING = "failing"  # 503
    GARBAGE = "garbage"  # 200 and a body that means nothing
    NOT_HTTP = "not-http"
    HUGE = "huge"
    BROKEN_OFF = "broken-off"  # less than its Content-Length
    DRIPPING = "dripping"  # a byte now and then
    HANGING = "hanging"  # connects, never answers
    HOP_LIMIT = "hop-limit"  # questions are answered, the token never arrives


class FakeImds:
    """The mock service; use it in a `with`, or call `close`. Its answers may change at any time."""

    def __init__(self, port: int = 0) -> None:
        self.told: dict[str, str] = dict(IDENTITY)  # path -> body
        self.fault = ImdsFault.NONE
        self.ahead_s = 0.0  # how far its clock (the Date header) is before ours
        self.delay_s = 0.0  # before each answer
        self.requests: list[str] = []  # "GET /path", the latest last
        self.tokens: set[str] = set()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> str:
        """The value of AWS_EC2_METADATA_SERVICE_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def tell(self, kind: Kind, action: str = "terminate", in_s: float = 120.0) -> str:
        """Serve a notice from now on; return its body."""
        body = body_of(kind, action, clock.wall_unix_s() + self.ahead_s + in_s)
        self.told[PATHS[kind]] = body
        return body

    def withdraw(self, kind: Kind) -> None:
        """Stop serving a notice."""
        self.told.pop(PATHS[kind], None)

    def expire_tokens(self) -> None:
        """Refuse every token given so far."""
        self.tokens.clear()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> FakeImds:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a hanging answer must not hold the end up

    def __init__(self, address: tuple[str, int], fake: FakeImds) -> None:
        self.fake = fake
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own asks the name service who 127.0.0.1 is

    def handle_error(self, request: object, client_address: object) -> None:
        return  # they hung up in mid-answer, as callers with limits do


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "EC2ws"
    sys_version = ""

    def do_PUT(self) -> None:
        fake = self._begin()
        if fake.fault is ImdsFault.HOP_LIMIT:
            fake.closing.wait()
            return
        if self.path != TOKEN_PATH:
            return self._answer(404)
        if not _is_ttl(self.headers.get(TTL_HEADER, "")):
            return self._answer(400)
        token = secrets.token_urlsafe(32)
        fake.tokens.add(token)
        return self._answer(200, token)

    def do_GET(self) -> None:
        fake = self._begin()
        token = self.headers.get(TOKEN_HEADER, "")
        if fake.fault is ImdsFault.REFUSING or token not in fake.tokens:
            return self._answer(401)
        body = fake.told.get(self.path)
        return self._answer(404) if body is None else self._answer(200, body)

    def _begin(self) -> FakeImds:
        self.server.fake.requests.append(f"{self.command} {self.path}")
        return self.server.fake

    def _answer(self, status: int, body: str = "") -> None:
        self.server.fake.closing.wait(self.server.fake.delay_s)
        ill = _ILL.get(self.server.fake.fault)
        if ill is None:
            self._send(status, body.encode())
        else:
            ill(self)

    def _send(self, status: int, body: bytes, length: Optional[int] = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _greet_as_another(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")

    def _drip(self) -> None:
        for byte in _drops():
            self.wfile.write(byte)
            if self.server.fake.closing.wait(0.2):
                return

    def _hang(self) -> None:
        self.server.fake.closing.wait()

    def date_time_string(self, timestamp: Optional[float] = None) -> str:
        return super().date_time_string(clock.wall_unix_s() + self.server.fake.ahead_s)

    def log_message(self, format: str, *args: object) -> None:
        return  # `requests` is the log


def _is_ttl(text: str) -> bool:
    return text.isdigit() and 1 <= int(text) <= TTL_S


def _drops() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    for _ in range(1_000):
        yield b"x"


_ILL: Mapping[ImdsFault, Callable[[_Handler], None]] = {
    ImdsFault.OFF: lambda handler: handler._send(403, b""),
    ImdsFault.FAILING: lambda handler: handler._send(503, b"try later"),
    ImdsFault.GARBAGE: lambda handler: handler._send(200, b"\x00\xff<html>nothing of use</html>"),
    ImdsFault.NOT_HTTP: _Handler._greet_as_another,
    ImdsFault.HUGE: lambda handler: handler._send(200, b"{" * 1_000_000),
    ImdsFault.BROKEN_OFF: lambda handler: handler._send(200, b"{", 1_000),
    ImdsFault.DRIPPING: _Handler._drip,
    ImdsFault.HANGING: _Handler._hang,
}
