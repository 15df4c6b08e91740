"""A worker that is never through: speaks the link as a real one does, puts a job down at once when told.

SIGUSR1 is its device's end. Stands in for `python -m workerproc` where a bench measures handing over.
"""

from __future__ import annotations

import os
import signal
import threading

from bench.null_worker import Line
from supervisor.contract import child_bootstrap
from supervisor.contract.exits import Exit
from supervisor.contract.wire.messages import (
    Drain,
    Job,
    PutDown,
    Room,
    Stopped,
    Up,
)


def main() -> None:
    signal.signal(signal.SIGUSR1, lambda number, frame: os._exit(Exit.DEVICE_BROKEN))
    line = Line(child_bootstrap.link())
    line.say(Up("busy"), Room(1))
    threading.Thread(target=line.beat, daemon=True).start()
    jobs: set[str] = set()
    is_leaving = False
    for message in line.heard():
        if isinstance(message, Job):
            jobs.add(message.card.job_id)
            line.say(Room(0, 1))
        elif isinstance(message, PutDown):
            jobs.discard(message.job_id)
            line.say(Stopped(message.job_id), Room(0, 0))
        is_leaving = is_leaving or isinstance(message, Drain)
        if is_leaving and not jobs:
            os._exit(0)


if __name__ == "__main__":
    main()
