"""Computes where a long recording is split into parts that are transcribed in parallel. PURE.

Split points depend on the speech only, so that the text does not depend on the number of slots. A split point
is in the middle of a pause, usually the end of a sentence. Parts shorter than 90 s would cost accuracy, since
each starts without previous text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Optional

RATE_HZ = 16_000
PART_S = 90.0  # minimum of speech in a part
PATIENCE_S = 30.0  # further speech within which a good pause is searched for
GOOD_PAUSE_S = 0.8
LEAST_REST_S = 45.0  # a shorter rest is added to the last part

Stretch = Mapping[str, int]  # `start` and `end` in samples


def parts(stretches: Sequence[Stretch], pauses: Sequence[Stretch]) -> list[list[Stretch]]:
    """Divide speech into parts, in order; a single part where splitting is not worthwhile.

    `pauses` are the silences in and between the stretches of speech, in order: the possible split points.
    """
    found: list[list[Stretch]] = []
    rest = list(stretches)
    while True:
        at = _cut(rest, pauses)
        if at is None:
            return [*found, rest]
        before, rest = _divided(rest, at)
        found.append(before)


def parts_at(stretches: Sequence[Stretch], at: Sequence[int]) -> Optional[list[list[Stretch]]]:
    """Divide speech into parts at these samples; None where a part would be empty."""
    found: list[list[Stretch]] = []
    rest = list(stretches)
    for sample in at:
        before, rest = _divided(rest, sample)
        found.append(before)
    found.append(rest)
    return found if all(found) else None


def begins(parts: Sequence[Sequence[Stretch]]) -> list[int]:
    """Return the split points: the samples at which the parts begin, except the first."""
    return [part[0]["start"] for part in parts[1:]]


def _cut(stretches: Sequence[Stretch], pauses: Sequence[Stretch]) -> Optional[int]:
    """Return the next split point; None where the rest is the last part."""
    whole_s = _speech_s(stretches)
    best: Optional[tuple[float, int]] = None
    for pause in pauses:
        at = (pause["start"] + pause["end"]) // 2
        speech_s = _speech_s(_divided(stretches, at)[0])
        if speech_s < PART_S:
            continue
        if whole_s - speech_s < LEAST_REST_S:
            break
        length_s = (pause["end"] - pause["start"]) / RATE_HZ
        if speech_s > PART_S + PATIENCE_S and best is not None:
            break
        if length_s >= GOOD_PAUSE_S:
            return at
        if best is None or length_s > best[0]:
            best = (length_s, at)
    return None if best is None else best[1]


def _divided(stretches: Sequence[Stretch], at: int) -> tuple[list[Stretch], list[Stretch]]:
    """Divide speech at a sample."""
    return list(_between(stretches, 0, at)), list(_between(stretches, at, None))


def _between(stretches: Sequence[Stretch], start: int, end: Optional[int]) -> Iterator[Stretch]:
    for stretch in stretches:
        begins = max(stretch["start"], start)
        ends = stretch["end"] if end is None else min(stretch["end"], end)
        if begins < ends:
            yield {"start": begins, "end": ends}


def _speech_s(stretches: Sequence[Stretch]) -> float:
    return sum(stretch["end"] - stretch["start"] for stretch in stretches) / RATE_HZ
