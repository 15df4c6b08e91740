"""Converts faster-whisper's segments while they are computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from workerproc.engine.port import Run
from workerproc.engine.whisper.window_marks import Marking
from workerproc.transcripts.transcript import Segment, Word


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
