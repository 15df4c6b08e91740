"""SQLite connections: durable, one per thread, with a schema version.

Every change is one `BEGIN IMMEDIATE` transaction. A lasting change is on the disk before `change` returns. A
fleeting one survives the death of every process, but a power failure only once a lasting change was written
after it: the log is read in order, so no change survives without all earlier ones. SQLite writes the log;
this module syncs it after the write lock was released, so that the disk delays no other writer, and all
waiting writers share one sync (docs/decisions/0009). A database with a newer schema is not opened.
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
_LOG_PAGES = 4_000  # 16 MB; then SQLite checkpoints the log, which delays all writers


class Database:
    """One database file, used by many threads and processes at once."""

    def __init__(self, path: Path, version: int, schema: str, where: str) -> None:
        self._path = path
        self._where = where
        self._mine = threading.local()
        # One writer at a time: SQLite itself would make threads sleep and retry.
        self._turn = threading.Lock()
        self._log: Optional[SharedSync] = SharedSync(path.with_name(f"{path.name}-wal"))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._errors():
            self._prepare(version, schema)

    @contextmanager
    def change(self, fleeting: bool = False) -> Iterator[sqlite3.Connection]:
        """Run one transaction: it is applied completely, or not at all after an error."""
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
        """Read without blocking writers."""
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
        else:  # a file system without shared memory: each change syncs what it writes
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
