"""The whole service as a user runs it: a real `rem-supervisor run` with real children.

Every test gets its own state directory and environment; nothing of the caller's AWS names
reaches it. `Service` ends its process and checks that nothing of it is left.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Optional

from tests.support import leftovers
from tests.support.waiting import LIMIT_S, wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = REPOSITORY / "supervisor" / "samples"
RUN = ("-m", "supervisor", "run")
# Which kernels numpy's BLAS takes decides single words: the same as in a direct call.
BLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS")


def clean_environment(state_dir: Path, **more: str) -> dict[str, str]:
    """What a test's service sees: no name of AWS or REM but those given."""
    names = ("PATH", "HOME", "LANG", "TMPDIR", *BLAS)
    kept = {name: os.environ[name] for name in names if name in os.environ}
    own = {"REM_STATE_DIR": str(state_dir), "WHISPER_MODEL": "tiny.en", "PYTHONPATH": str(REPOSITORY)}
    # Tests may run on a spot instance themselves: its notices are not for them.
    return {**kept, **own, "AWS_EC2_METADATA_DISABLED": "true", **more}


class Service:
    """One running supervisor and the ways a person reaches it."""

    def __init__(self, state_dir: Path, environ: Mapping[str, str], program: Sequence[str] = RUN) -> None:
        self.state_dir = state_dir
        self._program = program
        self.environ = dict(environ)
        self.log_path = state_dir.parent / f"{state_dir.name}.log"
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *self._program],
                env=self.environ,
                cwd=self.state_dir.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=leftovers.die_with_tests,
            )

    def start_again(self) -> None:
        """Start a successor on the same state directory."""
        self.process = self._start()

    @property
    def log(self) -> str:
        """What it has logged, in whole lines.

        While it lives, what it shows elsewhere may be seen before a line that it logged earlier can be read:
        a thread of its own writes them. Wait for a line, or read it when the service has ended.
        """
        whole, newline, _ = self.log_path.read_text(encoding="utf-8", errors="replace").rpartition("\n")
        return whole + newline

    def ask(self, request: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        """Ask over the control socket, as the command line does; None while nobody answers."""
        try:
            address = json.loads((self.state_dir / "supervisor.json").read_text(encoding="utf-8"))
            if address["pid"] != self.process.pid:
                return None
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(10)
                link.connect(address["socket"])
                link.sendall(json.dumps(request).encode() + b"\n")
                with link.makefile("rb") as lines:
                    return dict(json.loads(lines.readline()))
        except (OSError, ValueError, KeyError):
            return None

    def status(self) -> Optional[dict[str, Any]]:
        reply = self.ask({"do": "status"})
        return reply["status"] if reply else None

    def slots(self, kind: str = "worker") -> list[dict[str, Any]]:
        status = self.status()
        return [slot for slot in status["slots"] if slot["kind"] == kind] if status else []

    def wait_ready(self, count: int = 1) -> None:
        """Wait until so many workers, the broker too, are ready."""

        def ready() -> bool:
            assert self.process.poll() is None, f"the service ended:\n{self.log[-3000:]}"
            workers = [slot for slot in self.slots() if slot["state"] == "ready"]
            brokers = [slot for slot in self.slots("broker") if slot["state"] == "ready"]
            return len(workers) >= count and bool(brokers)

        wait_for(ready, lambda: f"{count} ready workers; the log ends {self.log[-2000:]}")

    def pid_of(self, name: str) -> int:
        """The pid in that slot, once there is one."""
        every = wait_for(lambda: (self.status() or {}).get("slots"), "a status")
        return int(next(slot["pid"] or 0 for slot in every if slot["name"] == name))

    def busy_slot(self) -> Optional[dict[str, Any]]:
        """A worker slot that has had a recording for half a second and is not through with it.

        Its progress comes with beats, every two seconds: too seldom to wait for.
        """
        for slot in self.slots():
            begun = [job for job in slot["jobs"] if job["progress_ratio"] < 1]
            if slot["state"] == "ready" and any(time.time() - job["started_unix_s"] > 0.5 for job in begun):
                return slot
        return None

    def pids(self) -> set[int]:
        """This supervisor and all its children that are alive."""
        status = self.status()
        children = {slot["pid"] for slot in status["slots"] if slot["pid"]} if status else set()
        return {self.process.pid, *children}

    def pids_from_the_top(self) -> list[int]:
        """Give the supervisor and its children, the supervisor first."""
        return [self.process.pid, *sorted(self.pids() - {self.process.pid})]

    def command(self, *words: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        """Run `rem-supervisor` with the same environment."""
        return subprocess.run(
            [sys.executable, "-m", "supervisor", *words],
            env=self.environ,
            cwd=self.state_dir.parent,
            capture_output=True,
            text=True,
            timeout=kwargs.pop("timeout", LIMIT_S),
            check=False,
            **kwargs,
        )

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """End the service and wait for it; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(LIMIT_S)


@contextmanager
def running(
    state_dir: Path, program: Sequence[str] = RUN, slots: int = 0, **environ: str
) -> Iterator[Service]:
    """Run a service; afterwards it is gone and has left no process behind.

    `program`: what Python runs instead of `rem-supervisor run`. `slots`: CPU slots, each of which costs
    two seconds of a core to begin with; 0: as many as the machine has, or as config.toml says.
    """
    if slots:
        with (state_dir.parent / "config.toml").open("x", encoding="utf-8") as file:
            file.write(f"[devices]\ncpu_slots = {slots}\n")
    service = Service(state_dir, clean_environment(state_dir, **environ), program)
    known: set[int] = set()
    try:
        yield service
        known = service.pids()
        service.stop()
    finally:
        if service.process.poll() is None:
            known |= service.pids()
            service.process.kill()
            service.process.wait(LIMIT_S)
    gone = wait_for(lambda: not [pid for pid in known if is_alive(pid)], f"the end of {known}")
    assert gone


def is_alive(pid: int) -> bool:
    """Say whether a process runs (one that is dead and not yet reaped does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


@lru_cache(maxsize=1)
def _model() -> Any:
    from faster_whisper import WhisperModel

    from workerproc.process import models

    return WhisperModel(str(models.packaged("tiny.en")), device="cpu", compute_type="int8", cpu_threads=1)


def direct_text(path: Path) -> str:
    """What faster-whisper says of a file, called directly with REM's options, in this interpreter."""
    segments, _ = _model().transcribe(
        str(path), beam_size=5, vad_filter=True, vad_parameters={"min_silence_duration_ms": 500}
    )
    return " ".join(segment.text.strip() for segment in segments)
