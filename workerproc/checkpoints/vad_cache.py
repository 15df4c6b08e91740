"""What listening to a long recording told, kept in its job's folder: nobody need listen to it twice.

Helpers and heirs on this host read it; a minute of speech costs a core 0.1 s to find. It stands
for one audio, model, engine and set of options alone (`Work`), and is made anew for any other.
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
from workerproc.checkpoints.checkpoint_files import write_beside
from workerproc.checkpoints.split_points import Stretch

log = logging.getLogger(__name__)
_BYTES_MOST = 16 << 20  # a day of short words takes a tenth of it


@dataclass(frozen=True)
class VadCache:
    """Where somebody speaks and pauses, in order; the language; the lowest value that features have."""

    stretches: list[Stretch]
    pauses: list[Stretch]
    language: str
    floor: float
    warnings: tuple[str, ...] = ()  # about what was left out


def read(folder: Path, work: Callable[[], WorkIdentity]) -> Optional[VadCache]:
    """Give what was found in just this work; None where nothing is known. `work` reads the audio."""
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
    """Keep what was found; where that can't be done, others listen for themselves."""
    plain = {
        "of": _name_of(work),
        "stretches": _plain(found.stretches),
        "pauses": _plain(found.pauses),
        "language": found.language,
        "floor": float(found.floor),
        "warnings": list(found.warnings),
    }
    try:
        write_beside(folder / job_folder.VAD_CACHE, json.dumps(plain).encode())
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
