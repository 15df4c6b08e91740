"""The spool: one bounded folder a job, where audio comes in and results come out.

Named by a hash, so no id from outside is ever a path. What does not fit now waits for
room (TryLater); what could never fit is rejected.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.broker.errors import JobRejected, ResultBroken, TryLater
from supervisor.broker.ports import RecordKey
from supervisor.broker.record import Result

AUDIO, TEXT, JSON, STAGED = "audio", "transcript.txt", "transcript.json", "staged.json"
_SPARE_BYTES = 64 * 1024**2  # left free on the disk for everybody else
_MAX_STAGED_BYTES = 64 * 1024


@dataclass(frozen=True)
class StagedResult:
    """What `staged.json` promises; the file is written last."""

    job_id: str
    attempt: int
    result: Result


class Spool:
    """All job folders of one state directory, under one limit. May be used by many threads."""

    def __init__(self, root: Path, limit_bytes: int, max_file_bytes: int) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root
        self._limit_bytes = limit_bytes
        self._max_file_bytes = max_file_bytes
        self._taken: dict[str, int] = {}  # folder name -> bytes of audio admitted
        self._guard = threading.Lock()

    def folder(self, key: RecordKey) -> Path:
        """Give the job's folder; it may not exist yet."""
        name = hashlib.sha256(f"{key.user_id}/{key.recording_id}".encode()).hexdigest()[:32]
        return self._root / name

    def empty(self, key: RecordKey) -> Path:
        """Make the job's folder, or empty it, for a new attempt."""
        self.drop(key)
        folder = self.folder(key)
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise TryLater("spool", f"{folder}: {error.strerror}") from error
        return folder

    def admit(self, key: RecordKey, size_bytes: int) -> None:
        """Keep room for a file of this size. Raises JobRejected, or TryLater while it is full."""
        if size_bytes == 0:
            raise JobRejected("The audio is empty (0 bytes).")
        if size_bytes > self._max_file_bytes:
            raise JobRejected(
                f"The audio has {size_bytes} bytes; the largest allowed is {self._max_file_bytes}"
                " (spool.max_file_bytes)."
            )
        with self._guard:
            taken = sum(self._taken.values()) - self._taken.get(self.folder(key).name, 0)
            if taken + size_bytes > self._limit_bytes:
                raise TryLater("spool", f"{self._root} is full: {taken} of {self._limit_bytes} bytes in use")
            if shutil.disk_usage(self._root).free < size_bytes + _SPARE_BYTES:
                raise TryLater("spool", f"the disk of {self._root} is full")
            self._taken[self.folder(key).name] = size_bytes

    def drop(self, key: RecordKey) -> None:
        """Remove the job's folder and give its room back."""
        folder = self.folder(key)
        shutil.rmtree(folder, ignore_errors=True)
        with self._guard:
            self._taken.pop(folder.name, None)

    def keep_only(self, keys: Iterable[RecordKey]) -> None:
        """Remove leftovers that belong to no open lease; count what stays."""
        kept = {self.folder(key).name for key in keys}
        for folder in self._root.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            with self._guard:
                self._taken[folder.name] = _size_of(folder / AUDIO)

    def staged(self, key: RecordKey, attempt: int) -> Result:
        """Read the result of this attempt. Raises ResultBroken where it is not there, whole."""
        folder = self.folder(key)
        try:
            with open(folder / STAGED, "rb") as file:
                plain = json.loads(file.read(_MAX_STAGED_BYTES))
            found = _staged_from(plain)
            digest = hashlib.sha256((folder / JSON).read_bytes()).hexdigest()
            _size_check(folder / TEXT)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ResultBroken(f"The worker's result is not complete ({type(error).__name__}).") from error
        if (found.job_id, found.attempt) != (key.recording_id, attempt):
            raise ResultBroken(f"The result in the spool is of attempt {found.attempt}, not of {attempt}.")
        if digest != found.result.sha256_json:
            raise ResultBroken("The transcript in the spool is not the one that was announced.")
        return found.result

    def holds(self, key: RecordKey) -> bool:
        """Say whether the job's audio stands there."""
        return (self.folder(key) / AUDIO).is_file()

    def is_staged(self, key: RecordKey, attempt: int) -> bool:
        """Say whether the result of this attempt stands there, whole."""
        try:
            self.staged(key, attempt)
        except ResultBroken:
            return False
        return True


def _staged_from(plain: Any) -> StagedResult:
    result = Result(str(plain["language"]), float(plain["duration_s"]), str(plain["sha256_json"]))
    return StagedResult(str(plain["job_id"]), int(plain["attempt"]), result)


def _size_check(path: Path) -> None:
    os.stat(path)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
