"""Corrects implausible segments: times after the end of the recording, text that was never spoken. PURE.

Whisper pads audio to 30 s. So it may place a segment after the end of the recording, or hallucinate
"Thank you." in 50 ms of audio.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from workerproc.transcripts.transcript import Segment, Word

_SHORT_S = 1.0  # for longer ones, voice detection and Whisper's own thresholds suffice
# Fast speakers reach 25. A guess with a margin, so that a truncated word is kept.
_CHARS_PER_S_MOST = 30.0  # letters and digits


def within(segments: Sequence[Segment], audio_s: float) -> list[Segment]:
    """Limit the times of all segments to the length of the recording."""
    return [_segment_within(segment, audio_s) for segment in segments]


def is_invented(segments: Sequence[Segment], audio_s: float) -> bool:
    """Say whether a recording of less than a second is too short for its text."""
    count = sum(sign.isalnum() for segment in segments for sign in segment.text)
    return audio_s < _SHORT_S and bool(segments) and not 0 < count <= _CHARS_PER_S_MOST * audio_s


def _segment_within(segment: Segment, audio_s: float) -> Segment:
    if segment.end_s <= audio_s:
        return segment
    words = tuple(_word_within(word, audio_s) for word in segment.words)
    return dataclasses.replace(segment, start_s=min(segment.start_s, audio_s), end_s=audio_s, words=words)


def _word_within(word: Word, audio_s: float) -> Word:
    return dataclasses.replace(word, start_s=min(word.start_s, audio_s), end_s=min(word.end_s, audio_s))
