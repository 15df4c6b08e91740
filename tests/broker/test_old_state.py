"""A state directory of an earlier version is taken over with all that it holds.

The texts are what that version wrote, letter by letter, but for names, times and the boot: it held one job
ready and was killed with its supervisor. A lease had no count of earlier receives, a record went by other key
names and was held longer than its message, a handle named no message.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest

from supervisor.broker.backends.local_queue import LocalQueue, open_database
from supervisor.broker.ports.ports import REMOVED
from supervisor.contract import clock
from supervisor.contract.wire.messages import (
    Adopted,
    Done,
    Ending,
    Lost,
    Ready,
    Wanted,
)
from tests.broker.harness import BrokerProcess, local_settings, until

AUDIO = "raw/raw/submit/2026/11/28/submit_20261128T095714.1Z_20261128T095714.1Z.ogg"
OWNER, TOKEN, HANDLE = (
    "a64569ccc03449fa87090af3c84842a8",
    "baa044da0eb34f6",
    "a734a2076e0d4985bf262955c59f9793",
)
ID, RECORDING = "7959022b-2494-4522-844a-150018ab7bd0", "a2-2028a464"
SPOOLED = "002325cab14765bca383aff83e16d3cc"
SCHEMA = """
CREATE TABLE dead_letters (
    id TEXT PRIMARY KEY, body TEXT NOT NULL, reason TEXT NOT NULL, dead_unix_s REAL NOT NULL,
    receives INTEGER NOT NULL);
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
    sent_unix_s REAL NOT NULL, visible_at_s REAL NOT NULL DEFAULT 0, handle TEXT NOT NULL DEFAULT '',
    receives INTEGER NOT NULL DEFAULT 0);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE records (
    user_id TEXT NOT NULL, recording_id TEXT NOT NULL, item TEXT NOT NULL,
    PRIMARY KEY (user_id, recording_id));
CREATE INDEX messages_by_turn ON messages (visible_at_s, seq);
CREATE INDEX messages_by_handle ON messages (handle);
PRAGMA user_version=1;
"""
KEY = AUDIO.partition("/")[2]
SOURCE = {"bucket": "raw", "key": KEY}
STAMPS = {"deviceId": "submit", "startedAt": "20261128T095714.1Z", "endedAt": "20261128T095714.1Z"}
BODY = json.dumps({"recordingId": RECORDING, **SOURCE, "userId": "default-user", **STAMPS})


def leave_database(folder: Path, visible_at_s: float) -> None:
    folder.mkdir()
    item = {
        "userId": "default-user",
        "recordingId": RECORDING,
        **STAMPS,
        "s3KeyRaw": KEY,
        "status": "TRANSCRIBING",
        "createdAt": "2026-11-28T09:57:14Z",
        "updatedAt": "2026-11-28T09:57:14Z",
        "remState": "CLAIMED",
        "remToken": TOKEN,
        "remOwner": OWNER,
        "remSource": SOURCE,
        "remAttempt": 1,
        "remLeaseUnix": int(clock.wall_unix_s() + 180),
    }
    database = sqlite3.connect(folder / "queue.db")
    database.executescript(SCHEMA)
    sent = (1, ID, BODY, clock.wall_unix_s(), visible_at_s, HANDLE, 1)
    database.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", sent)
    database.execute("INSERT INTO meta VALUES ('boot_id', ?)", (clock.boot_id(),))
    database.execute("INSERT INTO records VALUES ('default-user', ?, ?)", (RECORDING, json.dumps(item)))
    database.commit()
    database.close()


def leave_state(folder: Path, audio: bytes, deadline_at_s: float) -> None:
    (folder / "leases").mkdir(parents=True)
    (folder / "identity").write_text(OWNER)
    unnamed = {**SOURCE, "version": "", "etag": ""}
    request = {
        "recording_id": RECORDING,
        "user_id": "default-user",
        "device_id": "submit",
        "source": unnamed,
        "started_at": STAMPS["startedAt"],
        "ended_at": STAMPS["endedAt"],
        "language": None,
        "force": False,
        "options": "",
    }
    job = {
        "request": request,
        "token": TOKEN,
        "owner": OWNER,
        "phase": "ready",
        "attempt": 1,
        "failures": 0,
        "audio_bytes": len(audio),
        "announced": True,
        "source": {**SOURCE, "version": "", "etag": f"{len(audio)}-1795859834178019082"},
    }
    lease = {
        "boot_id": clock.boot_id(),
        "message_id": ID,
        "handle": HANDLE,
        "body": BODY,
        "receive_count": 1,
        "deadline_at_s": deadline_at_s,
        "jobs": [job],
        "settled": [],
        "tell": [],
        "received_at_s": clock.now_s(),
        "attributes": {},
        "group": "",
    }
    name = hashlib.sha256(ID.encode()).hexdigest()[:32]
    (folder / "leases" / f"{name}.json").write_text(json.dumps(lease) + "\n")
    job_folder = folder / "spool" / SPOOLED
    job_folder.mkdir(parents=True)
    (job_folder / "audio").write_bytes(audio)


@pytest.mark.slow
def test_job_of_an_earlier_versions_broker_goes_on_with_its_attempt(tmp_path: Path) -> None:
    settings, deadline_at_s, audio = local_settings(tmp_path), clock.now_s() + 60, b"RIFF" + bytes(996)
    leave_database(tmp_path / "local", deadline_at_s)
    leave_state(tmp_path / "state", audio, deadline_at_s)
    stored = tmp_path / "local" / "objects" / AUDIO
    stored.parent.mkdir(parents=True)
    stored.write_bytes(audio)

    with BrokerProcess(settings) as broker:
        card = broker.hear(Ready).card
        assert broker.hear(Adopted) == Adopted((RECORDING,))
        assert (card.job_id, card.attempt, card.staged) == (RECORDING, 1, False)
        assert (Path(card.folder) / "audio").read_bytes() == audio
        assert broker.finish(card).ending is Ending.DONE
        broker.say(Wanted(1))

        database = sqlite3.connect(tmp_path / "local" / "queue.db")
        until(lambda: not database.execute("SELECT 1 FROM messages").fetchall(), "the message's end")
        (text,) = database.execute("SELECT item FROM records").fetchone()
        database.close()
        assert not [said for said in broker.heard if isinstance(said, (Done, Lost))]

    item = json.loads(text)
    assert (item["status"], item["remState"], item["remAttempt"]) == ("TRANSCRIBED", "DONE", 1)


def test_handle_of_an_earlier_version_that_ran_out_is_no_removed_message(tmp_path: Path) -> None:
    """Such a handle does not say whose it is: it was taken for that of a message that somebody removed, and
    the job went on beside the one of whoever received the message next."""
    leave_database(tmp_path / "local", visible_at_s=0.0)
    queue = LocalQueue(open_database(tmp_path / "local"))

    assert queue.extend([HANDLE], 60.0)[HANDLE] != REMOVED
