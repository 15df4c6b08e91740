"""Progress of the worker, which its heartbeats report, and requests to stop or suspend its jobs.

`moves` is a counter that increases with each unit of work: packets decoded, a VAD window, an encode, a
generate. A thread that is alive but makes no progress does not increase it. Each thread works on one job at
a time, from `begin` to `end`. Requests to stop or suspend a job are stored here, and are raised as exceptions
in the thread that runs the job.

A recording may be delivered again while its earlier attempt is still inside a native call. So each delivery
has its own ticket: a request applies to one attempt, and a later attempt waits until the earlier one has
ended, so that two threads never work on the same recording.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Optional

from supervisor.contract.wire.messages import Beat, Progress
from workerproc.process.errors import JobPutDown, JobStopped


@dataclass(eq=False)
class Ticket:
    """One delivery of a job, from `await_job` to `end`. Only `ProgressBoard` accesses its fields."""

    job_id: str
    attempt: int
    order: Optional[type[JobStopped]] = None  # the exception that ends it early, if requested
    is_begun: bool = False  # the engine has processed a window of it
    progress: Optional[Progress] = None  # from `begin` on


class ProgressBoard:
    """One worker's progress, safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._phase = "loading"
        self._moves = 0
        self._tickets: list[Ticket] = []  # of all jobs here, oldest first
        self._mine = threading.local()  # .ticket: of the job that this thread works on

    def beat(self) -> Beat:
        """Return the current state as a heartbeat message."""
        with self._changed:
            begun = tuple(ticket.progress for ticket in self._tickets if ticket.progress is not None)
            return Beat(self._phase, self._moves, begun)

    @property
    def known_count(self) -> int:
        """How many jobs this worker has, started or not."""
        with self._changed:
            return len(self._tickets)

    @property
    def is_idle(self) -> bool:
        """True while the worker has no job, started or waiting."""
        with self._changed:
            return self._phase == "idle" and not self._tickets

    @property
    def has_nothing_to_finish(self) -> bool:
        """True before the worker is ready: it can exit without losing work."""
        with self._changed:
            return self._phase in ("loading", "warming")

    @property
    def mine(self) -> Optional[Ticket]:
        """The job that this thread works on."""
        ticket: Optional[Ticket] = getattr(self._mine, "ticket", None)
        return ticket

    def enter(self, phase: str) -> None:
        """Set the worker's phase: loading, warming or idle."""
        with self._changed:
            self._phase = phase
            self._moves += 1

    def await_job(self, job_id: str, attempt: int) -> Ticket:
        """Register a job that will start; from now on it can be stopped."""
        ticket = Ticket(job_id, attempt)
        with self._changed:
            self._tickets.append(ticket)
        return ticket

    def begin(self, ticket: Ticket) -> None:
        """Start a job in this thread once its earlier attempt has ended.

        Raises as `raise_if_stopped` and `step` do.
        """
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
        """Let this thread work on a job that another thread started: stopping it stops this thread too."""
        self._mine.ticket = ticket

    def end(self, ticket: Ticket) -> None:
        """End the job, whatever its outcome."""
        self._mine.ticket = None
        with self._changed:
            self._moves += 1
            self._tickets.remove(ticket)
            if all(one.progress is None for one in self._tickets):
                self._phase = "idle"
            self._changed.notify_all()

    def stop(self, job_id: str, attempt: int = 0) -> bool:
        """Request that this job be stopped; False where this worker does not have it.

        `attempt` 0: any attempt.
        """
        return self._order(job_id, attempt, JobStopped)

    def spare(self, job_id: str, attempt: int = 0) -> bool:
        """Do `put_down`, unless the engine has processed a window of the job: then return False."""
        with self._changed:
            is_begun = any(one.is_begun for one in self._named(job_id, attempt))
        return not is_begun and self.put_down(job_id, attempt)

    def put_down(self, job_id: str, attempt: int = 0) -> bool:
        """Request that this job write a checkpoint and end; returns False as `stop` does."""
        return self._order(job_id, attempt, JobPutDown)

    def _named(self, job_id: str, attempt: int) -> list[Ticket]:
        return [one for one in self._tickets if one.job_id == job_id and attempt in (0, one.attempt)]

    def _order(self, job_id: str, attempt: int, how: type[JobStopped]) -> bool:
        with self._changed:
            named = self._named(job_id, attempt)
            for ticket in named:
                if ticket.order is not JobStopped:  # a stopped job needs no checkpoint
                    ticket.order = how
            self._changed.notify_all()
            return bool(named)

    def raise_if_stopped(self) -> None:
        """Raise `JobStopped` or `JobPutDown` if requested for this thread's job. Called while a thread waits.

        The current window is lost: another worker can redo it before this thread would have finished it.
        """
        ticket = self.mine
        if ticket is not None and ticket.order is not None:
            raise ticket.order(ticket.job_id)

    def step(self) -> None:
        """Count a unit of work. Raises `JobStopped` or `JobPutDown` if requested for this thread's job.

        `JobPutDown` is deferred to the end of the current window, whose text is almost ready.
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
        """Note that this thread's job is between two windows. Raises any requested `JobStopped`."""
        self._mine.is_in_windows = False
        self.step()
        self._mine.is_in_windows = True
        ticket = self.mine
        if ticket is not None:
            ticket.is_begun = True

    def reach(self, phase: str, done_s: float, audio_s: float) -> None:
        """Set the progress of this thread's job and count a unit of work. Raises as `step` does."""
        ticket = self.mine
        if ticket is not None:
            ticket.progress = Progress(ticket.job_id, phase, done_s, audio_s, ticket.attempt)
        self.step()
