"""A mock EC2 instance metadata service on loopback, for drills.

Version 2 of the protocol: a token by PUT, 401 without one, 404 for unknown paths. Point a
service at it with AWS_EC2_METADATA_SERVICE_ENDPOINT; nothing but loopback is ever bound.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Optional

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


class FakeImds:
    """The mock service; use it in a `with`, or call `close`. Its answers may change at any time."""

    def __init__(self, port: int = 0, handler: Optional[type[ImdsHandler]] = None) -> None:
        self.told: dict[str, str] = dict(IDENTITY)  # path -> body
        self.tokens: set[str] = set()
        self._server = _Server(("127.0.0.1", port), self, handler or ImdsHandler)
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
        body = body_of(kind, action, clock.wall_unix_s() + in_s)
        self.told[PATHS[kind]] = body
        return body

    def close(self) -> None:
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

    def __init__(self, address: tuple[str, int], fake: FakeImds, handler: type[ImdsHandler]) -> None:
        self.fake = fake
        super().__init__(address, handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own asks the name service who 127.0.0.1 is

    def handle_error(self, request: object, client_address: object) -> None:
        return  # they hung up in mid-answer, as callers with limits do


class ImdsHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection. Tests replace it by one that fails."""

    server: _Server
    server_version = "EC2ws"
    sys_version = ""

    def do_PUT(self) -> None:
        if self.path != TOKEN_PATH:
            return self.answer(404)
        if not _is_ttl(self.headers.get(TTL_HEADER, "")):
            return self.answer(400)
        token = secrets.token_urlsafe(32)
        self.server.fake.tokens.add(token)
        return self.answer(200, token)

    def do_GET(self) -> None:
        if self.headers.get(TOKEN_HEADER, "") not in self.server.fake.tokens:
            return self.answer(401)
        body = self.server.fake.told.get(self.path)
        return self.answer(404) if body is None else self.answer(200, body)

    def answer(self, status: int, body: str = "") -> None:
        """Send an answer as text."""
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        return  # the drill prints only what it serves


def _is_ttl(text: str) -> bool:
    return text.isdigit() and 1 <= int(text) <= TTL_S
