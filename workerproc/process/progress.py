"""What this worker is doing, as its beats tell it: written by the threads that work, read by others.

`moves` only ever grows, and only by achievements: bytes read, packets decoded, a VAD
window, an encode, a generate. A thread that merely lives never touches it. Each thread
works on one job at a time, from `begin` to `end`; the board knows which. It also holds
what must reach that thread in mid-job: which jobs are to be forgotten, or put down.

One recording may come again while its earlier attempt is still here, stopped but in the middle of a native
call. So each arrival has a ticket of its own: an order is for one attempt, and a later one waits for the
end of the earlier, so that two threads never work on one recording.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Optional

from supervisor.contract.wire.messages import Beat, Progress
from workerproc.process.errors import JobPutDown, JobStopped


@dataclass(eq=False)
class Ticket:
    """One arrival of a job, from `await_job` to `end`. Its fields belong to the board."""

    job_id: str
    attempt: int
    order: Optional[type[JobStopped]] = None  # what it is to end with before its time, if it is
    is_begun: bool = False  # the engine had a window of it
    progress: Optional[Progress] = None  # from `begin` on


class ProgressBoard:
    """One worker's progress, safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._phase = "loading"
        self._moves = 0
        self._tickets: list[Ticket] = []  # of all that is here, oldest first
        self._mine = threading.local()  # .ticket: the one that this thread works on

    def beat(self) -> Beat:
        """Give the present state as a message."""
        with self._changed:
            begun = tuple(ticket.progress for ticket in self._tickets if ticket.progress is not None)
            return Beat(self._phase, self._moves, begun)

    @property
    def known_count(self) -> int:
        """How many jobs are here, begun or not."""
        with self._changed:
            return len(self._tickets)

    @property
    def is_idle(self) -> bool:
        """True while no job is here or on its way to the main thread: it has nothing to tell."""
        with self._changed:
            return self._phase == "idle" and not self._tickets

    @property
    def has_nothing_to_finish(self) -> bool:
        """True before the worker is ready: leaving then leaves no work behind."""
        with self._changed:
            return self._phase in ("loading", "warming")

    @property
    def mine(self) -> Optional[Ticket]:
        """The job that this thread works on."""
        ticket: Optional[Ticket] = getattr(self._mine, "ticket", None)
        return ticket

    def enter(self, phase: str) -> None:
        """Say what the worker does from now on: loading, warming or idle."""
        with self._changed:
            self._phase = phase
            self._moves += 1

    def await_job(self, job_id: str, attempt: int) -> Ticket:
        """Know of a job that will begin; from now on it can be stopped."""
        ticket = Ticket(job_id, attempt)
        with self._changed:
            self._tickets.append(ticket)
        return ticket

    def begin(self, ticket: Ticket) -> None:
        """Take up a job in this thread, once an earlier attempt has left. Raises as `heed` and `step` do."""
        self._mine.ticket, self._mine.is_in_windows = ticket, False
        with self._changed:
            self._changed.wait_for(lambda: ticket.order is not None or not self._has_earlier(ticket))
            self._phase = "working"
            ticket.progress = Progress(ticket.job_id, "decoding", 0.0, 0.0, ticket.attempt)
        self.step()

    def _has_earlier(self, ticket: Ticket) -> bool:
        earlier = self._tickets[: self._tickets.index(ticket)]
        return any(one.job_id == ticket.job_id for one in earlier)

    def join(self, ticket: Optional[Ticket]) -> None:
        """Work on a job that another thread took up: it can be stopped here as well."""
        self._mine.ticket = ticket

    def end(self, ticket: Ticket) -> None:
        """Lay the job down, whatever became of it."""
        self._mine.ticket = None
        with self._changed:
            self._moves += 1
            self._tickets.remove(ticket)
            if all(one.progress is None for one in self._tickets):
                self._phase = "idle"
            self._changed.notify_all()

    def stop(self, job_id: str, attempt: int = 0) -> bool:
        """Ask the thread that has this job to forget it; False where it is not, or no longer, ours.

        `attempt` 0: whichever is here.
        """
        return self._order(job_id, attempt, JobStopped)

    def spare(self, job_id: str, attempt: int = 0) -> bool:
        """As `put_down`, but for a job whose first window is through the engine: False, and it goes on."""
        with self._changed:
            is_begun = any(one.is_begun for one in self._named(job_id, attempt))
        return not is_begun and self.put_down(job_id, attempt)

    def put_down(self, job_id: str, attempt: int = 0) -> bool:
        """Ask the thread that has this job to write a checkpoint and forget it; False as for `stop`."""
        return self._order(job_id, attempt, JobPutDown)

    def _named(self, job_id: str, attempt: int) -> list[Ticket]:
        return [one for one in self._tickets if one.job_id == job_id and attempt in (0, one.attempt)]

    def _order(self, job_id: str, attempt: int, how: type[JobStopped]) -> bool:
        with self._changed:
            named = self._named(job_id, attempt)
            for ticket in named:
                if ticket.order is not JobStopped:  # what is no longer ours needs no checkpoint either
                    ticket.order = how
            self._changed.notify_all()
            return bool(named)

    def heed(self) -> None:
        """Raise `JobStopped` or `JobPutDown` where this thread's job is to end so; for where it waits.

        What a window had reached is lost then: another worker has done it again before this one could
        tell that it was through.
        """
        ticket = self.mine
        if ticket is not None and ticket.order is not None:
            raise ticket.order(ticket.job_id)

    def step(self) -> None:
        """Count one achievement. Raises `JobStopped` or `JobPutDown` where this thread's job is to end so.

        Not `JobPutDown` once a window is through the engine: its text is on the way, and takes no time.
        """
        ticket = self.mine
        with self._changed:
            self._moves += 1
            order = ticket.order if ticket is not None else None
        if order is JobPutDown and getattr(self._mine, "is_in_windows", False):
            return
        if order is not None and ticket is not None:
            raise order(ticket.job_id)

    def begin_window(self) -> None:
        """Say that this thread's job stands between two windows. Raises as `step` does, and `JobPutDown`."""
        self._mine.is_in_windows = False
        self.step()
        self._mine.is_in_windows = True
        ticket = self.mine
        if ticket is not None:
            ticket.is_begun = True

    def reach(self, phase: str, done_s: float, audio_s: float) -> None:
        """Say how far this thread's job is, and count it. Raises as `step` does."""
        ticket = self.mine
        if ticket is not None:
            ticket.progress = Progress(ticket.job_id, phase, done_s, audio_s, ticket.attempt)
        self.step()
