"""What the benchmark asks of every process manager: to keep N trivial workers alive.

A `Tool` knows how one manager is configured and started; a `Provisioner` is one that runs. All of them
start `trivial_worker.sh`, except gunicorn, which knows no worker but a fork of itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).resolve().parent
BIRTH_LIMIT_S = 60.0
SETTLED_S = 1.5  # supervisord's startsecs and runit's own second are over by then


class NotSeen(Exception):
    """A worker that should have come did not."""


class Births:
    """The FIFO into which each worker says its pid with its first statement."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""

    def next(self, limit_s: float = BIRTH_LIMIT_S) -> tuple[list[int], float]:
        """Wait for the next births: their pids, and when they were heard."""
        if not select.select([self._fd], [], [], limit_s)[0]:
            raise NotSeen(f"no worker was born within {limit_s:.0f} s")
        heard_at_s = now_s()
        *lines, self._rest = (self._rest + os.read(self._fd, 65_536)).split(b"\n")
        return [int(line) for line in lines], heard_at_s

    def all(self, count: int, limit_s: float = BIRTH_LIMIT_S) -> list[int]:
        """Wait until so many workers were born."""
        pids: list[int] = []
        while len(pids) < count:
            pids += self.next(limit_s)[0]
        return pids

    def close(self) -> None:
        os.close(self._fd)


@dataclass
class Crew:
    """One manager at work, with its workers."""

    process: subprocess.Popen[bytes]
    births: Births
    folder: Path
    environment: dict[str, str]
    pids: list[int] = field(default_factory=list)  # of the workers, as they were born

    def managers(self) -> list[int]:
        """The processes that manage: the one we started, and helpers of it that are no workers."""
        return [self.process.pid]

    def everybody(self) -> list[int]:
        """All processes of this crew that are alive."""
        return [pid for pid in {*self.managers(), *self.pids} if alive(pid)]

    def end_and_wait(self, old: int) -> float:
        """Kill a worker; give the seconds until its replacement ran its first statement."""
        began_at_s = now_s()
        os.kill(old, signal.SIGKILL)
        (new,), heard_at_s = self.births.next()
        self.pids[self.pids.index(old)] = new
        return heard_at_s - began_at_s


class Tool(Protocol):
    """A process manager that can be measured."""

    name: str

    def command(self, slots: int, folder: Path, fifo: Path) -> tuple[Sequence[str], dict[str, str]]:
        """Write what it needs into `folder`; give its command line and what it adds to the environment."""

    provisioner: type[Crew]

    def wait_settled(self, provisioner: Crew, slots: int) -> None:
        """Wait until it calls its workers running, so that a death counts as one after a good life."""

    def status(self, folder: Path) -> Sequence[str]:
        """The command that shows its workers to a person; empty where there is none."""

    stop_signal: int


@contextlib.contextmanager
def running(tool: Tool, slots: int, folder: Path) -> Iterator[Crew]:
    """Start a tool with so many workers, all born and settled; afterwards nothing of it is left."""
    folder.mkdir(parents=True)
    births = Births(folder / "births")
    command, more = tool.command(slots, folder, births.path)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **more}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    provisioner = tool.provisioner(process, births, folder, environment)
    try:
        provisioner.pids = births.all(slots)
        tool.wait_settled(provisioner, slots)
        provisioner.managers()  # helpers are known from now on, whoever dies first
        yield provisioner
    finally:
        _clear(provisioner)
        births.close()


def _clear(provisioner: Crew) -> None:
    """End what is left, the managers first: they would start workers again."""
    left = provisioner.everybody()
    for pid in [pid for pid in left if pid not in provisioner.pids] + [
        pid for pid in left if pid in provisioner.pids
    ]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    provisioner.process.wait()
    with contextlib.suppress(NotSeen):  # who was born while we looked away
        while True:
            for pid in provisioner.births.next(0.3)[0]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def alive(pid: int) -> bool:
    """Say whether a process runs; one that is dead and not yet reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    try:
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []
