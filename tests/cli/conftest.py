"""What the command line's tests share: an environment of their own, and a supervisor made of one reply."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from supervisor.contract.wire import framing
from supervisor.settings.load import ENVIRONMENT
from supervisor.settings.schema import Settings

Conversation = Callable[[socket.socket], None]


@pytest.fixture(autouse=True)
def state_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, short_folder: Path) -> Path:
    """Run each test in an empty folder, with nothing set but a state directory of its own."""
    for name in (*ENVIRONMENT, "REM_SOCKET", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    state = short_folder / "state"
    state.mkdir(mode=0o700)
    monkeypatch.setenv("REM_STATE_DIR", str(state))
    return state


@pytest.fixture
def in_force(state_dir: Path) -> Settings:
    return Settings(state_dir=str(state_dir))


class Peer:
    """A supervisor's socket that holds one conversation with each caller."""

    def __init__(self, path: Path, conversation: Conversation) -> None:
        self.path = path
        self._conversation = conversation
        self._over = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(8)
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        kept = []
        while not self._over.is_set():
            try:
                caller, _ = self._socket.accept()
            except socket.timeout:
                continue
            kept.append(caller)  # hanging up is the conversation's choice, not the collector's
            self._conversation(caller)
        for caller in kept:
            caller.close()


@pytest.fixture
def supervisor_that(short_folder: Path, state_dir: Path) -> Iterator[Callable[[Conversation], Path]]:
    """Start a peer that holds this conversation, and write its address as a supervisor does."""
    peers = []

    def start(conversation: Conversation) -> Path:
        path = short_folder / "control.sock"
        peers.append(Peer(path, conversation))
        address = {"pid": os.getpid(), "socket": str(path), "started_unix_s": 1.0}
        (state_dir / "supervisor.json").write_text(json.dumps(address), encoding="utf-8")
        return path

    yield start
    for peer in peers:
        peer.close()


@pytest.fixture
def answering(
    supervisor_that: Callable[[Conversation], Path],
) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    """Start a peer that gives every request this reply; gives the list of requests it gets."""

    def start(reply: dict[str, Any]) -> list[dict[str, Any]]:
        requests: list[dict[str, Any]] = []

        def conversation(caller: socket.socket) -> None:
            splitter = framing.LineSplitter()
            lines: list[bytes] = []
            while not lines:
                lines = splitter.feed(caller.recv(65_536))
            requests.append(framing.decode_line(lines[0]))
            caller.sendall(framing.encode_line(reply))

        supervisor_that(conversation)
        return requests

    return start


def status_of(**changes: Any) -> dict[str, Any]:
    """A status as a healthy service with one CPU slot gives it."""
    status: dict[str, Any] = {
        "version": 1,
        "supervisor": {
            "pid": 4242,
            "uptime_s": 75.0,
            "state": "running",
            "drain_deadline_s": None,
            "backend": "local",
            "profile": "rem",
        },
        "slots": [worker()],
        "queue": {"waiting": 3, "in_flight": 1, "ready": 2},
        "totals": {"done": 7, "failed": 1, "released": 0, "crashed": 2},
    }
    return {**status, **changes}


def worker(**changes: Any) -> dict[str, Any]:
    """A worker slot's part of a status."""
    slot: dict[str, Any] = {
        "name": "cpu0",
        "kind": "worker",
        "state": "ready",
        "reason": "",
        "pid": 4243,
        "uptime_s": 70.0,
        "restarts": 0,
        "rss_bytes": 220_000_000,
        "device": {"uuid": None, "name": "cpu", "health": "ok"},
        "jobs": [],
        "done": 7,
        "failed": 1,
        "audio_s_done": 300.0,
        "realtime_factor": 8.43,
    }
    return {**slot, **changes}


@pytest.fixture(name="status_of")
def _status_of() -> Callable[..., dict[str, Any]]:
    return status_of


@pytest.fixture(name="worker")
def _worker() -> Callable[..., dict[str, Any]]:
    return worker
