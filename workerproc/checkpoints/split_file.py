"""Reads and writes `cuts.json`: the split points of a recording, so that every worker makes the same parts.

Split points follow from audio and options alone, but voice detection differs in the last bits between CPU
models, and a checkpoint of one part is useless for a different part. The broker keeps this file in the
job's record.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

from supervisor.contract import job_folder
from supervisor.contract.job_folder import SplitPointsFile
from workerproc.checkpoints.checkpoint import WorkIdentity
from workerproc.transcripts.staging import write_whole

log = logging.getLogger(__name__)
CUTS_MOST = 1_000  # 25 hours and more; the file must fit into an attribute of the job's record


def read(folder: Path, work: Callable[[], WorkIdentity]) -> Optional[list[int]]:
    """Return the split points, as sample numbers; None where there are none for this audio and options.

    `work` is called only if the file exists and is valid: it reads the whole audio.
    """
    try:
        with open(folder / job_folder.SPLIT_POINTS, "rb") as file:
            found = job_folder.read_split_points(file.read(job_folder.SPLIT_POINTS_BYTES_MOST + 1))
        if found is None or found.of != _hash_of(work()):
            return None
    except OSError:
        return None
    return [int(number) for number in found.at.split()]


def write(folder: Path, work: WorkIdentity, at: Sequence[int]) -> None:
    """Write the split points. Without the file (too many, or an error) the next worker computes them anew."""
    if not 0 < len(at) <= CUTS_MOST:
        return
    content = SplitPointsFile(_hash_of(work), " ".join(map(str, at)))
    try:
        write_whole(folder / job_folder.SPLIT_POINTS, job_folder.write_split_points(content))
    except OSError as error:
        log.warning(
            "split points cannot be written",
            extra={"event": "split-points-not-written", "reason": os.strerror(error.errno or 0)},
        )


def forget(folder: Path) -> None:
    """Remove the file, which is of other audio or options: this recording is not split."""
    try:
        (folder / job_folder.SPLIT_POINTS).unlink(missing_ok=True)
    except OSError as error:
        log.warning(
            "split points cannot be removed",
            extra={"event": "split-points-not-removed", "reason": os.strerror(error.errno or 0)},
        )


def of_parts(work: WorkIdentity, at: Sequence[int]) -> WorkIdentity:
    """Add the split points to the work's identity: checkpoints of other parts cannot be resumed from."""
    digest = hashlib.sha256(" ".join(map(str, at)).encode()).hexdigest()[:16]
    return dataclasses.replace(work, options={**work.options, "cuts": digest})


def _hash_of(work: WorkIdentity) -> str:
    """Hash what split points follow from: audio and options."""
    named = [work.audio_bytes, work.audio_sha256, dict(work.options)]
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:32]
