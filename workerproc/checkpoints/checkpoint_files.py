"""Reads and writes one job's checkpoints in its job folder.

Files are not fsynced: after a power failure the queue redelivers the job, and an incomplete file is
recognised. If a checkpoint cannot be written, a warning is logged and the job continues.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable, Optional

from supervisor.contract import clock, job_folder
from supervisor.contract.child_bootstrap import WorkerSettings
from supervisor.contract.wire.messages import Checkpoint as CheckpointMessage
from supervisor.contract.wire.messages import JobCard
from workerproc.checkpoints import checkpoint
from workerproc.checkpoints.checkpoint import BadCheckpoint, CheckpointContent, ResumePoint, WorkIdentity
from workerproc.transcripts.staging import write_whole
from workerproc.transcripts.transcript import Segment

log = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 20
_EDGE_BYTES = 1 << 16


class Checkpoints:
    """Finds the checkpoint of an earlier worker, and writes checkpoints for a later one."""

    def __init__(
        self,
        card: JobCard,
        settings: WorkerSettings,
        options: object,
        engine: Mapping[str, str],
        send: Callable[[CheckpointMessage], None],
    ) -> None:
        """`options` is a dataclass; `engine` names versions and device; `send` sends to the supervisor."""
        self.folder = Path(card.folder)
        self._card = card
        self._path = self.folder / job_folder.CHECKPOINT
        self._settings = settings
        self._options = options
        self._engine = engine
        self._send = send
        self._work: Optional[WorkIdentity] = None
        self._written_at_s = clock.now_s()
        self._written: Optional[ResumePoint] = None
        self._lines: list[str] = []  # serialized segments
        self._packed_digest = b""  # of the parts' checkpoints that were sent last
        self.resumed_from_s = 0.0  # seconds of audio that an earlier worker had done

    def find(self) -> Optional[CheckpointContent]:
        """Return the checkpoint to resume from, if any. Logs from where, or why the job is restarted."""
        facts = {"job_id": self._card.job_id, "attempt": self._card.attempt}
        try:
            found = self._read()
            reason = checkpoint.unusable(found, self.present_work()) if found is not None else None
        except (BadCheckpoint, OSError) as error:
            found, reason = None, str(error)
        if reason is not None:
            log.warning(
                "job starts from the beginning", extra={"event": "job-restarted", **facts, "reason": reason}
            )
            return None
        if found is not None:
            log.info(
                "job resumed from checkpoint",
                extra={"event": "job-resumed", **facts, "from_s": round(found.done_s, 2)},
            )
            self._written = found.mark
            self.resumed_from_s = found.done_s
        return found

    def look(self, mark: ResumePoint, segments: Sequence[Segment]) -> None:
        """Write a checkpoint if the checkpoint interval has passed."""
        if clock.now_s() - self._written_at_s >= self._settings.checkpoint_s:
            self.keep(mark, segments)

    def keep(self, mark: ResumePoint, segments: Sequence[Segment]) -> None:
        """Write a checkpoint now, if there was progress since the last one."""
        if not mark.seek or mark == self._written:
            return
        self._written_at_s = clock.now_s()
        self._lines += map(checkpoint.write_segment, segments[len(self._lines) : mark.segments])
        if self._wrote(checkpoint.write(self.present_work(), mark, self._lines)):
            self._written = mark
            self._send(
                CheckpointMessage(self._card.job_id, checkpoint.done_s(mark, segments), self._card.attempt)
            )

    # --- split recordings

    def find_parts(self, work: WorkIdentity) -> list[Optional[CheckpointContent]]:
        """Return the checkpoints of all parts, if they were packed for this work; otherwise nothing."""
        facts = {"job_id": self._card.job_id, "attempt": self._card.attempt}
        try:
            found = checkpoint.unpack(read_bounded(self._path))
            for part in found:
                reason = None if part is None else checkpoint.unusable(part, work)
                if reason is not None:
                    raise BadCheckpoint(reason)
        except FileNotFoundError:
            return []
        except (BadCheckpoint, OSError) as error:
            log.warning(
                "job starts from the beginning",
                extra={"event": "job-restarted", **facts, "reason": str(error)},
            )
            return []
        return found

    def carry_on(self, done_s: float) -> None:
        """Note how much of a split recording earlier workers have done."""
        self.resumed_from_s = done_s
        if done_s:
            facts = {"job_id": self._card.job_id, "attempt": self._card.attempt}
            log.info(
                "job resumed from checkpoint",
                extra={"event": "job-resumed", **facts, "from_s": round(done_s, 2)},
            )

    def look_parts(self, packed: Callable[[], bytes], done_s: float) -> None:
        """Write the parts' packed checkpoints if the checkpoint interval has passed."""
        if clock.now_s() - self._written_at_s >= self._settings.checkpoint_s:
            self.keep_parts(packed(), done_s)

    def keep_parts(self, packed: bytes, done_s: float) -> None:
        """Write the parts' packed checkpoints now, so that another host can resume the job."""
        self._written_at_s = clock.now_s()
        digest = hashlib.sha256(packed).digest()
        if done_s and digest != self._packed_digest and self._wrote(packed):
            self._packed_digest = digest
            self._send(CheckpointMessage(self._card.job_id, done_s, self._card.attempt))

    # --- inside

    def _read(self) -> Optional[CheckpointContent]:
        try:
            return checkpoint.read(read_bounded(self._path))
        except FileNotFoundError:
            return None

    def _wrote(self, data: bytes) -> bool:
        try:
            write_whole(self._path, data)
        except OSError as error:
            facts = {"job_id": self._card.job_id, "reason": str(error)}
            log.warning("checkpoint cannot be written", extra={"event": "checkpoint-not-written", **facts})
            return False
        return True

    def present_work(self) -> WorkIdentity:
        """Return everything that determines this job's text. Reads the whole audio on the first call."""
        if self._work is None:
            audio = Path(self._card.folder) / job_folder.AUDIO
            self._work = WorkIdentity(
                audio.stat().st_size,
                _sha256_of(audio),
                self._settings.model,
                checkpoint.plain_options(self._options),
                _fingerprint(self._settings, self._engine),
            )
        return self._work


def read_bounded(path: Path) -> bytes:
    """Read a checkpoint file. Raises OSError, or `BadCheckpoint` where it is too large."""
    with open(path, "rb") as file:
        data = file.read(checkpoint.MOST_BYTES + 1)
    if len(data) > checkpoint.MOST_BYTES:
        raise BadCheckpoint(f"the checkpoint has more than {checkpoint.MOST_BYTES} bytes")
    return data


def _fingerprint(settings: WorkerSettings, engine: Mapping[str, str]) -> dict[str, str]:
    """Identify the engine. Python version and thread count are included: both can change the text."""
    return {
        **engine,
        "python": ".".join(map(str, sys.version_info[:2])),
        "machine": platform.machine(),
        "threads": str(settings.threads),
        "model": _model_sha256(Path(settings.model_path)),
    }


def _model_sha256(path: Path) -> str:
    """Hash a model's size, beginning and end: reading all of a large model takes seconds.

    `path`: a model file, or the folder of a model.bin.
    """
    path = path / "model.bin" if path.is_dir() else path
    try:
        with open(path, "rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            first = file.read(_EDGE_BYTES)
            file.seek(max(0, size_bytes - _EDGE_BYTES))
            last = file.read(_EDGE_BYTES)
    except OSError:
        return ""
    return hashlib.sha256(b"%d " % size_bytes + first + last).hexdigest()


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for data in iter(lambda: file.read(_CHUNK_BYTES), b""):
            digest.update(data)
    return digest.hexdigest()
