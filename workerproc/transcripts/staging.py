"""Writes a transcript into the job folder atomically.

`staged.json` is written last and contains the transcript's checksum: if it exists, all three files are
complete. Each file is written under a temporary name, flushed to disk and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.contract.job_folder import JSON, STAGED, TEXT
from workerproc.transcripts import formats


def stage(folder: Path, job_id: str, attempt: int, transcript: Mapping[str, Any], took_s: float) -> None:
    """Write text, JSON and then `staged.json`. Raises OSError, without having written `staged.json`."""
    # The file of an earlier attempt must not vouch for this attempt's incomplete files.
    (folder / STAGED).unlink(missing_ok=True)
    data = formats.to_json(transcript).encode("utf-8")
    write_whole(folder / TEXT, formats.to_txt(transcript).encode("utf-8"), is_durable=True)
    write_whole(folder / JSON, data, is_durable=True)
    staged = {
        "job_id": job_id,
        "attempt": attempt,
        "language": transcript["language"],
        "duration_s": transcript["durationSeconds"],
        "sha256_json": hashlib.sha256(data).hexdigest(),
        "took_s": round(took_s, 3),
    }
    write_whole(folder / STAGED, json.dumps(staged).encode("utf-8"), is_durable=True)


def write_whole(path: Path, data: bytes, is_durable: bool = False) -> None:
    """Write a file under a temporary name and rename it; readable by its owner only. Raises OSError.

    A durable file gets its name once its contents are on disk, and keeps it after a power failure.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    if is_durable:
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Flush the rename to disk. Without it, on some file systems, a power failure repeats the job."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):  # not supported by the file system
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
