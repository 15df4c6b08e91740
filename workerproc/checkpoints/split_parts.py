"""Files through which workers share the parts of a split recording: locks, checkpoints, requests.

A worker takes a part by locking its file; the kernel releases the lock when the process ends. The progress of
a part is in its own checkpoint. Each combination of audio, model and options has its own folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from supervisor.contract import codec
from workerproc.checkpoints import checkpoint
from workerproc.checkpoints.checkpoint import BadCheckpoint, CheckpointContent, ResumePoint, WorkIdentity
from workerproc.checkpoints.checkpoint_files import read_bounded
from workerproc.transcripts.staging import write_whole
from workerproc.transcripts.transcript import Segment

log = logging.getLogger(__name__)


class SplitParts:
    """All parts of one recording, by number from 0."""

    def __init__(self, folder: Path, work: WorkIdentity, count: int) -> None:
        """`folder` is the job folder; `work` identifies what determines the text. Raises OSError."""
        name = hashlib.sha256(json.dumps(codec.to_plain(work), sort_keys=True).encode()).hexdigest()[:16]
        self._folder = folder / f"parts-{name}"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._asked = self._folder / "asked"
        self._work = work
        self.numbers = range(count)

    @property
    def is_whole(self) -> bool:
        """True when all parts are done, or their folder was removed because the job has ended."""
        return all(self.is_done(number) for number in self.numbers) or not self._folder.exists()

    @property
    def untaken(self) -> int:
        """How many parts are neither done nor taken, including those of workers that died."""
        return sum(1 for n in self.numbers if not self.is_done(n) and not _is_held(self._lock_path(n)))

    def is_done(self, number: int) -> bool:
        """Say whether a part is done, by any worker."""
        return self._path(number, "done").exists()

    def ask(self, has: int) -> None:
        """Request a part from a worker that has more than `has` of them. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self._asked, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, b"%d" % has)
            finally:
                os.close(descriptor)

    def answer(self, has: int) -> bool:
        """Say whether a worker with at least two parts fewer requests one. The caller then gives one back."""
        try:
            if has - int(self._asked.read_bytes()) < 2:
                return False
            self._asked.unlink()
        except (OSError, ValueError):
            return False
        return True

    def take(self) -> Optional[Taken]:
        """Take the first part that is neither done nor taken; None where there is none."""
        for number in self.numbers:
            if self.is_done(number):
                continue
            lock_fd = _locked(self._lock_path(number))
            if lock_fd is None:
                continue
            if not self.is_done(number):  # it may have been completed meanwhile
                return Taken(self, number, lock_fd)
            os.close(lock_fd)
        return None

    def put(self, number: int, mark: ResumePoint, segments: Sequence[Segment], is_done: bool) -> None:
        """Write a part's checkpoint. Raises OSError."""
        lines = [checkpoint.write_segment(segment) for segment in segments]
        data = checkpoint.write(self._work, mark, lines, is_done)
        write_whole(self._path(number, "done" if is_done else "json"), data)

    def get(self, number: int) -> Optional[CheckpointContent]:
        """Read a part's checkpoint; None where there is no usable one."""
        for ending in ("done", "json"):
            try:
                found = checkpoint.read(read_bounded(self._path(number, ending)))
            except FileNotFoundError:
                continue
            except (BadCheckpoint, OSError) as error:
                log.warning(
                    "part of a recording starts from the beginning",
                    extra={"event": "segment-restarted", "part": number, "reason": str(error)},
                )
                continue
            if checkpoint.unusable(found, self._work) is None:
                return found
        return None

    def packed(self) -> bytes:
        """Return the checkpoints of all parts as one."""
        return checkpoint.pack([self._raw(number) for number in self.numbers])

    def _raw(self, number: int) -> Optional[bytes]:
        for ending in ("done", "json"):
            try:
                return read_bounded(self._path(number, ending))
            except (OSError, BadCheckpoint):
                continue
        return None

    def spread(self, packed: Sequence[Optional[CheckpointContent]]) -> None:
        """Write the parts' checkpoints that another host packed, unless there are any. Raises OSError."""
        if len(packed) != len(self.numbers):
            return
        for number, reached in zip(self.numbers, packed):
            if reached is not None and not self.is_done(number) and not self._path(number, "json").exists():
                self.put(number, reached.mark, reached.segments, reached.is_done)

    def _path(self, number: int, ending: str) -> Path:
        return self._folder / f"{number:04}.{ending}"

    def _lock_path(self, number: int) -> Path:
        return self._path(number, "lock")


class Taken:
    """A part that this thread has taken, until the end of its `with` statement."""

    def __init__(self, parts: SplitParts, number: int, lock_fd: int) -> None:
        self.number = number
        self._parts = parts
        self._lock_fd = lock_fd

    def __enter__(self) -> Taken:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock_fd)


def _locked(path: Path) -> Optional[int]:
    """Lock a file and return its descriptor; None where it is locked, or its folder is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        while not _got(descriptor, fcntl.LOCK_EX):
            if not _got(descriptor, fcntl.LOCK_SH):
                os.close(descriptor)
                return None
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # `_is_held` was testing it
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _is_held(path: Path) -> bool:
    """Say whether a file is locked."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _got(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _got(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
