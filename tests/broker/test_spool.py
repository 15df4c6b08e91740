"""The spool and the leases' files: what an heir finds."""

from __future__ import annotations

import dataclasses
import errno
import io
import stat
from pathlib import Path
from typing import Any

import pytest

from supervisor.broker.in_flight.in_flight import InFlight
from supervisor.broker.in_flight.in_flight_types import Lease, LiveJob, Phase, Settled
from supervisor.broker.in_flight.lease_journal import LeaseJournal, _read, restored
from supervisor.broker.in_flight.outages import OutageReporter
from supervisor.broker.in_flight.spool import Spool
from supervisor.broker.ports.errors import JobRejected, ResultBroken, TryLater
from supervisor.broker.ports.job_request import JobRequest, Source
from supervisor.broker.ports.ports import Message, RecordKey
from supervisor.broker.rules.record_rules import RecordHold, Result
from supervisor.contract.wire.messages import Ending, JobCard, Trouble
from tests.broker.harness import stage

KEY = RecordKey("user-9", "rec-1")
REQUEST = JobRequest("rec-1", "user-9", "dev-7", Source("raw", "a.wav", "v1"), "s", "e", "de", True)
MESSAGE = Message("m-1", "handle-1", '{"some": "body"}', 2)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", limit_bytes=1_000, max_file_bytes=800)


def card(spool: Spool, attempt: int = 1) -> JobCard:
    return JobCard("rec-1", attempt, str(spool.empty(KEY)), 1, "rec-1", "user-9", "dev-7")


def test_room_is_given_once_and_given_back(spool: Spool) -> None:
    other = RecordKey("user-9", "rec-2")
    spool.admit(KEY, 600)

    with pytest.raises(TryLater, match="600 of 1000 bytes in use"):
        spool.admit(other, 600)
    spool.drop(KEY)
    spool.admit(other, 600)


def test_what_could_never_fit_is_rejected(spool: Spool) -> None:
    for size_bytes in (0, 801):
        with pytest.raises(JobRejected, match=f"{size_bytes} bytes"):
            spool.admit(KEY, size_bytes)


def test_only_the_whole_result_of_this_attempt_counts(spool: Spool) -> None:
    job = card(spool, attempt=2)
    assert not spool.is_staged(KEY, 2)

    stage(job)
    assert spool.staged(KEY, 2).duration_s == 1.5
    with pytest.raises(ResultBroken, match="attempt 2, not of 3"):
        spool.staged(KEY, 3)

    (Path(job.folder) / "transcript.txt").unlink()
    assert not spool.is_staged(KEY, 2)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"job_id": "rec-1"}', "nonsense", '{"duration_s": "x"}']
)
def test_broken_announcement_is_no_result(spool: Spool, content: str) -> None:
    job = card(spool)
    stage(job)
    (Path(job.folder) / "staged.json").write_text(content)

    with pytest.raises(ResultBroken):
        spool.staged(KEY, 1)


def test_leftovers_without_a_lease_are_removed_and_the_rest_is_counted(spool: Spool, tmp_path: Path) -> None:
    (spool.empty(KEY) / "audio").write_bytes(bytes(700))
    spool.empty(RecordKey("user-9", "gone"))
    heir = Spool(tmp_path / "spool", limit_bytes=1_000, max_file_bytes=800)

    heir.keep_only([KEY])

    assert [path.name for path in (tmp_path / "spool").iterdir()] == [heir.folder(KEY).name]
    with pytest.raises(TryLater, match="700 of 1000"):
        heir.admit(RecordKey("user-9", "new"), 400)


def test_samples_of_recordings_at_work_count_against_the_limit(tmp_path: Path) -> None:
    """A file of 4 MB can hold 1.3 GB of samples, and they lay beside the limit."""
    spool = Spool(tmp_path / "spool", limit_bytes=1_000, max_file_bytes=800)
    spool.empty(KEY)
    spool.admit(KEY, 300)

    spool.count_samples(600)

    with pytest.raises(TryLater, match="900 of 1000"):
        spool.admit(RecordKey("user-9", "new"), 200)
    spool.count_samples(0)
    spool.admit(RecordKey("user-9", "new"), 200)


def test_samples_alone_keep_no_recording_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", limit_bytes=1_000, max_file_bytes=800)

    spool.count_samples(5_000)

    spool.admit(KEY, 300)


def test_an_heir_reads_the_lease_as_it_was_written(tmp_path: Path) -> None:
    files = LeaseJournal(tmp_path / "leases", "this boot")
    job = LiveJob(REQUEST, RecordHold("t", "o"), Phase.READY, 3, 1, 77, REQUEST.source, announced=True)
    lease = Lease(MESSAGE, 100.0, {"rec-1"}, {"rec-0": Settled(Ending.FAILED, "bad", 5.0)}, {"rec-0": 0.0})

    files.save(lease, {"rec-1": job})
    (saved,) = files.load(now_s=50.0)
    again, (found,) = restored(saved, now_s=50.0)

    assert dataclasses.replace(again, extend_at_s=0.0) == lease
    assert dataclasses.replace(found, kept_at_s=0.0, since_s=0.0, renew_at_s=0.0) == job
    (path,) = (tmp_path / "leases").glob("*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("boot_id", "now_s", "content"),
    [
        ("another boot", 50.0, None),
        ("this boot", 100.0, None),
        ("this boot", 50.0, "{broken"),
        ("this boot", 50.0, ""),
    ],
)
def test_a_lease_that_means_nothing_any_more_is_forgotten(
    tmp_path: Path, boot_id: str, now_s: float, content: str
) -> None:
    files = LeaseJournal(tmp_path / "leases", "this boot")
    files.save(Lease(MESSAGE, 100.0), {})
    if content is not None:
        next((tmp_path / "leases").glob("*.json")).write_text(content)

    assert LeaseJournal(tmp_path / "leases", boot_id).load(now_s) == []
    assert list((tmp_path / "leases").glob("*.json")) == []


def test_a_job_of_two_messages_is_lost_only_with_the_last(tmp_path: Path, spool: Spool) -> None:
    in_flight = InFlight(LeaseJournal(tmp_path / "leases", "b"), spool, OutageReporter(lambda message: None))
    job = LiveJob(REQUEST, RecordHold("t", "o"))
    first, second = Lease(MESSAGE, 100.0), Lease(Message("m-2", "h-2", "", 1), 100.0, {"rec-1"})
    in_flight.add(first, [job])
    in_flight.add(second, [])

    assert in_flight.remove(first) == []
    assert in_flight.remove(second) == [job]
    assert in_flight.jobs == {}


def test_leases_that_cannot_be_written_down_are_told_once_and_not_fatal(tmp_path: Path, spool: Spool) -> None:
    said: list[object] = []
    in_flight = InFlight(LeaseJournal(tmp_path / "leases", "b"), spool, OutageReporter(said.append))
    (tmp_path / "leases").rmdir()

    for name in ("m-1", "m-2"):
        in_flight.add(Lease(Message(name, "h", "", 1), 100.0), [])
    (tmp_path / "leases").mkdir()
    in_flight.save(in_flight.leases["m-1"])

    assert [(type(one), one.where, bool(one.detail)) for one in said if isinstance(one, Trouble)] == [
        (Trouble, "spool", True),
        (Trouble, "spool", False),
    ]


def test_result_is_what_the_worker_announced(spool: Spool) -> None:
    job = card(spool)
    stage(job, "Hello.")

    found = spool.staged(KEY, 1)

    assert (found.language, len(found.sha256_json)) == ("en", 64)
    assert isinstance(found, Result)


def test_line_that_a_death_cut_off_does_not_count(tmp_path: Path) -> None:
    files = LeaseJournal(tmp_path, "boot")
    held = Lease(MESSAGE, 100.0)
    files.save(held, {})
    held.deadline_at_s = 200.0
    files.save(held, {})
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()

    for cut in range(whole.index(b"\n") + 1, len(whole)):
        path.write_bytes(whole[:cut])
        assert [saved.deadline_at_s for saved in LeaseJournal(tmp_path, "boot").load(50.0)] == [100.0]


def test_file_of_a_lease_that_lasts_does_not_grow_for_ever(tmp_path: Path) -> None:
    files = LeaseJournal(tmp_path, "boot")
    held = Lease(MESSAGE, 100.0)
    for number in range(1_000):
        held.deadline_at_s = 100.0 + number
        files.save(held, {})

    (path,) = tmp_path.iterdir()
    assert path.stat().st_size <= 65_536
    assert [saved.deadline_at_s for saved in LeaseJournal(tmp_path, "boot").load(50.0)] == [1_099.0]


class _FullDisk:
    """A lease's file on a disk that has room for so many more bytes."""

    def __init__(self, file: io.FileIO, room_bytes: int) -> None:
        self._file, self._room_bytes = file, room_bytes

    def write(self, data: bytes) -> int:
        if self._room_bytes == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._file.write(data[: self._room_bytes])
        self._room_bytes -= written
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_line_that_a_full_disk_cut_off_is_not_continued(tmp_path: Path) -> None:
    """The next line would be half of one and half of another: an heir would find the lease as it was."""
    files = LeaseJournal(tmp_path, "boot")
    held = Lease(MESSAGE, 100.0)
    files.save(held, {})
    files._open[held.id].file = _FullDisk(files._open[held.id].file, 10)  # type: ignore[assignment]

    for deadline_at_s in (200.0, 300.0):
        held.deadline_at_s = deadline_at_s
        files.save(held, {})
        (saved,) = [one for path in tmp_path.glob("*.json") if (one := _read(path))]
        assert saved.deadline_at_s == deadline_at_s


@pytest.mark.parametrize("room_bytes", [0, 10])
def test_full_disk_leaves_no_empty_files_of_leases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room_bytes: int
) -> None:
    """A broker that could not write its leases down left one more file with each try."""
    files = LeaseJournal(tmp_path, "boot")
    real = LeaseJournal._make

    def make(self: LeaseJournal) -> Any:
        path, file = real(self)
        return path, _FullDisk(file, room_bytes)

    monkeypatch.setattr(LeaseJournal, "_make", make)
    for _ in range(5):
        with pytest.raises(OSError, match="No space left"):
            files.save(Lease(MESSAGE, 100.0), {})

    assert list(tmp_path.iterdir()) == []


def test_file_that_another_lease_had_is_emptied_before_it_is_used_again(tmp_path: Path) -> None:
    """A line of the lease that ended would stand for the new one if the disk is full just then."""
    files = LeaseJournal(tmp_path, "boot")
    ended, begun = Lease(MESSAGE, 100.0), Lease(Message("m-2", "handle-2", "", 1), 200.0)
    files.save(ended, {})
    files.forget(ended)
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [0]

    files.save(begun, {})

    (path,) = tmp_path.iterdir()
    assert b"handle-1" not in path.read_bytes()
    assert [saved.message_id for saved in LeaseJournal(tmp_path, "boot").load(50.0)] == ["m-2"]
