"""The floor: the least Python that replaces workers, for judging what ours and the others add.

A pidfd for each worker, waitid, posix_spawn of the same trivial worker: no log, no state, no locks, no
messages, no back-off. Whoever is faster than this measured something else.

    python bench/floor.py SLOTS FIFO
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import HERE, SETTLED_S, Crew

REST = ("sleep", "100000")


class Floor:
    name = "floor"
    stop_signal: int = signal.SIGTERM
    provisioner: type[Crew] = Crew

    def command(self, slots: int, folder: Path, fifo: Path) -> tuple[Sequence[str], dict[str, str]]:
        return (sys.executable, str(HERE / "floor.py"), str(slots), str(fifo)), {}

    def wait_settled(self, provisioner: Crew, slots: int) -> None:
        select.select([], [], [], SETTLED_S)

    def status(self, folder: Path) -> Sequence[str]:
        return ()


def keep_alive(slots: int, fifo: str) -> None:
    """Replace every worker that ends, until SIGTERM."""
    command = ["/bin/sh", str(HERE / "trivial_worker.sh"), fifo, *REST]
    poll = select.epoll()
    pids: dict[int, int] = {}

    def start() -> None:
        pid = os.posix_spawn(command[0], command, os.environ, setsid=True)
        fd = os.pidfd_open(pid)
        pids[fd] = pid
        poll.register(fd, select.EPOLLIN)

    def stop(*_: object) -> None:
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        for pid in pids.values():
            os.waitpid(pid, 0)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    for _ in range(slots):
        start()
    while True:
        for fd, _events in poll.poll():
            os.waitid(os.P_PIDFD, fd, os.WEXITED)
            poll.unregister(fd)
            os.close(fd)
            del pids[fd]
            start()


if __name__ == "__main__":
    keep_alive(int(sys.argv[1]), sys.argv[2])
