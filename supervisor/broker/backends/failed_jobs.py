"""Failed jobs of this host, listed by `jobs --failed` on every backend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from supervisor.broker.backends.database import Database
from supervisor.contract import clock

VERSION = 1
MAX_KEPT = 10_000
_MAX_BODY_CHARS = 262_144
_SCHEMA = """
CREATE TABLE failed (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL,
    message_id TEXT NOT NULL, reason TEXT NOT NULL, failure TEXT NOT NULL, attempt INTEGER NOT NULL,
    failed_unix_s REAL NOT NULL, body TEXT NOT NULL)
"""


@dataclass(frozen=True)
class FailedJob:
    """One failed job, or one invalid message (its id is then the message's)."""

    id: str
    user_id: str
    message_id: str
    reason: str
    failure: str
    attempt: int
    body: str
    failed_unix_s: float = 0.0


class FailedJobs:
    """The last 10,000 failures, one per id."""

    def __init__(self, state_dir: Path, max_kept: int = MAX_KEPT) -> None:
        self._max_kept = max_kept
        self._database = Database(state_dir / "jobs.db", VERSION, _SCHEMA, "spool")

    def keep(self, job: FailedJob) -> None:
        """Save a failure; it replaces an older one with the same id."""
        with self._database.change() as tx:
            tx.execute(
                "INSERT OR REPLACE INTO failed"
                " (id, user_id, message_id, reason, failure, attempt, failed_unix_s, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job.id,
                    job.user_id,
                    job.message_id,
                    job.reason,
                    job.failure,
                    job.attempt,
                    clock.wall_unix_s(),
                    job.body.encode("utf-8", "replace").decode("utf-8")[:_MAX_BODY_CHARS],
                ),
            )
            tx.execute("DELETE FROM failed WHERE seq <= (SELECT max(seq) FROM failed) - ?", (self._max_kept,))

    def keep_found(self, job: FailedJob) -> None:
        """Save a failure found in a record, unless this host saved one itself, which has more details."""
        known = self._database.rows("SELECT 1 FROM failed WHERE id = ?", job.id)
        if not known:
            self.keep(job)

    def newest_first(self) -> list[FailedJob]:
        """Return all failures, the newest first."""
        rows = self._database.rows("SELECT * FROM failed ORDER BY seq DESC")
        names = ("id", "user_id", "message_id", "reason", "failure", "attempt", "body", "failed_unix_s")
        return [FailedJob(*(row[name] for name in names)) for row in rows]

    def forget(self, job_id: str) -> None:
        """Remove a job that is retried."""
        with self._database.change() as tx:
            tx.execute("DELETE FROM failed WHERE id = ?", (job_id,))
