"""A real worker that may take little more memory from the moment at which it loads its model."""

from __future__ import annotations

import resource
import sys
from typing import Any

MORE_BYTES = 40 * 1024**2  # the smallest model has 75 MB


def taken_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def tighten() -> None:
    from workerproc.engine.whisper import recogniser

    class Tight(recogniser.Recogniser):
        def __init__(self, *args: Any) -> None:
            most = taken_bytes() + MORE_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
            super().__init__(*args)

    recogniser.Recogniser = Tight  # type: ignore[misc]


if __name__ == "__main__":
    from supervisor.contract import child_bootstrap
    from workerproc import __main__ as worker
    from workerproc.process import startup

    startup.die_with(child_bootstrap.parent_pid())
    startup.hold_signals()  # before the engine makes threads
    tighten()
    sys.exit(worker.main([]))
