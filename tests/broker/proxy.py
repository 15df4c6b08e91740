"""A reverse proxy before an AWS imitation, which can be down, or say no to calls.

Calls have names as a role's policy has them: `sqs:SendMessage my-queue`, `dynamodb:GetItem`,
`s3:GetObject my-bucket`.
"""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Optional
from urllib.parse import urlsplit

from tests.broker.aws_servers import AwsServer, Deployment

_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive")


def action(request: BaseHTTPRequestHandler, call: str, body: bytes) -> str:
    """Name a call as a policy would."""
    service = request.headers.get("X-Amz-Target", "").split("_")[0].split(".")[0].lower()
    if "sqs" in service:
        return f"sqs:{call} {json.loads(body)['QueueUrl'].rsplit('/', 1)[-1]}"
    if call:
        return f"dynamodb:{call}"
    path, _, query = request.path.partition("?")
    bucket, _, key = path.strip("/").partition("/")
    verb = {"GET": "Get", "PUT": "Put", "HEAD": "Head", "DELETE": "Delete"}.get(str(request.command), "Post")
    if not key or "uploads" in query:
        return f"s3:{verb}Bucket {bucket}"
    return f"s3:{verb}Object {bucket}"


def forward(request: BaseHTTPRequestHandler, netloc: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Ask the server behind; give status, headers and body of its answer. Raises OSError."""
    connection = http.client.HTTPConnection(netloc, timeout=30)
    try:
        headers = {name: text for name, text in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        connection.request(request.command, request.path, body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Close the caller's connection without an answer."""
    request.close_connection = True
    request.connection.close()


class Proxy:
    """Stands at a port of its own; `is_down` cuts every connection, `denied` names refused calls."""

    def __init__(self, behind: AwsServer) -> None:
        self.is_down = False
        self.denied: set[str] = set()
        self.hanging: set[str] = set()  # calls that get no answer
        self.hanging_path = "(none)"  # the same for objects whose path has this in it
        self.forbidden_path = "(none)"
        self.errors: dict[
            str, tuple[int, str]
        ] = {}  # part of an object's path -> status and body of the answer
        self.seen: list[str] = []
        self.permitted: Optional[frozenset[str]] = None  # None: everything
        self.refused: list[str] = []  # what was asked for and not permitted
        self._is_over = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy.handle(self, urlsplit(behind.url).netloc)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_any

            def log_message(self, *what: Any) -> None:
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._is_over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environ(self, made: Deployment) -> dict[str, str]:
        """What a process needs to go through here."""
        return {**made.server.environ, "AWS_ENDPOINT_URL": self.url}

    def _hangs(self, request: BaseHTTPRequestHandler, call: str) -> bool:
        return call in self.hanging or (not call and self.hanging_path in request.path)

    def handle(self, request: BaseHTTPRequestHandler, netloc: str) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        call = request.headers.get("X-Amz-Target", "").split(".")[-1]
        self.seen.append(call or f"{request.command} {request.path}")
        if self.is_down:
            hang_up(request)
            return
        while self._hangs(request, call) and not self._is_over.wait(0.1):
            pass
        if call in self.denied:
            self._refuse(request, call)
            return
        name = action(request, call, body)
        if self.permitted is not None and name not in self.permitted:
            self.refused.append(name)
            self._refuse(request, call)
            return
        if self.forbidden_path in request.path:
            self._refuse(request, "")
            return
        for part, (status, xml) in self.errors.items():
            if part in request.path and not call:
                self._answer(request, status, {"Content-Type": "application/xml"}, xml.encode())
                return
        status, headers, document = forward(request, netloc, body)
        may_list = name.replace("s3:GetObject", "s3:GetBucket") in (self.permitted or ())
        if status == 404 and not call and self.permitted is not None and not may_list:
            # Who may not list a bucket may not learn what is not in it.
            self._refuse(request, "")
            return
        self._answer(request, status, headers, document)

    def _refuse(self, request: BaseHTTPRequestHandler, call: str) -> None:
        if not call:
            xml = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self._answer(request, 403, {"Content-Type": "application/xml"}, xml)
            return
        refusal = {
            "__type": "com.amazonaws.sqs#AccessDenied",
            "message": f"not authorized to perform {call}",
        }
        self._answer(
            request, 403, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(refusal).encode()
        )

    def _answer(
        self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        request.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        try:
            request.wfile.write(body)
        except OSError:
            pass  # the asker was killed
