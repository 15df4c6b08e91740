"""SQLite connections: durable, one per thread, with a schema version.

Every change stands in one `BEGIN IMMEDIATE` transaction. What is lasting is on the disk
before `change` returns. What is fleeting outlives every process at once, and a power cut
only once something lasting was written after it: the log is read in order, so nothing is
ever kept without all that came before. SQLite writes the log, and here it is synced, after
the write lock was given back: the disk's milliseconds hold nobody else up, and all who wait
share one sync (docs/decisions/0009). A database with a newer schema is left alone.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from supervisor.broker.backends.fsync import SharedSync
from supervisor.broker.ports.errors import CannotServe, TryLater

BUSY_S = 10.0
_LOG_PAGES = 4_000  # 16 MB, then SQLite moves them to their places, which holds everybody up


class Database:
    """One file, used by many threads and processes at once."""

    def __init__(self, path: Path, version: int, schema: str, where: str) -> None:
        self._path = path
        self._where = where
        self._mine = threading.local()
        # In turn: SQLite itself would let threads sleep and try again.
        self._turn = threading.Lock()
        self._log: Optional[SharedSync] = SharedSync(path.with_name(f"{path.name}-wal"))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._errors():
            self._prepare(version, schema)

    @contextmanager
    def change(self, fleeting: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it happens, or none of it after an error."""
        with self._errors():
            connection = self._connection()
            with self._turn:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            if self._log is not None and not fleeting:
                self._log.wait()

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Read without holding anybody up."""
        with self._errors():
            return self._connection().execute(query, values).fetchall()

    def _connection(self) -> sqlite3.Connection:
        found = getattr(self._mine, "connection", None)
        if isinstance(found, sqlite3.Connection):
            return found
        connection = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
        connection.row_factory = sqlite3.Row
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode == "wal":
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
        else:  # a filesystem without shared memory: each change then syncs what it writes
            connection.execute("PRAGMA synchronous=FULL")
            self._log = None
        self._mine.connection = connection
        return connection

    def _prepare(self, version: int, schema: str) -> None:
        connection = self._connection()
        self._path.chmod(0o600)
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            for statement in schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={version}")
        connection.execute("COMMIT")
        if found > version:
            raise CannotServe(
                f"{self._path} was written by a newer version of this program (schema {found}, "
                f"this one knows {version}). Update the program, or name another folder in [local] folder."
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, OSError) as error:
            raise TryLater(self._where, f"{self._path}: {error}") from error
