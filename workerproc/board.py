"""What this worker is doing, as its beats tell it: written by the threads that work, read by others.

`moves` only ever grows, and only by achievements: bytes read, packets decoded, a VAD
window, an encode, a generate. A thread that merely lives never touches it. Each thread
works on one job at a time, from `begin` to `end`; the board knows which. It also holds
what must reach that thread in mid-job: which jobs are to be forgotten, or put down.
"""

from __future__ import annotations

import threading
from typing import Optional

from supervisor.contract.messages import Beat, Progress
from workerproc.errors import JobPutDown, JobStopped


class Board:
    """One worker's progress, safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phase = "loading"
        self._moves = 0
        self._present: dict[str, Progress] = {}
        # Every job heard of and not ended, with what it is to end with before its time, if it is.
        self._known: dict[str, Optional[type[JobStopped]]] = {}
        self._begun: set[str] = set()  # jobs that the engine had a window of
        self._mine = threading.local()  # .job_id: the one that this thread works on

    def beat(self) -> Beat:
        """Give the present state as a message."""
        with self._lock:
            return Beat(self._phase, self._moves, tuple(self._present.values()))

    @property
    def known_count(self) -> int:
        """How many jobs are here, begun or not."""
        with self._lock:
            return len(self._known)

    @property
    def is_idle(self) -> bool:
        """True while no job is here or on its way to the main thread: it has nothing to tell."""
        with self._lock:
            return self._phase == "idle" and not self._known

    @property
    def has_nothing_to_finish(self) -> bool:
        """True before the worker is ready: leaving then leaves no work behind."""
        with self._lock:
            return self._phase in ("loading", "warming")

    def enter(self, phase: str) -> None:
        """Say what the worker does from now on: loading, warming or idle."""
        with self._lock:
            self._phase = phase
            self._moves += 1

    def await_job(self, job_id: str) -> None:
        """Know of a job that will begin; from now on it can be stopped."""
        with self._lock:
            self._known[job_id] = None

    def begin(self, job_id: str) -> None:
        """Take up a job in this thread. Raises as `step` does where that was asked before."""
        self._mine.job_id, self._mine.is_in_windows = job_id, False
        with self._lock:
            self._phase = "working"
            self._known.setdefault(job_id, None)
            self._present[job_id] = Progress(job_id, "decoding", 0.0, 0.0)
        self.step()

    def join(self, job_id: str) -> None:
        """Work on a job that another thread took up: it can be stopped here as well."""
        self._mine.job_id = job_id

    def end(self, job_id: str) -> None:
        """Lay the job down, whatever became of it."""
        self._mine.job_id = None
        with self._lock:
            self._moves += 1
            self._present.pop(job_id, None)
            self._known.pop(job_id, None)
            self._begun.discard(job_id)
            if not self._present:
                self._phase = "idle"

    def stop(self, job_id: str) -> bool:
        """Ask the thread that has this job to forget it; False where it is not, or no longer, ours."""
        return self._order(job_id, JobStopped)

    def spare(self, job_id: str) -> bool:
        """As `put_down`, but for a job whose first window is through the engine: False, and it goes on."""
        with self._lock:
            is_begun = job_id in self._begun
        return not is_begun and self.put_down(job_id)

    def put_down(self, job_id: str) -> bool:
        """Ask the thread that has this job to write a checkpoint and forget it; False as for `stop`."""
        return self._order(job_id, JobPutDown)

    def _order(self, job_id: str, how: type[JobStopped]) -> bool:
        with self._lock:
            if job_id not in self._known:
                return False
            if self._known[job_id] is not JobStopped:  # what is no longer ours needs no checkpoint either
                self._known[job_id] = how
            return True

    def heed(self) -> None:
        """Raise `JobStopped` or `JobPutDown` where this thread's job is to end so; for where it waits.

        What a window had reached is lost then: another worker has done it again before this one could
        tell that it was through.
        """
        job_id: Optional[str] = getattr(self._mine, "job_id", None)
        with self._lock:
            order = self._known.get(job_id) if job_id is not None else None
        if order is not None:
            raise order(job_id)

    def step(self) -> None:
        """Count one achievement. Raises `JobStopped` or `JobPutDown` where this thread's job is to end so.

        Not `JobPutDown` once a window is through the engine: its text is on the way, and takes no time.
        """
        job_id: Optional[str] = getattr(self._mine, "job_id", None)
        with self._lock:
            self._moves += 1
            order = self._known.get(job_id) if job_id is not None else None
        if order is JobPutDown and getattr(self._mine, "is_in_windows", False):
            return
        if order is not None:
            raise order(job_id)

    def begin_window(self) -> None:
        """Say that this thread's job stands between two windows. Raises as `step` does, and `JobPutDown`."""
        self._mine.is_in_windows = False
        self.step()
        self._mine.is_in_windows = True
        with self._lock:
            self._begun.add(self._mine.job_id)

    def reach(self, phase: str, done_s: float, audio_s: float) -> None:
        """Say how far this thread's job is, and count it. Raises as `step` does."""
        job_id: Optional[str] = getattr(self._mine, "job_id", None)
        if job_id is not None:
            with self._lock:
                self._present[job_id] = Progress(job_id, phase, done_s, audio_s)
        self.step()
