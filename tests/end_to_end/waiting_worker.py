"""A worker that is in the middle of a recording until a file says that it may be through with it.

Speaks the link as a real one does and moves on for ever; puts a job down at once when told. Stands in for
`python -m workerproc` where a test kills or stops what is around a worker: no model, and no recording that
is over before the test has done its deed. Started with the path of that file.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from bench.null_worker import Line, stage
from supervisor.contract import child_bootstrap
from supervisor.contract.wire.messages import (
    Beat,
    Drain,
    Job,
    JobCard,
    Progress,
    PutDown,
    Room,
    Staged,
    StopJob,
    Stopped,
    Up,
)

BEAT_S = 0.2
AUDIO_S = 3_600.0


class Held:
    """What it has, and what it says of it."""

    def __init__(self, line: Line, go: Path) -> None:
        self._line, self._go = line, go
        self._guard = threading.Lock()
        self._card: list[JobCard] = []
        self._is_leaving = False

    def hear(self, message: object) -> None:
        with self._guard:
            if isinstance(message, Job):
                self._card = [message.card]
                self._line.say(Room(0, 1))
            elif isinstance(message, (PutDown, StopJob)) and self._card:
                self._card = []
                told = (Stopped(message.job_id),) if isinstance(message, PutDown) else ()
                self._line.say(*told, Room(0 if self._is_leaving else 1, 0))
            self._is_leaving = self._is_leaving or isinstance(message, Drain)
            self._leave_if_told()

    def move(self) -> None:
        """Beat for ever, and be through with what there is once the file is there."""
        moves = 0
        while True:
            time.sleep(BEAT_S)
            moves += 1
            with self._guard:
                jobs = tuple(
                    Progress(card.job_id, "transcribing", 1.0 + moves / 1_000, AUDIO_S) for card in self._card
                )
                self._line.say(Beat("working" if jobs else "idle", moves, jobs))
                if self._card and self._go.exists():
                    (card,) = self._card
                    try:
                        stage(card)
                    except FileNotFoundError:
                        continue  # the lease was lost and the folder is gone: a StopJob is on its way
                    self._card = []
                    self._line.say(Staged(card.job_id, 1.0, 0.0), Room(0 if self._is_leaving else 1, 0))
                    self._leave_if_told()

    def _leave_if_told(self) -> None:
        if self._is_leaving and not self._card:
            os._exit(0)


def main() -> None:
    line = Line(child_bootstrap.link())
    held = Held(line, Path(sys.argv[1]))
    line.say(Up("held"), Room(1))
    threading.Thread(target=held.move, daemon=True).start()
    for message in line.heard():
        held.hear(message)


if __name__ == "__main__":
    main()
