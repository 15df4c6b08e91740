"""JobQueue and RecordTable in one SQLite file, with the semantics of SQS and DynamoDB.

Several services on one host may share the folder. Visibility deadlines are times of the host clock, saved
with the boot id; after a reboot all messages become visible, since no holder is alive. So neither leases nor
deletions need to survive a power failure: a message that comes back finds its record DONE.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Optional, Union

from supervisor.broker.backends.database import Database
from supervisor.broker.ports import conditions
from supervisor.broker.ports.ports import (
    NO_FACTS,
    REMOVED,
    Applied,
    Change,
    Counts,
    Item,
    Message,
    RecordKey,
    Refused,
)
from supervisor.broker.ports.rem_table import key_attributes
from supervisor.contract import clock

VERSION = 1
RAW_BUCKET = "raw"
TRANSCRIPTS_BUCKET = "transcripts"
_FIRST_POLL_S = 0.01
_LONGEST_POLL_S = 0.05  # an idle queue is polled 20 times a second: 0.1 % of a core
_SCHEMA = """
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
    sent_unix_s REAL NOT NULL, visible_at_s REAL NOT NULL DEFAULT 0, handle TEXT NOT NULL DEFAULT '',
    receives INTEGER NOT NULL DEFAULT 0);
CREATE INDEX messages_by_turn ON messages (visible_at_s, seq);
CREATE INDEX messages_by_handle ON messages (handle);
CREATE TABLE dead_letters (
    id TEXT PRIMARY KEY, body TEXT NOT NULL, reason TEXT NOT NULL, dead_unix_s REAL NOT NULL,
    receives INTEGER NOT NULL);
CREATE TABLE records (
    user_id TEXT NOT NULL, recording_id TEXT NOT NULL, item TEXT NOT NULL,
    PRIMARY KEY (user_id, recording_id));
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)
"""


def open_database(folder: Path) -> Database:
    """Open or create the folder's database. Raises CannotServe on a newer schema."""
    database = Database(folder / "queue.db", VERSION, _SCHEMA, "queue")
    _forget_other_boots(database)
    return database


def _forget_other_boots(database: Database) -> None:
    """Make all messages visible that were in flight before this boot."""
    boot_id = clock.boot_id()
    with database.change() as tx:
        known = tx.execute("SELECT value FROM meta WHERE name = 'boot_id'").fetchone()
        if known is None or known["value"] != boot_id:
            tx.execute("UPDATE messages SET visible_at_s = 0, handle = '' WHERE visible_at_s > 0")
            tx.execute("INSERT OR REPLACE INTO meta VALUES ('boot_id', ?)", (boot_id,))


class LocalQueue:
    """JobQueue in SQLite. First in, first out, as far as leases allow."""

    def __init__(
        self,
        database: Database,
        now_s: Callable[[], float] = clock.now_s,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._now_s = now_s
        self._pause = pause

    def can_hold(self) -> bool:
        return True

    def receive(self, max_count: int, visibility_s: float, wait_s: float) -> list[Message]:
        until_s = self._now_s() + wait_s
        look_s = _FIRST_POLL_S
        while True:
            found = self._take(max_count, visibility_s)
            if found or self._now_s() >= until_s:
                return found
            self._pause(look_s)
            look_s = min(_LONGEST_POLL_S, look_s * 2)

    def extend(self, handles: Sequence[str], by_s: float) -> Mapping[str, str]:
        refused = {}
        with self._database.change(fleeting=True) as tx:
            now_s = self._now_s()
            for handle in handles:
                done = tx.execute(
                    "UPDATE messages SET visible_at_s = ? WHERE handle = ? AND visible_at_s > ?",
                    (now_s + by_s, handle, now_s),
                )
                if done.rowcount == 0:
                    message_id, names_it, _ = handle.partition(
                        "/"
                    )  # handles of an earlier version contain no message id
                    known = tx.execute("SELECT 1 FROM messages WHERE id = ?", (message_id,)).fetchone()
                    refused[handle] = "the lease is over" if known or not names_it else REMOVED
        return refused

    def release(self, handle: str, after_s: float) -> None:
        with self._database.change(fleeting=True) as tx:
            now_s = self._now_s()
            tx.execute(
                "UPDATE messages SET visible_at_s = ?, handle = '' WHERE handle = ? AND visible_at_s > ?",
                (now_s + after_s if after_s > 0 else 0.0, handle, now_s),
            )

    def delete(self, handle: str) -> None:
        with self._database.change(fleeting=True) as tx:
            tx.execute("DELETE FROM messages WHERE handle = ?", (handle,))

    def receives_most(self) -> Optional[int]:
        return None

    def send_copy(self, message: Message, after_s: float) -> bool:
        self._insert(message.body, self._now_s() + after_s if after_s > 0 else 0.0, message.receives)
        return True

    def bury(self, message: Message, reason: str, facts: Mapping[str, str] = NO_FACTS) -> bool:
        with self._database.change() as tx:
            tx.execute(
                "INSERT OR REPLACE INTO dead_letters"
                " SELECT id, body, ?, ?, receives FROM messages WHERE handle = ?",
                (reason, clock.wall_unix_s(), message.handle),
            )
            tx.execute("DELETE FROM messages WHERE handle = ?", (message.handle,))
        return True

    def counts(self) -> Counts:
        held = "SELECT count(*) FROM messages WHERE visible_at_s > ?"
        query = f"SELECT ({held}) AS held, count(*) AS total FROM messages"  # noqa: S608  # no text from outside
        row = self._database.rows(query, self._now_s())[0]
        return Counts(row["total"] - row["held"], row["held"])

    def send(self, body: str, attributes: Mapping[str, str]) -> str:
        return self._insert(body, 0.0)

    def waiting_bodies(self, limit: int = 1_000) -> list[tuple[str, bool]]:
        """Return the first messages' bodies, and whether each is in flight, for people."""
        rows = self._database.rows("SELECT body, visible_at_s FROM messages ORDER BY seq LIMIT ?", limit)
        return [(row["body"], row["visible_at_s"] > self._now_s()) for row in rows]

    def dead_letters(self, limit: int = 10_000) -> list[tuple[str, str, str]]:
        """Return id, body and reason of the dead letters, the newest first."""
        query = "SELECT id, body, reason FROM dead_letters ORDER BY dead_unix_s DESC LIMIT ?"
        return [(row["id"], row["body"], row["reason"]) for row in self._database.rows(query, limit)]

    def forget_dead(self, message_id: str) -> None:
        """Remove a dead letter whose job is retried."""
        with self._database.change() as tx:
            tx.execute("DELETE FROM dead_letters WHERE id = ?", (message_id,))

    def _insert(self, body: str, visible_at_s: float, receives: int = 0) -> str:
        message_id = str(uuid.uuid4())
        with self._database.change() as tx:
            tx.execute(
                "INSERT INTO messages (id, body, sent_unix_s, visible_at_s, receives) VALUES (?, ?, ?, ?, ?)",
                (message_id, body, clock.wall_unix_s(), visible_at_s, receives),
            )
        return message_id

    def _take(self, max_count: int, visibility_s: float) -> list[Message]:
        # Reading first keeps idle services from competing for the write lock.
        if not self._database.rows("SELECT 1 FROM messages WHERE visible_at_s <= ? LIMIT 1", self._now_s()):
            return []
        with self._database.change(fleeting=True) as tx:
            now_s = self._now_s()
            # A returned message keeps its original position: the index gives the next ones in order.
            tx.execute(
                "UPDATE messages SET visible_at_s = 0 WHERE visible_at_s > 0 AND visible_at_s <= ?", (now_s,)
            )
            rows = tx.execute(
                "SELECT seq, id, body, receives FROM messages WHERE visible_at_s = 0 ORDER BY seq LIMIT ?",
                (max_count,),
            ).fetchall()
            taken = [
                Message(row["id"], f"{row['id']}/{uuid.uuid4().hex}", row["body"], row["receives"] + 1)
                for row in rows
            ]
            tx.executemany(
                "UPDATE messages SET visible_at_s = ?, handle = ?, receives = ? WHERE id = ?",
                [(now_s + visibility_s, m.handle, m.receive_count, m.id) for m in taken],
            )
        return taken


class LocalRecords:
    """RecordTable in SQLite: an item is one JSON text, changed in one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unix_s(self) -> float:
        return clock.wall_unix_s()  # one host, one clock

    def get(self, key: RecordKey) -> Optional[Item]:
        query = "SELECT item FROM records WHERE user_id = ? AND recording_id = ?"
        rows = self._database.rows(query, key.user_id, key.recording_id)
        return _read_item(rows[0]) if rows else None

    def update(self, key: RecordKey, change: Change) -> Union[Applied, Refused]:
        names = (key.user_id, key.recording_id)
        with self._database.change(_is_hold(change)) as tx:
            row = tx.execute(
                "SELECT item FROM records WHERE user_id = ? AND recording_id = ?", names
            ).fetchone()
            item = _read_item(row) if row else {}
            if not conditions.holds(change.condition, item):
                return Refused(item)
            after = {**key_attributes(key), **conditions.changed(item, change)}
            tx.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (*names, json.dumps(after)))
        return Applied(after)


def _is_hold(change: Change) -> bool:
    """Return whether a change is about who works on a recording, not about how it ended."""
    return "remLeaseUnix" in change.put


def _read_item(row: Any) -> Item:
    item: Item = json.loads(row["item"])
    return item
