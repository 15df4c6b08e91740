"""The spool: one folder per job for audio and results, with a size limit.

Folder names are hashes, so an id from outside never becomes a path. Audio that does not fit now waits for
room (TryLater); audio that could never fit is rejected. If the lease of a finished result is lost, the result
is kept for a day without its audio: if the message is delivered here again, only the commit remains to be
done.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from supervisor.broker.ports.errors import JobRejected, ResultBroken, TryLater
from supervisor.broker.ports.ports import RecordKey
from supervisor.broker.rules.record_rules import Result
from supervisor.contract import clock
from supervisor.contract.job_folder import AUDIO, CHECKPOINT, JSON, STAGED, TEXT

_SPARE_BYTES = 64 * 1024**2  # kept free on the disk for other programs
_PROOF_BYTES = 65_536
_MAX_STAGED_BYTES = 64 * 1024
_KEPT_MOST_S = 86_400.0
_KEPT_MOST_COUNT = 1_000


@dataclass(frozen=True)
class StagedResult:
    """The content of `staged.json`, which the worker writes last."""

    job_id: str
    attempt: int
    result: Result


class Spool:
    """All job folders of one state directory, under one size limit. Thread-safe."""

    def __init__(self, root: Path, limit_bytes: int, max_file_bytes: int) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root
        self._limit_bytes = limit_bytes
        self._max_file_bytes = max_file_bytes
        self._taken: dict[str, int] = {}  # folder name -> bytes of audio admitted
        self._asked_bytes = 0  # size of the last requested audio
        self._samples_bytes = 0  # decoded samples of recordings in transcription
        self._kept_at_s: dict[str, float] = {}  # folder name -> when its lease was lost, oldest first
        self._to_remove: set[str] = set()  # folders of ended jobs, to be removed
        self._guard = threading.Lock()
        self._removing = threading.RLock()

    def folder(self, key: RecordKey) -> Path:
        """Return the job's folder; it may not exist."""
        return self._root / _name_of(key)

    def empty(self, key: RecordKey) -> Path:
        """Create the job's folder, or empty it, for a new attempt."""
        folder = self.folder(key)
        with self._removing:
            try:
                if not _create(folder):
                    self.drop(key)
                    folder.mkdir(mode=0o700)
            except OSError as error:
                raise TryLater("spool", f"{folder}: {error.strerror}") from error
            with self._guard:
                self._to_remove.discard(folder.name)
        return folder

    def admit(self, key: RecordKey, size_bytes: int) -> None:
        """Reserve room for a file. Raises JobRejected if it never fits, TryLater while full."""
        if size_bytes == 0:
            raise JobRejected("The audio is empty (0 bytes).")
        if size_bytes > self._max_file_bytes:
            raise JobRejected(
                f"The audio has {size_bytes} bytes; the largest allowed is {self._max_file_bytes}"
                " (spool.max_file_bytes)."
            )
        with self._guard:
            self._asked_bytes = size_bytes
            self._check_room(size_bytes, self.folder(key).name)
            self._taken[self.folder(key).name] = size_bytes

    def _check_room(self, size_bytes: int, name: str = "") -> None:
        taken = sum(self._taken.values()) - self._taken.get(name, 0)
        # Samples alone never block the last recording: no other job would free room for it.
        in_use = taken + (self._samples_bytes if taken else 0)
        if in_use + size_bytes > self._limit_bytes:
            raise TryLater("spool", f"{self._root} is full: {in_use} of {self._limit_bytes} bytes in use")
        if shutil.disk_usage(self._root).free < size_bytes + _SPARE_BYTES:
            raise TryLater("spool", f"the disk of {self._root} is full")

    def prove_room(self) -> None:
        """Check that the last requested audio would fit now. Raises TryLater."""
        try:
            with self._guard:
                self._check_room(self._asked_bytes)
            with tempfile.TemporaryFile(dir=self._root) as file:
                file.write(bytes(_PROOF_BYTES))
        except OSError as error:
            raise TryLater("spool", f"{self._root}: {error.strerror}") from error

    def count_samples(self, size_bytes: int) -> None:
        """Count decoded samples, which workers keep here in unnamed files, against the limit."""
        with self._guard:
            self._samples_bytes = size_bytes

    def drop(self, key: RecordKey) -> None:
        """Remove the job's folder and free its room."""
        folder = self.folder(key)
        with self._removing:
            _remove_folder(folder)
            with self._guard:
                self._to_remove.discard(folder.name)
                self._taken.pop(folder.name, None)
                self._kept_at_s.pop(folder.name, None)

    def mark_for_removal(self, key: RecordKey) -> None:
        """Free the job's room now; `clear`, or `empty` of the next attempt, removes the folder."""
        name = _name_of(key)
        with self._guard:
            self._to_remove.add(name)
            self._taken.pop(name, None)
            self._kept_at_s.pop(name, None)

    def clear(self, key: RecordKey) -> None:
        """Remove a folder marked by `mark_for_removal`, unless a new attempt uses it."""
        name = _name_of(key)
        if name not in self._to_remove:
            return
        with self._removing:
            if name in self._to_remove:
                self.drop(key)

    def keep_if_staged(self, key: RecordKey) -> None:
        """Keep the folder of a lost job if it holds a complete result; remove it otherwise."""
        self._keep_if_staged(self.folder(key))

    def kept_attempt(self, key: RecordKey) -> Optional[int]:
        """Return the attempt of the complete result that was kept, if any."""
        try:
            return self._whole(self.folder(key), key).attempt
        except ResultBroken:
            return None

    def take_up(self, key: RecordKey) -> None:
        """Count a kept folder as a live job's again."""
        with self._guard:
            self._kept_at_s.pop(self.folder(key).name, None)

    def keep_only(self, keys: Iterable[RecordKey], ended_ids: Container[str] = ()) -> None:
        """Keep or remove the folders that belong to no open lease; count the others.

        `ended_ids` names the jobs that are known to have ended: their results are removed, not kept.
        """
        kept = {self.folder(key).name for key in keys}
        for folder in self._root.iterdir():
            if folder.name not in kept:
                if _job_staged_in(folder) in ended_ids:
                    shutil.rmtree(folder, ignore_errors=True)
                self._keep_if_staged(folder)
                continue
            with self._guard:
                self._taken[folder.name] = _size_of(folder / AUDIO)

    def _keep_if_staged(self, folder: Path) -> None:
        now_s = clock.now_s()
        with self._guard:
            self._taken.pop(folder.name, None)
            if (folder / STAGED).is_file():
                self._kept_at_s[folder.name] = now_s
            oldest = list(self._kept_at_s.items())[:-_KEPT_MOST_COUNT]
            gone = {name for name, at_s in self._kept_at_s.items() if now_s - at_s > _KEPT_MOST_S}
            gone.update(name for name, _ in oldest)
            for name in gone:
                del self._kept_at_s[name]
            stays = folder.name in self._kept_at_s
        for name in gone if stays else {*gone, folder.name}:
            shutil.rmtree(self._root / name, ignore_errors=True)
        if stays:
            _remove(folder / AUDIO)
            _remove(folder / CHECKPOINT)

    def staged(self, key: RecordKey, attempt: int) -> Result:
        """Read the result of this attempt. Raises ResultBroken if it is missing or incomplete."""
        found = self._whole(self.folder(key), key)
        if found.attempt != attempt:
            raise ResultBroken(f"The result in the spool is of attempt {found.attempt}, not of {attempt}.")
        return found.result

    def _whole(self, folder: Path, key: RecordKey) -> StagedResult:
        """Read a result and verify that it is complete and matches `staged.json`."""
        try:
            found = _read_staged(folder)
            digest = hashlib.sha256((folder / JSON).read_bytes()).hexdigest()
            _size_check(folder / TEXT)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ResultBroken(f"The worker's result is not complete ({type(error).__name__}).") from error
        if found.job_id != key.recording_id:
            raise ResultBroken(f"The result in the spool is of job {found.job_id}.")
        if digest != found.result.sha256_json:
            raise ResultBroken("The transcript in the spool is not the one that was announced.")
        return found

    def holds(self, key: RecordKey) -> bool:
        """Return whether the job's audio is there."""
        return (self.folder(key) / AUDIO).is_file()

    def is_staged(self, key: RecordKey, attempt: int) -> bool:
        """Return whether a complete result of this attempt is there."""
        try:
            self.staged(key, attempt)
        except ResultBroken:
            return False
        return True


@functools.lru_cache(maxsize=1_024)
def _name_of(key: RecordKey) -> str:
    return hashlib.sha256(f"{key.user_id}/{key.recording_id}".encode()).hexdigest()[:32]


def _create(folder: Path) -> bool:
    """Create the folder; False if it exists."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _remove_folder(folder: Path) -> None:
    """Remove a job's folder: usually four files; `rmtree` would stat each of them."""
    try:
        for name in os.listdir(folder):
            os.unlink(folder / name)
        os.rmdir(folder)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def _staged_from(plain: Any) -> StagedResult:
    result = Result(str(plain["language"]), float(plain["duration_s"]), str(plain["sha256_json"]))
    return StagedResult(str(plain["job_id"]), int(plain["attempt"]), result)


def _read_staged(folder: Path) -> StagedResult:
    with open(folder / STAGED, "rb") as file:
        return _staged_from(json.loads(file.read(_MAX_STAGED_BYTES)))


def _job_staged_in(folder: Path) -> str:
    try:
        return _read_staged(folder).job_id
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _size_check(path: Path) -> None:
    os.stat(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
