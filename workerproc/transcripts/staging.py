"""Writing a transcript into a job's folder so that it is whole or not there.

`staged.json` comes last and names the transcript's sum: who finds it finds all three.
Each file is written beside its name, flushed to the disk and renamed.
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
    """Write text, JSON and the mark that they are complete. Raises OSError, leaving no mark."""
    # An earlier attempt's mark must not vouch for this one's half-written files.
    (folder / STAGED).unlink(missing_ok=True)
    data = formats.to_json(transcript).encode("utf-8")
    write_whole(folder / TEXT, formats.to_txt(transcript).encode("utf-8"))
    write_whole(folder / JSON, data)
    mark = {
        "job_id": job_id,
        "attempt": attempt,
        "language": transcript["language"],
        "duration_s": transcript["durationSeconds"],
        "sha256_json": hashlib.sha256(data).hexdigest(),
        "took_s": round(took_s, 3),
    }
    write_whole(folder / STAGED, json.dumps(mark).encode("utf-8"))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file for this user alone; its name appears only once the bytes are on the disk."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself last; some file systems can't, which costs no more than a repeated job."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):  # the file system can't
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
