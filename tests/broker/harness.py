"""The broker as a real process, and the test in the supervisor's and the worker's place."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from supervisor.broker.rules.record_rules import Term
from supervisor.contract import child_bootstrap
from supervisor.contract.wire import framing, messages
from supervisor.contract.wire.messages import (
    FROM_BROKER,
    Commit,
    Done,
    JobCard,
    Keep,
    Ready,
    Wanted,
)
from supervisor.settings.schema import BackendSettings, LocalSettings, QueueSettings, Settings
from tests.support import leftovers
from tests.support.waiting import wait_for as until

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0
BROKER = ("-m", "supervisor.broker")


def local_settings(folder: Path, lease_s: int = 10) -> Settings:
    """Settings of a service on the embedded backend, all in `folder`."""
    return Settings(
        backend=BackendSettings("local"),
        local=LocalSettings(str(folder / "local")),
        queue=QueueSettings(lease_s=lease_s),
        state_dir=str(folder / "state"),
    )


class BrokerProcess:
    """One broker, started as the supervisor does, with this process at the other end of its link.

    `program`: what Python runs instead of `supervisor.broker`.
    """

    def __init__(
        self, settings: Settings, environ: Mapping[str, str] = {}, program: Sequence[str] = BROKER
    ) -> None:
        ours, theirs = socket.socketpair()
        self.heard: list[Any] = []
        self._log = b""
        self._link = ours
        self._lines = framing.LineSplitter()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.process = subprocess.Popen(
            [sys.executable, *program],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=leftovers.die_with_tests,
            env={
                **clean,
                **environ,
                child_bootstrap.LINK_FD: str(theirs.fileno()),
                child_bootstrap.PARENT_PID: str(os.getpid()),
                child_bootstrap.SETTINGS: child_bootstrap.dump_settings(settings),
            },
        )
        theirs.close()

    def __enter__(self) -> BrokerProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        self._link.close()
        self._read_log()
        assert self.process.stdout is not None
        self.process.stdout.close()
        if error[0] is not None:
            print(self.log)

    @property
    def log(self) -> str:
        """What it wrote down so far; its writer is a little behind what it says."""
        self._read_log()
        return self._log.decode()

    def logged(self, words: str) -> None:
        """Wait until it has written this down."""
        until(lambda: words in self.log, f"{words!r} in the log")

    def _read_log(self) -> None:
        pipe = self.process.stdout
        if pipe is None or pipe.closed:
            return
        os.set_blocking(pipe.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(pipe.fileno(), 65_536):
                self._log += data

    def say(self, message: Any) -> None:
        self._link.sendall(messages.write(message))

    def hear(
        self, cls: type[T], which: Callable[[T], bool] = lambda message: True, limit_s: float = LIMIT_S
    ) -> T:
        """Wait for a message that was not heard for yet; others stay to be heard."""
        end_s = time.monotonic() + limit_s
        while True:
            for message in self.heard:
                if isinstance(message, cls) and which(message):
                    self.heard.remove(message)
                    return message
            self._read(end_s, cls)

    def gather(self, wait_s: float) -> list[Any]:
        """Give what was said and comes within `wait_s`."""
        self._link.settimeout(wait_s)
        try:
            self.heard += [
                messages.read(line, FROM_BROKER) for line in self._lines.feed(self._link.recv(65_536))
            ]
        except (TimeoutError, socket.timeout):
            pass
        found, self.heard = self.heard, []
        return found

    def hang_up(self) -> None:
        """Be a supervisor that died."""
        self._link.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ended(self, limit_s: float = LIMIT_S) -> int:
        """Wait for the process's end; gives its exit code."""
        return self.process.wait(limit_s)

    def take_one(self) -> JobCard:
        """Want one job and wait until it is ready."""
        self.say(Wanted(1))
        card = self.hear(Ready).card
        self.say(Wanted(0))
        self.say(Keep((card.job_id,)))
        return card

    def finish(self, card: JobCard, text: str = "Hello there.") -> Done:
        """Be the worker and the supervisor for the rest of the job."""
        stage(card, text)
        self.say(Commit(card.job_id))
        return self.hear(Done, lambda done: done.job_id == card.job_id)

    def _read(self, end_s: float, cls: type) -> None:
        self._link.settimeout(max(0.01, end_s - time.monotonic()))
        try:
            data = self._link.recv(65_536)
        except (TimeoutError, socket.timeout):
            data = b""
        if not data:
            raise AssertionError(f"no {cls.__name__}; heard {self.heard}, exit {self.process.poll()}")
        self.heard += [messages.read(line, FROM_BROKER) for line in self._lines.feed(data)]


def transcript(card: JobCard, text: str) -> dict[str, Any]:
    """What a worker would write for this job."""
    return {
        "recordingId": card.recording_id,
        "userId": card.user_id,
        "deviceId": card.device_id,
        "language": "en",
        "segments": [{"id": 1, "start": 0.0, "end": 1.5, "text": text}],
        "fullText": text,
        "durationSeconds": 1.5,
        "transcribedAt": "2026-11-22T13:21:41Z",
        "whisperModel": "tiny.en",
    }


def stage(card: JobCard, text: str = "Hello there.", **changed: Any) -> None:
    """Be a worker: leave the result in the job's folder, `staged.json` last, each by rename."""
    folder = Path(card.folder)
    document = json.dumps(transcript(card, text)).encode()
    staged = {
        "job_id": card.job_id,
        "attempt": card.attempt,
        "language": "en",
        "duration_s": 1.5,
        "sha256_json": hashlib.sha256(document).hexdigest(),
        "took_s": 0.1,
        **changed,
    }
    for name, data in (
        ("transcript.txt", text.encode()),
        ("transcript.json", document),
        ("staged.json", json.dumps(staged).encode()),
    ):
        (folder / f"{name}.new").write_bytes(data)
        (folder / f"{name}.new").rename(folder / name)


def term(now_unix_s: float, lease_s: float = 60.0) -> Term:
    """Be a host that has just received its message."""
    return Term(now_unix_s, now_unix_s + lease_s - 2.0, lease_s)


def rem_message(recording_id: str = "rec-1", bucket: str = "raw", **changed: Any) -> dict[str, Any]:
    """What REM's dispatcher sends."""
    return {
        "recordingId": recording_id,
        "bucket": bucket,
        "key": f"raw/dev-7/2026/11/22/dev-7_{recording_id}_end.wav",
        "userId": "user-9",
        "deviceId": "dev-7",
        "startedAt": "2026-11-22T13:00:00Z",
        "endedAt": "2026-11-22T13:05:00Z",
        **changed,
    }


def with_state(settings: Settings, state_dir: Path) -> Settings:
    return dataclasses.replace(settings, state_dir=str(state_dir))
