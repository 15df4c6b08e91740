"""A model hub on loopback: as much of Hugging Face's HTTP interface as a snapshot download asks for.

It counts what is asked of it, and breaks off in the middle of model.bin where it is told to.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_RESOLVE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/resolve/[^/]+/(?P<name>.+)")
_API = re.compile(r"/api/models/(?P<repository>[^/]+/[^/]+)(/(?P<what>revision|tree)/[^/]+)?")


class Hub:
    """Repositories that are served, and the requests that came."""

    def __init__(self) -> None:
        self.repositories: dict[str, Mapping[str, bytes]] = {}
        self.requests: list[str] = []
        self.ranges: list[str] = []
        self.cuts_bytes: list[int] = []  # each answer for model.bin takes one and breaks off there
        self.url = ""


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """Serve on a free port until the block ends."""
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, with_body: bool) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        api, resolve = _API.fullmatch(path), _RESOLVE.fullmatch(path)
        match = api or resolve
        files = self.hub.repositories.get(match["repository"]) if match else None
        if files is None:
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)
        if api:
            plain = _tree(files) if api["what"] == "tree" else _info(api["repository"], files)
            return self._send(
                200, json.dumps(plain).encode(), {"Content-Type": "application/json"}, with_body
            )
        assert resolve is not None
        if resolve["name"] not in files:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
        self._send_file(resolve["name"], files[resolve["name"]], with_body)

    def _send_file(self, name: str, data: bytes, with_body: bool) -> None:
        headers = {"ETag": f'"{_sum(data)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not asked:
            return self._send(200, data, headers, with_body, limited=name == "model.bin")
        self.hub.ranges.append(self.headers["Range"])
        start = int(asked[1])
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206, data[start:], headers, with_body, limited=name == "model.bin")

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str], with_body: bool, limited: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not with_body:
            return
        if limited and self.hub.cuts_bytes:
            body = body[: self.hub.cuts_bytes.pop(0)]
            self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(body)


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _info(repository: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
    return {"id": repository, "modelId": repository, "sha": COMMIT, "private": False, "siblings": siblings}


def _tree(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": name, "size": len(data), "oid": _sum(data)[:40]}
        for name, data in files.items()
    ]
