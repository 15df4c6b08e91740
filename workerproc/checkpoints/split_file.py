"""The cuts of a recording in its job's folder, so that all who work on it make the same parts.

They follow from audio and options alone; but the voice detector's last bits differ between makes of
CPU, and a checkpoint of one part means nothing to another one. The broker keeps this file in the record.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

from workerproc.checkpoints.checkpoint import WorkIdentity
from workerproc.checkpoints.checkpoint_files import write_beside

log = logging.getLogger(__name__)
FILE = "cuts.json"
CUTS_MOST = 1_000  # 25 hours and more; a record's attribute must stay small
_BYTES_MOST = 16 * 1024
_AT = re.compile(r"\d{1,12}( \d{1,12})*", re.ASCII)


def read(folder: Path, work: Callable[[], WorkIdentity]) -> Optional[list[int]]:
    """Give the samples at which work of just this audio and options was cut; None where that is not known.

    `work` is asked only where there is such a file: it reads the audio.
    """
    try:
        with open(folder / FILE, "rb") as file:
            plain = json.loads(file.read(_BYTES_MOST))
        if plain["of"] != _name_of(work()) or not _AT.fullmatch(plain["at"]):
            return None
        return [int(number) for number in plain["at"].split()]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write(folder: Path, work: WorkIdentity, at: Sequence[int]) -> None:
    """Keep the cuts; where that can't be done, or there are too many, those who carry on make them anew."""
    if not 0 < len(at) <= CUTS_MOST:
        return
    data = json.dumps({"of": _name_of(work), "at": " ".join(map(str, at))}).encode()
    try:
        write_beside(folder / FILE, data)
    except OSError as error:
        log.warning(
            "split points cannot be written",
            extra={"event": "split-points-not-written", "reason": os.strerror(error.errno or 0)},
        )


def forget(folder: Path) -> None:
    """Remove what is there, of other audio or options: this recording is not cut."""
    try:
        (folder / FILE).unlink(missing_ok=True)
    except OSError as error:
        log.warning(
            "split points cannot be removed",
            extra={"event": "split-points-not-removed", "reason": os.strerror(error.errno or 0)},
        )


def of_parts(work: WorkIdentity, at: Sequence[int]) -> WorkIdentity:
    """Name the work on parts that were cut here: what was reached in others can't be carried on."""
    digest = hashlib.sha256(" ".join(map(str, at)).encode()).hexdigest()[:16]
    return dataclasses.replace(work, options={**work.options, "cuts": digest})


def _name_of(work: WorkIdentity) -> str:
    """Name what cuts follow from: audio and options."""
    named = [work.audio_bytes, work.audio_sha256, dict(work.options)]
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:32]
