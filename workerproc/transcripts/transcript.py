"""Builds the JSON transcript that REM's clients read. PURE.

REM's keys come first and never change; further keys follow.
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
    """One segment of speech, in seconds of the recording, with the engine's confidence values."""

    id: int  # counted from 1
    start_s: float
    end_s: float
    text: str
    avg_logprob: float = 0.0  # mean log probability of its window's tokens
    no_speech_prob: float = 0.0
    compression_ratio: float = 0.0  # of the window's text: high for repetitive text
    temperature: float = 0.0  # above 0: sampled at random, as a fallback from a lower temperature
    words: tuple[Word, ...] = ()  # only with word_timestamps


@dataclass(frozen=True)
class Recognised:
    """Result of running the engine on one recording."""

    language: Optional[str]
    audio_s: float  # of the recording, including silence
    segments: Sequence[Segment]
    cuts_s: Sequence[float] = ()  # the split points; empty where it was not split


@dataclass(frozen=True)
class Origin:
    """Metadata of a transcript: whose recording it is, and how it was transcribed."""

    recording_id: str
    user_id: str
    device_id: str
    model: str  # the name as configured
    transcribed_at: str  # UTC, ISO 8601, ends in Z
    attempt: int
    engine: Mapping[str, str]
    options: Mapping[str, Any]
    warnings: Sequence[str] = ()
    resumed_from_s: float = 0.0  # seconds of audio transcribed by an earlier attempt
    timings: Mapping[str, float] = dataclasses.field(
        default_factory=dict
    )  # seconds by phase; counts of windows


def build(origin: Origin, recognised: Recognised) -> dict[str, Any]:
    """Build the transcript, with its keys in the order in which they are written."""
    segments = [_plain(segment) for segment in recognised.segments]
    return {
        "recordingId": origin.recording_id,
        "userId": origin.user_id,
        "deviceId": origin.device_id,
        "language": recognised.language,
        "segments": segments,
        "fullText": " ".join(segment["text"] for segment in segments),
        "durationSeconds": round(recognised.audio_s, 2),
        "transcribedAt": origin.transcribed_at,
        "whisperModel": origin.model,
        "engine": dict(origin.engine),
        "options": dict(origin.options),
        "warnings": list(origin.warnings),
        "attempts": origin.attempt,
        "resumedFrom": round(origin.resumed_from_s, 2),
        "cuts": [round(cut_s, 2) for cut_s in recognised.cuts_s],
        "timings": {phase: round(took_s, 3) for phase, took_s in origin.timings.items()},
    }


def _plain(segment: Segment) -> dict[str, Any]:
    plain = {
        "id": segment.id,
        "start": round(segment.start_s, 2),
        "end": round(segment.end_s, 2),
        "text": segment.text.strip(),
        # The geometric mean of the window's token probabilities, 0 to 1.
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
