"""The measurements, each of one running crew: lives, idleness, endings. Lengths in seconds."""

from __future__ import annotations

import os
import select
import signal
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tools import Crew, Tool, alive, now_s

GONE_LIMIT_S = 20.0
SURVIVE_S = 3.0  # a child that lives so long after its manager's SIGKILL is called a survivor
BETWEEN_KILLS_S = 0.05


@dataclass
class Figures:
    """All values of all rounds: what is measured -> tool -> values."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, what: str, tool: str, *values: float) -> None:
        self.values[what].setdefault(tool, []).extend(values)

    def median(self, what: str, tool: str) -> float:
        return statistics.median(self.values[what][tool])


def kills(provisioner: Crew, most: int) -> list[float]:
    """SIGKILL workers one by one, each once: seconds until a replacement ran its first statement."""
    took_s = []
    for old in provisioner.pids[:most]:
        took_s.append(provisioner.end_and_wait(old))
        time.sleep(BETWEEN_KILLS_S)
    return took_s


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds that these processes have used, to the nanosecond, all threads."""
    used_ns = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            used_ns += int((task / "schedstat").read_text().split()[0])
    return used_ns / 1e9


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory of these processes, shared pages counted in each."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in pids)


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def idle_cpu_s(provisioner: Crew, during_s: float) -> float:
    """CPU seconds of the managers while nothing happens."""
    before_s = cpu_s(provisioner.managers())
    time.sleep(during_s)
    return cpu_s(provisioner.managers()) - before_s


def stop(provisioner: Crew, tool: Tool) -> float:
    """Ask it to end; seconds until it, its helpers and all workers are gone."""
    return _until_gone(provisioner, provisioner.everybody(), tool.stop_signal, GONE_LIMIT_S)


def survivors(provisioner: Crew) -> tuple[float, int]:
    """SIGKILL the manager itself: seconds until its workers are gone, and how many are not."""
    workers = [pid for pid in provisioner.pids if alive(pid)]
    took_s = _until_gone(provisioner, workers, signal.SIGKILL, SURVIVE_S)
    return took_s, sum(alive(pid) for pid in workers)


def status_s(provisioner: Crew, tool: Tool) -> float | None:
    """Wall time of the command that shows the workers to a person."""
    command = tool.status(provisioner.folder)
    if not command:
        return None
    began_s = time.perf_counter()
    done = subprocess.run(
        command, env=provisioner.environment, cwd=provisioner.folder, capture_output=True, check=False
    )
    took_s = time.perf_counter() - began_s
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout[-500:]!r} {done.stderr[-500:]!r}")
    return took_s


def _until_gone(provisioner: Crew, pids: list[int], signum: int, limit_s: float) -> float:
    """Signal the manager and wait for the end of all these processes, at most so long."""
    poll = select.poll()
    waiting = {os.pidfd_open(pid) for pid in pids}
    everything = list(waiting)
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    began_at_s = now_s()
    os.kill(provisioner.process.pid, signum)
    while waiting and now_s() - began_at_s < limit_s:
        for fd, _ in poll.poll(50):
            poll.unregister(fd)
            waiting.discard(fd)
    took_s = now_s() - began_at_s
    for fd in everything:
        os.close(fd)
    return took_s
