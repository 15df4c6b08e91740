"""What must be on the disk is there before its caller goes on; what is linked never changes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from supervisor.broker.backends import fsync
from supervisor.broker.backends.local_objects import LocalObjects
from supervisor.broker.backends.local_queue import LocalQueue, LocalRecords, open_database
from supervisor.broker.ports.ports import Change, Missing, RecordKey
from tests.broker.harness import until

KEY = RecordKey("user", "rec")


class Disk:
    """Stands in for the sync: counts, and waits while it is held."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self.goes_on = threading.Event()
        self.goes_on.set()

    def sync(self, path: Path) -> None:
        self.synced.append(path.name)
        assert self.goes_on.wait(20)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(fsync, "sync", made.sync)
    return made


def test_those_who_ask_during_a_sync_share_the_next(disk: Disk, tmp_path: Path) -> None:
    shared = fsync.SharedSync(tmp_path / "log")
    disk.goes_on.clear()
    first = threading.Thread(target=shared.wait)
    first.start()
    until(lambda: disk.synced, "the first sync")
    others = [threading.Thread(target=shared.wait) for _ in range(8)]
    for other in others:
        other.start()
    until(lambda: shared._asked == 9, "all to ask")

    disk.goes_on.set()
    for thread in (first, *others):
        thread.join(20)

    assert disk.synced == ["log", "log"]


def test_failed_sync_fails_its_caller_and_covers_nobody(disk: Disk, tmp_path: Path) -> None:
    shared = fsync.SharedSync(tmp_path / "log")

    def fail(path: Path) -> None:
        raise OSError(5, "the disk is broken")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fsync, "sync", fail)
        with pytest.raises(OSError, match="broken"):
            shared.wait()
    shared.wait()

    assert disk.synced == ["log"]


def test_a_records_end_is_on_the_disk_before_its_caller_goes_on_and_holds_need_not_be(
    disk: Disk, tmp_path: Path
) -> None:
    database = open_database(tmp_path)
    records, queue = LocalRecords(database), LocalQueue(database)
    queue.send("a message", {})
    disk.synced.clear()

    (message,) = queue.receive(1, 30.0, 0.0)
    records.update(KEY, Change(Missing("remState"), {"remState": "CLAIMED", "remLeaseUnix": 1}))
    assert disk.synced == []
    records.update(KEY, Change(Missing("gone"), {"remState": "DONE"}))
    assert disk.synced == ["queue.db-wal"]
    queue.delete(message.handle)
    assert disk.synced == ["queue.db-wal"]


def test_nobody_waits_for_the_write_lock_while_the_disk_works(disk: Disk, tmp_path: Path) -> None:
    database = open_database(tmp_path)
    records = LocalRecords(database)
    disk.synced.clear()
    disk.goes_on.clear()
    done = Change(Missing("gone"), {"remState": "DONE"})
    slow = threading.Thread(target=records.update, args=(KEY, done))
    slow.start()
    until(lambda: disk.synced, "the sync of the first")

    LocalQueue(database).receive(1, 30.0, 0.0)
    records.update(RecordKey("user", "other"), Change(Missing("remState"), {"remLeaseUnix": 1}))

    assert slow.is_alive()
    disk.goes_on.set()
    slow.join(20)


def test_transcript_gets_its_name_without_a_copy_and_keeps_its_text(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    (spool / "job").mkdir(parents=True)
    source = spool / "job" / "transcript.txt"
    source.write_text("first")
    objects = LocalObjects(tmp_path / "objects", spool)

    objects.put("transcripts", "a/other.txt", source, "text/plain")  # the first one makes the folder

    for _ in range(2):  # a commit that is repeated
        objects.put("transcripts", "a/b.txt", source, "text/plain")
    assert source.samefile(objects.path_of("transcripts", "a/b.txt"))
    beside = spool / "job" / "new"
    beside.write_text("second")
    beside.replace(source)

    path = objects.path_of("transcripts", "a/b.txt")
    assert path.read_text() == "first"
    objects.put("transcripts", "a/b.txt", source, "text/plain")
    assert path.read_text() == "second"


def test_a_users_own_file_is_copied(tmp_path: Path) -> None:
    """Whatever happens to it later, the recording in the queue stays as it was."""
    mine = tmp_path / "mine.wav"
    mine.write_bytes(b"as it was")
    objects = LocalObjects(tmp_path / "objects", tmp_path / "spool")

    objects.put("raw", "one.wav", mine, "audio/wav")
    mine.write_bytes(b"changed in place")

    assert objects.path_of("raw", "one.wav").read_bytes() == b"as it was"
