"""Voice detection cache: the result for a long recording, in its job folder.

Other workers on this host, which help with the job or resume it, read it instead of detecting speech again
(0.1 s of CPU time per minute of speech). It is valid for one audio, model, engine and set of options only
(`WorkIdentity`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from supervisor.contract import codec, job_folder
from workerproc.checkpoints.checkpoint import WorkIdentity
from workerproc.checkpoints.split_points import Stretch
from workerproc.transcripts.staging import write_whole

log = logging.getLogger(__name__)
_BYTES_MOST = 16 << 20  # 24 hours of short words take a tenth of it


@dataclass(frozen=True)
class VadCache:
    """Speech and pauses, in order; the language; the lowest feature value (`engine/whisper/features.py`)."""

    stretches: list[Stretch]
    pauses: list[Stretch]
    language: str
    floor: float
    warnings: tuple[str, ...] = ()  # about speech that was left out


def read(folder: Path, work: Callable[[], WorkIdentity]) -> Optional[VadCache]:
    """Read the cache; None where there is none for this work. `work` reads the whole audio."""
    try:
        with open(folder / job_folder.VAD_CACHE, "rb") as file:
            plain = json.loads(file.read(_BYTES_MOST))
        if plain["of"] != _name_of(work()):
            return None
        return VadCache(
            _stretches(plain["stretches"]),
            _stretches(plain["pauses"]),
            str(plain["language"]),
            float(plain["floor"]),
            tuple(map(str, plain.get("warnings", ()))),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning(
            "voice detection cache cannot be read",
            extra={"event": "vad-cache-unreadable", "reason": type(error).__name__},
        )
        return None


def write(folder: Path, work: WorkIdentity, found: VadCache) -> None:
    """Write the cache. If that fails, other workers repeat voice detection."""
    plain = {
        "of": _name_of(work),
        "stretches": _plain(found.stretches),
        "pauses": _plain(found.pauses),
        "language": found.language,
        "floor": float(found.floor),
        "warnings": list(found.warnings),
    }
    try:
        write_whole(folder / job_folder.VAD_CACHE, json.dumps(plain).encode())
    except OSError as error:
        log.warning(
            "voice detection cache cannot be written",
            extra={"event": "vad-cache-not-written", "reason": os.strerror(error.errno or 0)},
        )


def _plain(stretches: list[Stretch]) -> list[list[int]]:
    return [[one["start"], one["end"]] for one in stretches]


def _stretches(plain: Any) -> list[Stretch]:
    found: list[Stretch] = [{"start": int(start), "end": int(end)} for start, end in plain]
    bounds = [sample for one in found for sample in (one["start"], one["end"])]
    if bounds != sorted(bounds) or min(bounds, default=0) < 0:
        raise ValueError("stretches out of order")
    return found


def _name_of(work: WorkIdentity) -> str:
    return hashlib.sha256(json.dumps(codec.to_plain(work), sort_keys=True).encode()).hexdigest()
