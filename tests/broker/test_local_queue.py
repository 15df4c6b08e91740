"""What the embedded backend promises beyond the common suite."""

from __future__ import annotations

import os
import sqlite3
import stat
import statistics
import time
from pathlib import Path

import pytest

from supervisor.broker.backends.failed_jobs import FailedJob, FailedJobs
from supervisor.broker.backends.local_objects import LocalObjects
from supervisor.broker.backends.local_queue import LocalQueue, open_database
from supervisor.broker.ports.errors import CannotServe, JobRejected


class Clock:
    """A host clock that moves when told, and when somebody waits on it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def read(self) -> float:
        return self.now_s

    def wait(self, wait_s: float) -> None:
        self.now_s += wait_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> LocalQueue:
    return LocalQueue(open_database(tmp_path), clock.read, clock.wait)


def test_messages_come_in_the_order_they_were_sent(queue: LocalQueue) -> None:
    for body in "abc":
        queue.send(body, {})

    assert [message.body for message in queue.receive(10, 60, 0)] == ["a", "b", "c"]


def test_lease_ends_at_its_time_and_the_message_takes_its_old_turn(queue: LocalQueue, clock: Clock) -> None:
    for body in "ab":
        queue.send(body, {})
    queue.receive(1, 60, 0)

    clock.now_s += 60.1

    assert [(message.body, message.receive_count) for message in queue.receive(10, 60, 0)] == [
        ("a", 2),
        ("b", 1),
    ]


def test_expired_handle_can_neither_extend_nor_release(queue: LocalQueue, clock: Clock) -> None:
    queue.send("a", {})
    (message,) = queue.receive(1, 60, 0)
    clock.now_s += 61

    assert set(queue.extend([message.handle], 60)) == {message.handle}
    queue.release(message.handle, 500)

    assert len(queue.receive(1, 60, 0)) == 1


def test_receive_waits_no_longer_than_it_was_told(queue: LocalQueue, clock: Clock) -> None:
    assert queue.receive(1, 60, 5.0) == []

    assert 1_005.0 <= clock.now_s < 1_005.1


def test_another_boot_makes_every_message_visible(tmp_path: Path) -> None:
    database = open_database(tmp_path)
    LocalQueue(database).send("a", {})
    assert LocalQueue(database).receive(1, 900, 0)
    with database.change() as tx:
        tx.execute("UPDATE meta SET value = 'the boot before' WHERE name = 'boot_id'")

    assert LocalQueue(open_database(tmp_path)).receive(1, 60, 0)


def test_newer_schema_is_refused_with_a_cure_and_left_alone(tmp_path: Path) -> None:
    open_database(tmp_path)
    with sqlite3.connect(tmp_path / "queue.db") as connection:
        connection.execute("PRAGMA user_version=99")

    with pytest.raises(CannotServe, match=r"schema 99.*Update the program"):
        open_database(tmp_path)


def test_nothing_of_it_is_readable_for_others(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    open_database(folder)
    LocalObjects(folder / "objects")

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "queue.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "objects").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "key", ["../../x", "/etc/passwd", "a/../../x", "a//b", ".", "a/./b", "x" * 300, "a\0b", ""]
)
def test_key_cannot_leave_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(JobRejected, match="no object"):
        LocalObjects(tmp_path / "objects").path_of("raw", key)


def test_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    objects = LocalObjects(tmp_path / "objects")
    (tmp_path / "objects" / "raw").mkdir()
    (tmp_path / "objects" / "raw" / "way-out").symlink_to(tmp_path)

    with pytest.raises(JobRejected, match="leads out"):
        objects.fetch("raw", "way-out/secret", tmp_path / "got", lambda size_bytes: None)


def test_put_leaves_no_unfinished_file(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path / "objects")
    (tmp_path / "in").write_text("x")

    objects.put("raw", "a/b", tmp_path / "in", "text/plain")

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(files) == sorted([tmp_path / "in", tmp_path / "objects" / "raw" / "a" / "b"])


@pytest.mark.slow
def test_a_long_queue_is_no_slower_than_a_short_one(queue: LocalQueue, tmp_path: Path) -> None:
    short_s = _cycle_s(queue, 200)
    with open_database(tmp_path).change() as tx:
        rows = ((f"id-{n}", "{}", 0.0) for n in range(100_000))
        tx.executemany("INSERT INTO messages (id, body, sent_unix_s) VALUES (?, ?, ?)", rows)

    long_s = _cycle_s(queue, 200)

    assert long_s < 10 * short_s  # a scan of the queue takes 100 times as long


def _cycle_s(queue: LocalQueue, count: int) -> float:
    """Time sending, receiving and deleting one message, at the median of so many."""
    took_s = []
    for _ in range(count):
        began_s = time.perf_counter()
        queue.send("x", {})
        (message,) = queue.receive(1, 60, 0)
        queue.delete(message.handle)
        took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s)


def test_failed_jobs_are_bounded_and_the_last_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = FailedJobs(tmp_path, max_kept=3)

    for name in ("a", "b", "c", "d", "b"):
        failed.keep(FailedJob(name, "u", "m", "why", "rejected", 1, "{}"))

    assert [job.id for job in failed.newest_first()] == ["b", "d", "c"]
    assert os.stat(tmp_path / "jobs.db").st_mode & 0o077 == 0
