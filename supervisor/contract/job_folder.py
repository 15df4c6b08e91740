"""The job folder: its file names, and the format of `cuts.json`. PURE.

Each job has one folder in the spool. The broker creates it and downloads the audio into it; the worker
writes the transcript, checkpoints and caches. Both sides take the names from here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Optional

AUDIO = "audio"  # the recording as it was downloaded
TEXT = "transcript.txt"
JSON = "transcript.json"
STAGED = "staged.json"  # written last: the transcript is complete
CHECKPOINT = "checkpoint.json"  # progress of the job; the broker uploads it
SPLIT_POINTS = "cuts.json"  # where a long recording is split; the broker keeps it in the job's record
VAD_CACHE = "findings.json"  # result of voice detection; never leaves the host

# The formats that a staged transcript can be converted to.
TRANSCRIPT_FORMATS = ("txt", "json", "srt", "vtt", "tsv")

SPLIT_POINTS_BYTES_MOST = 16 * 1024  # of the file; a record's attribute must stay small
_OF_CHARS_MOST = 64
_AT = re.compile(r"\d{1,12}( \d{1,12})*", re.ASCII)


@dataclass(frozen=True)
class SplitPointsFile:
    """Contents of `cuts.json`: where a recording is split, and what these points apply to.

    `of` is a hash of audio and options. `at` lists the split points: sample numbers in ascending order,
    separated by spaces.
    """

    of: str
    at: str


def write_split_points(content: SplitPointsFile) -> bytes:
    """Serialize the contents of `cuts.json`."""
    return json.dumps({"of": content.of, "at": content.at}).encode()


def read_split_points(data: bytes) -> Optional[SplitPointsFile]:
    """Parse the contents of `cuts.json`; None if they are invalid or too long."""
    try:
        plain = json.loads(data) if len(data) <= SPLIT_POINTS_BYTES_MOST else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(plain, dict):
        return None
    of, at = plain.get("of"), plain.get("at")
    if not isinstance(of, str) or not isinstance(at, str):
        return None
    return SplitPointsFile(of, at) if len(of) <= _OF_CHARS_MOST and _AT.fullmatch(at) else None
