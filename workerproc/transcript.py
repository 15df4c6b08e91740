"""The transcript as REM's readers know it. PURE.

REM's keys come first and stay as they are; ours come after them. Nothing here knows a
model, a file or a clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

REM_KEYS = (
    "recordingId",
    "userId",
    "deviceId",
    "language",
    "segments",
    "fullText",
    "durationSeconds",
    "transcribedAt",
    "whisperModel",
)


@dataclass(frozen=True)
class Segment:
    """One piece of speech, in seconds of the recording."""

    id: int  # the engine's, from 1
    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Heard:
    """All that one run of the engine over one recording gave."""

    language: Optional[str]
    audio_s: float  # the recording's, silence included
    segments: Sequence[Segment]


@dataclass(frozen=True)
class Origin:
    """Whose recording it is and how this transcript came about."""

    recording_id: str
    user_id: str
    device_id: str
    model: str  # the name as configured
    transcribed_at: str  # UTC, ISO 8601, ends in Z
    attempt: int
    engine: Mapping[str, str]
    options: Mapping[str, Any]
    warnings: Sequence[str] = ()


def build(origin: Origin, heard: Heard) -> dict[str, Any]:
    """Put a transcript together, keys in the order in which they are written."""
    segments = [_plain(segment) for segment in heard.segments]
    return {
        "recordingId": origin.recording_id,
        "userId": origin.user_id,
        "deviceId": origin.device_id,
        "language": heard.language,
        "segments": segments,
        "fullText": " ".join(segment["text"] for segment in segments),
        "durationSeconds": round(heard.audio_s, 2),
        "transcribedAt": origin.transcribed_at,
        "whisperModel": origin.model,
        "engine": dict(origin.engine),
        "options": dict(origin.options),
        "warnings": list(origin.warnings),
        "attempt": origin.attempt,
    }


def _plain(segment: Segment) -> dict[str, Any]:
    tidy = dataclasses.replace(
        segment, start_s=round(segment.start_s, 2), end_s=round(segment.end_s, 2), text=segment.text.strip()
    )
    return {"id": tidy.id, "start": tidy.start_s, "end": tidy.end_s, "text": tidy.text}
