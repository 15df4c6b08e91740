"""Where one long recording is cut, so that its parts can be worked on side by side. PURE.

The cuts follow from the speech in it alone: one slot or eight give the same text. A cut falls
into the middle of a pause, where a sentence mostly ends. Finer than a minute and a half costs
accuracy, since each part begins without a past.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Optional

RATE_HZ = 16_000
PART_S = 90.0  # a part has at least so much speech ...
PATIENCE_S = 30.0  # ... and waits this much longer for a good pause
GOOD_PAUSE_S = 0.8
LEAST_REST_S = 45.0  # a shorter rest belongs to the part before it

Stretch = Mapping[str, int]  # `start` and `end` in samples


def parts(stretches: Sequence[Stretch], pauses: Sequence[Stretch]) -> list[list[Stretch]]:
    """Share stretches of speech out to parts, in order; one part where it is not worth while.

    `pauses` are the silences in and between them, in order: where a cut may fall.
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
    """Share stretches of speech out to parts that begin at these samples; None where one would be empty."""
    found: list[list[Stretch]] = []
    rest = list(stretches)
    for sample in at:
        before, rest = _divided(rest, sample)
        found.append(before)
    found.append(rest)
    return found if all(found) else None


def begins(parts: Sequence[Sequence[Stretch]]) -> list[int]:
    """Say at which samples the parts begin, but for the first: cut there, they are the same again."""
    return [part[0]["start"] for part in parts[1:]]


def _cut(stretches: Sequence[Stretch], pauses: Sequence[Stretch]) -> Optional[int]:
    """Say at which sample the first part ends; None where what is left stays in one."""
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
    """Give what lies before a sample, and what after it."""
    return list(_between(stretches, 0, at)), list(_between(stretches, at, None))


def _between(stretches: Sequence[Stretch], start: int, end: Optional[int]) -> Iterator[Stretch]:
    for stretch in stretches:
        begins = max(stretch["start"], start)
        ends = stretch["end"] if end is None else min(stretch["end"], end)
        if begins < ends:
            yield {"start": begins, "end": ends}


def _speech_s(stretches: Sequence[Stretch]) -> float:
    return sum(stretch["end"] - stretch["start"] for stretch in stretches) / RATE_HZ
