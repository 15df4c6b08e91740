"""The transcript as REM's readers know it. PURE.

REM's keys come first and stay as they are; ours come after them. Nothing here knows a
model, a file or a clock.
"""

from __future__ import annotations

import dataclasses
import math
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
class Word:
    """One word, in seconds of the recording."""

    start_s: float
    end_s: float
    text: str
    probability: float


@dataclass(frozen=True)
class Segment:
    """One piece of speech, in seconds of the recording, and how sure the engine was of it."""

    id: int  # the engine's, from 1
    start_s: float
    end_s: float
    text: str
    avg_logprob: float = 0.0  # mean log probability of its window's tokens
    no_speech_prob: float = 0.0
    compression_ratio: float = 0.0  # of the window's text: high where it repeats itself
    temperature: float = 0.0  # above 0: drawn at random, after a lower one failed
    words: tuple[Word, ...] = ()  # where they were asked for


@dataclass(frozen=True)
class Recognised:
    """All that one run of the engine over one recording gave."""

    language: Optional[str]
    audio_s: float  # the recording's, silence included
    segments: Sequence[Segment]
    cuts_s: Sequence[float] = ()  # where its parts begin, but for the first; empty: it was not cut


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
    resumed_from_s: float = 0.0  # seconds of audio that an earlier attempt had done; 0: none
    timings: Mapping[str, float] = dataclasses.field(default_factory=dict)  # seconds by phase


def build(origin: Origin, heard: Recognised) -> dict[str, Any]:
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
        "attempts": origin.attempt,
        "resumedFrom": round(origin.resumed_from_s, 2),
        "cuts": [round(cut_s, 2) for cut_s in heard.cuts_s],
        "timings": {phase: round(took_s, 3) for phase, took_s in origin.timings.items()},
    }


def _plain(segment: Segment) -> dict[str, Any]:
    plain = {
        "id": segment.id,
        "start": round(segment.start_s, 2),
        "end": round(segment.end_s, 2),
        "text": segment.text.strip(),
        # The geometric mean of its window's token probabilities, 0 to 1.
        "confidence": round(min(1.0, math.exp(segment.avg_logprob)), 4),
        "avgLogprob": round(segment.avg_logprob, 4),
        "noSpeechProb": round(segment.no_speech_prob, 4),
        "compressionRatio": round(segment.compression_ratio, 3),
        "temperature": round(segment.temperature, 2),
    }
    if segment.words:
        plain["words"] = [_plain_word(word) for word in segment.words]
    return plain


def _plain_word(word: Word) -> dict[str, Any]:
    return {
        "start": round(word.start_s, 2),
        "end": round(word.end_s, 2),
        "word": word.text.strip(),
        "probability": round(word.probability, 4),
    }
