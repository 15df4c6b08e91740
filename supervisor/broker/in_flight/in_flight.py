"""The table of leases and jobs that this broker holds. Used by the main thread only.

Keeps three things consistent: the jobs in memory, the lease files, and the spool's folders. A job may belong
to several leases (the same recording sent twice); it is lost only with the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from supervisor.broker.in_flight.in_flight_types import OWN_PHASES, Lease, LiveJob, Phase, Settled
from supervisor.broker.in_flight.lease_journal import LeaseJournal
from supervisor.broker.in_flight.outages import OutageReporter
from supervisor.broker.in_flight.spool import Spool
from supervisor.broker.ports.errors import TryLater
from supervisor.broker.rules.lease_timing import is_kept


class InFlight:
    """All leases by message id, and all live jobs by job id."""

    def __init__(self, files: LeaseJournal, spool: Spool, outages: OutageReporter) -> None:
        self.leases: dict[str, Lease] = {}
        self.jobs: dict[str, LiveJob] = {}
        self._files = files
        self._spool = spool
        self._outages = outages
        self._is_unsaved = False

    def add(self, lease: Lease, jobs: Iterable[LiveJob]) -> None:
        """Add a lease and its new jobs."""
        self.leases[lease.id] = lease
        for job in jobs:
            self.jobs.setdefault(job.id, job)
            lease.open.add(job.id)
        self.save(lease)

    def save(self, lease: Lease) -> None:
        """Write a changed lease to its file."""
        try:
            self._files.save(lease, self.jobs)
        except OSError as error:
            # Not fatal: a successor would know less, and the job would be redelivered later.
            self._is_unsaved = True
            trouble = TryLater("spool", f"leases can't be written down: {error.strerror}")
            self._outages.begin(trouble, by="leases")
            return
        if self._is_unsaved:
            self._is_unsaved = False
            self._outages.over("spool", by="leases")

    def move(self, job: LiveJob, phase: Phase, now_s: float, is_saved: bool = True) -> None:
        """Move a job to a phase, and save that."""
        job.phase, job.since_s, job.tries, job.is_aside = phase, now_s, 0, False
        for lease in self.leases_of(job) if is_saved else ():
            self.save(lease)

    def is_at(self, job: LiveJob, phase: Phase) -> bool:
        """Return whether this job is still live and in this phase."""
        return self.jobs.get(job.id) is job and job.phase is phase

    def leases_of(self, job: LiveJob) -> list[Lease]:
        """Return the leases that the job belongs to."""
        return [lease for lease in self.leases.values() if job.id in lease.open]

    def jobs_of(self, lease: Lease) -> list[LiveJob]:
        """Return the lease's live jobs."""
        return [self.jobs[job_id] for job_id in lease.open if job_id in self.jobs]

    def is_without_message(self, job: LiveJob) -> bool:
        """Return whether no queue will deliver this job again: all its messages were removed."""
        return all(lease.is_gone for lease in self.leases_of(job))

    def next_waiting(self) -> Optional[LiveJob]:
        """Return the next job to be started."""
        return next((job for job in self.jobs.values() if job.phase is Phase.WAITING), None)

    def receives(self, job: LiveJob) -> int:
        """Return how often the job was delivered, counting all copies of its message."""
        return max((lease.message.receives for lease in self.leases_of(job)), default=1)

    def settle(self, job: LiveJob, how: Settled, audio_s: Optional[float]) -> list[Lease]:
        """End a job. Returns the leases that have no open job left.

        The first of these leases removes the job's files and sends its Done (`audio_s` is None if the
        supervisor expects no Done).
        """
        touched = self._take_out(job, how)
        closing = [lease for lease in touched if not lease.open]
        for lease in closing[:1]:
            lease.clears.append(job.request.record_key)
            if audio_s is not None:
                lease.tell[job.id] = audio_s
        for lease in touched:
            self.save(lease)
        # Save the lease first: a successor that finds the job open must also find its files.
        self._spool.mark_for_removal(job.request.record_key)
        return closing

    def settle_waiting(self, lease: Lease, how: Settled) -> list[Lease]:
        """End a lease's jobs that were not started. Returns the leases that have no open job left."""
        touched: dict[str, Lease] = {}
        for job in self.jobs_of(lease):
            if job.phase is Phase.WAITING:
                touched.update((one.id, one) for one in self._take_out(job, how))
        for one in touched.values():
            self.save(one)
        return [one for one in touched.values() if not one.open]

    def _take_out(self, job: LiveJob, how: Settled) -> list[Lease]:
        leases = self.leases_of(job)
        for lease in leases:
            lease.open.discard(job.id)
            lease.settled[job.id] = how
        del self.jobs[job.id]
        return leases

    def remove(self, lease: Lease) -> list[LiveJob]:
        """Remove a lease that ended. Returns the jobs that are lost with it."""
        self.leases.pop(lease.id, None)
        self._files.forget(lease)
        jobs = self.jobs_of(lease)
        lost = [job for job in jobs if not self.leases_of(job)]
        for job in lost:
            del self.jobs[job.id]
            self._spool.keep_if_staged(job.request.record_key)
        return lost

    def makes_progress(self, lease: Lease, now_s: float) -> bool:
        """Return whether the lease may be extended: at least one of its jobs makes progress."""
        jobs = self.jobs_of(lease)
        if not jobs:
            return True  # only the message itself has still to be deleted or released
        if any(self._is_at_work(job, now_s) for job in jobs):
            return True
        # Waiting jobs count as making progress while any job on this host does.
        waits = any(job.phase is Phase.WAITING for job in jobs)
        return waits and any(self._is_at_work(job, now_s) for job in self.jobs.values())

    def _is_at_work(self, job: LiveJob, now_s: float) -> bool:
        return job.phase in OWN_PHASES or (job.phase is Phase.READY and is_kept(job.kept_at_s, now_s))

    def on_the_way(self) -> int:
        """Count the jobs that will become Ready unless something fails."""
        phases = [job.phase for job in self.jobs.values() if not job.is_aside]
        return phases.count(Phase.CLAIMING) + phases.count(Phase.FETCHING)

    def aside(self) -> int:
        """Count the jobs that are retried without occupying a place."""
        return sum(job.is_aside for job in self.jobs.values())

    def waiting(self) -> int:
        """Count the jobs that wait for a place."""
        return [job.phase for job in self.jobs.values()].count(Phase.WAITING)
