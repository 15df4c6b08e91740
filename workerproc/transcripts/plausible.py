"""What a transcript may claim of a recording: no time past its end, no more words than fit into it. PURE.

The engine pads what it hears to 30 s, and so may time a segment past the end, or make "Thank you." of 50 ms.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from workerproc.transcripts.transcript import Segment, Word

_SHORT_S = 1.0  # longer recordings have other guards: voice detection, and the engine's own
# Fast speakers come to 25. A guess with room above: a word cut short must not be lost.
_CHARS_PER_S_MOST = 30.0  # letters and figures


def within(segments: Sequence[Segment], audio_s: float) -> list[Segment]:
    """Give the segments with no time after the recording's end."""
    return [_segment_within(segment, audio_s) for segment in segments]


def is_invented(segments: Sequence[Segment], audio_s: float) -> bool:
    """Say whether nobody can have spoken this in a recording of less than a second."""
    count = sum(sign.isalnum() for segment in segments for sign in segment.text)
    return audio_s < _SHORT_S and bool(segments) and not 0 < count <= _CHARS_PER_S_MOST * audio_s


def _segment_within(segment: Segment, audio_s: float) -> Segment:
    if segment.end_s <= audio_s:
        return segment
    words = tuple(_word_within(word, audio_s) for word in segment.words)
    return dataclasses.replace(segment, start_s=min(segment.start_s, audio_s), end_s=audio_s, words=words)


def _word_within(word: Word, audio_s: float) -> Word:
    return dataclasses.replace(word, start_s=min(word.start_s, audio_s), end_s=min(word.end_s, audio_s))
