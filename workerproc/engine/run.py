"""A transcription under way: its segments, its resume point and what was counted on the way."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Optional

from workerproc.checkpoints.checkpoint import ResumePoint
from workerproc.engine.window_marks import Marking
from workerproc.transcripts.transcript import Segment, Word


@dataclass
class Run:
    """Transcription of a recording or a part: `segments` are computed while they are iterated.

    `mark` is the latest resume point; it is valid once `mark.segments` segments have been taken.
    """

    language: Optional[str]
    segments: Iterator[Segment]
    mark: ResumePoint
    given: int = 0  # segments so far, including those before the first resume point
    sparse_s: float = 0.0  # seconds of speech in windows with almost no text
    windows: Counter[str] = field(default_factory=Counter)  # by name: see `fit_encoding.py`


def converted(run: Run, segments: Iterable[Any], model: Marking) -> Iterator[Segment]:
    """Convert the segments, numbered from the resume point on."""
    before = run.given
    for segment in segments:
        run.given += 1
        yield _segment_from(segment, before + segment.id)
    run.mark = dataclasses.replace(run.mark, segments=run.given)  # the end is reached
    run.sparse_s = model.sparse_s


def _segment_from(segment: Any, number: int) -> Segment:
    words = [Word(word.start, word.end, word.word, word.probability) for word in segment.words or ()]
    return Segment(
        number,
        segment.start,
        segment.end,
        segment.text,
        segment.avg_logprob,
        segment.no_speech_prob,
        segment.compression_ratio,
        segment.temperature,
        tuple(words),
    )
