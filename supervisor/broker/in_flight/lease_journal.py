"""The journal of leases and their jobs on disk, read by the successor of a broker that died.

Each lease is saved beside the audio that it is about, so that the successor finds both or neither
(docs/decisions/0002). The files contain receipt handles: only this user may read them, and they are never
logged.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from supervisor.broker.in_flight.in_flight_types import Lease, LiveJob, Phase, Settled
from supervisor.broker.ports.job_request import JobRequest, Source
from supervisor.broker.ports.ports import Message
from supervisor.broker.rules.record_rules import Pointer, RecordHold
from supervisor.contract import codec
from supervisor.contract.wire.messages import Ending

# Longer bodies are not saved: they are only shown to people after a failure.
_MAX_SAVED_BODY_CHARS = 32_768
_MAX_FILE_BYTES = 65_536
_MAX_SPARE = 16


@dataclass(frozen=True)
class SavedJob:
    """A live job in its lease's file."""

    request: JobRequest
    token: str
    owner: str
    phase: Phase
    attempt: int
    failures: int
    audio_bytes: int
    announced: bool
    source: Optional[Source] = None
    pointer: Optional[Pointer] = None
    resumed_s: float = 0.0


@dataclass(frozen=True)
class SavedSettled:
    """An ended job in its lease's file."""

    job_id: str
    ending: Ending
    reason: str
    after_s: float
    attempt: int = 0
    error: str = ""


@dataclass(frozen=True)
class SavedLease:
    """One lease file. The deadline is valid only for the boot that wrote it."""

    boot_id: str
    message_id: str
    handle: str
    body: str
    receive_count: int
    deadline_at_s: float
    jobs: tuple[SavedJob, ...]
    settled: tuple[SavedSettled, ...] = ()
    tell: tuple[str, ...] = ()
    received_at_s: float = 0.0
    attributes: dict[str, str] = field(default_factory=dict)
    group: str = ""
    earlier_receives: int = 0
    is_gone: bool = False
    is_copied: bool = False


@dataclass
class _OpenFile:
    """A lease file that this process has open."""

    file: io.FileIO
    size_bytes: int


class LeaseJournal:
    """The lease files of one state directory, one per lease.

    Each change appends one line with one write. The last complete line is the current one, so if the process
    dies during a write, the line before remains valid. A file that exceeds the limit is replaced. The files
    of ended leases are reused: creating and removing files costs more than writing to them.
    """

    def __init__(self, folder: Path, boot_id: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._boot_id = boot_id
        self._open: dict[str, _OpenFile] = {}  # by message id
        self._spare: list[tuple[Path, io.FileIO]] = []  # empty files
        self._made_count = 0

    def save(self, lease: Lease, jobs: dict[str, LiveJob]) -> None:
        """Write the lease's current state, completely or not at all; a successor reads it."""
        saved = SavedLease(
            self._boot_id,
            lease.message.id,
            lease.message.handle,
            lease.message.body if len(lease.message.body) <= _MAX_SAVED_BODY_CHARS else "",
            lease.message.receive_count,
            lease.deadline_at_s,
            tuple(_saved_job(jobs[job_id]) for job_id in sorted(lease.open) if job_id in jobs),
            tuple(_saved_settled(job_id, settled) for job_id, settled in lease.settled.items()),
            tuple(lease.tell),
            lease.received_at_s,
            dict(lease.message.attributes),
            lease.message.group,
            lease.message.earlier_receives,
            lease.is_gone,
            lease.is_copied,
        )
        line = json.dumps(codec.to_plain(saved)).encode() + b"\n"
        # No fsync: leases are worthless after a reboot.
        file = self._open.get(lease.id)
        if file is None or file.size_bytes + len(line) > _MAX_FILE_BYTES:
            self._begin(lease.id, line)
        elif file.file.write(line) == len(line):
            file.size_bytes += len(line)
        else:
            self._begin(lease.id, line)  # the disk is full; never append after an incomplete line

    def forget(self, lease: Lease) -> None:
        """Remove the lease's file."""
        path, file = self._path(lease.id), self._open.pop(lease.id, None)
        if file is None:
            path.unlink(missing_ok=True)
            return
        if len(self._spare) < _MAX_SPARE:
            with contextlib.suppress(OSError):
                file.file.truncate(0)  # first: if the rest fails, an empty file is no lease
                spare = self._new_path()
                os.replace(path, spare)
                self._spare.append((spare, file.file))
                return
        file.file.close()
        path.unlink(missing_ok=True)

    def _begin(self, message_id: str, line: bytes) -> None:
        """Replace the lease's file by one with this line."""
        self._close(message_id)
        beside, opened = self._spare.pop() if self._spare else self._make()
        try:
            if opened.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.replace(beside, self._path(message_id))
        except OSError:
            opened.close()
            beside.unlink(missing_ok=True)
            raise
        self._open[message_id] = _OpenFile(opened, len(line))

    def _make(self) -> tuple[Path, io.FileIO]:
        path = self._new_path()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        # A file object rather than a descriptor: it is closed with its owner.
        return path, io.FileIO(os.open(path, flags, 0o600), "a")

    def _new_path(self) -> Path:
        self._made_count += 1
        return self._folder / f"{self._made_count}.new"

    def _close(self, message_id: str) -> None:
        file = self._open.pop(message_id, None)
        if file is not None:
            file.file.close()

    def load(self, now_s: float) -> list[SavedLease]:
        """Read the leases that are still valid; remove all other files."""
        found = []
        for path in sorted(self._folder.iterdir()):
            saved = _read(path) if path.suffix == ".json" else None
            if saved is not None and saved.boot_id == self._boot_id and saved.deadline_at_s > now_s:
                found.append(saved)
            else:
                path.unlink()
        return found

    def _path(self, message_id: str) -> Path:
        return self._folder / _name_of(message_id)


@functools.lru_cache(maxsize=1_024)
def _name_of(message_id: str) -> str:
    return f"{hashlib.sha256(message_id.encode()).hexdigest()[:32]}.json"


def saved_jobs(folder: Path) -> dict[str, str]:
    """Return the jobs (with their users) in a folder's lease files, without changing the files."""
    found: dict[str, str] = {}
    for path in folder.glob("*.json"):
        saved = _read(path)
        found.update({job.request.job_id: job.request.user_id for job in (saved.jobs if saved else ())})
    return found


def restored(saved: SavedLease, now_s: float) -> tuple[Lease, list[LiveJob]]:
    """Rebuild a lease and its live jobs from a file; the lease is due for extension at once."""
    message = Message(
        saved.message_id,
        saved.handle,
        saved.body,
        saved.receive_count,
        saved.attributes,
        saved.group,
        saved.earlier_receives,
    )
    jobs = [_restored_job(job, now_s) for job in saved.jobs]
    settled = {s.job_id: Settled(s.ending, s.reason, s.after_s, s.attempt, s.error) for s in saved.settled}
    tell = dict.fromkeys(saved.tell, 0.0)
    open_ids = {job.id for job in jobs}
    received_at_s = saved.received_at_s or now_s
    return Lease(
        message,
        saved.deadline_at_s,
        open_ids,
        settled,
        tell,
        extend_at_s=now_s,
        received_at_s=received_at_s,
        is_gone=saved.is_gone,
        is_copied=saved.is_copied,
    ), jobs


def _read(path: Path) -> Optional[SavedLease]:
    try:
        *lines, _cut_off = path.read_bytes().split(b"\n")
        return codec.from_plain(SavedLease, json.loads(lines[-1]))
    except (OSError, ValueError, IndexError):
        return None


def _saved_job(job: LiveJob) -> SavedJob:
    return SavedJob(
        job.request,
        job.hold.token,
        job.hold.owner,
        job.phase,
        job.attempt,
        job.failures,
        job.audio_bytes,
        job.announced,
        job.source,
        job.pointer,
        job.resumed_s,
    )


def _saved_settled(job_id: str, how: Settled) -> SavedSettled:
    return SavedSettled(job_id, how.ending, how.reason, how.after_s, how.attempt, how.error)


def _restored_job(saved: SavedJob, now_s: float) -> LiveJob:
    return LiveJob(
        saved.request,
        RecordHold(saved.token, saved.owner),
        saved.phase,
        saved.attempt,
        saved.failures,
        saved.audio_bytes,
        saved.source,
        saved.announced,
        saved.pointer,
        resumed_s=saved.resumed_s,
        kept_at_s=now_s,
        since_s=now_s,
        renew_at_s=now_s,
    )
