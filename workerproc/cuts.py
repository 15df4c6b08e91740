"""Where one long recording is cut, so that its parts can be worked on side by side. PURE.

The cuts follow from the speech in it alone: one slot or eight give the same text. A cut falls
into a pause between two stretches of speech, where a sentence mostly ends. Finer than a minute
and a half costs accuracy, since each part begins without a past.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

RATE_HZ = 16_000
PART_S = 90.0  # a part has at least so much speech ...
PATIENCE_S = 30.0  # ... and waits this much longer for a good pause
GOOD_PAUSE_S = 1.0
LEAST_REST_S = 45.0  # a shorter rest belongs to the part before it

Stretch = Mapping[str, int]  # `start` and `end` in samples


def parts(stretches: Sequence[Stretch]) -> list[list[Stretch]]:
    """Share stretches of speech out to parts, in order; one part where it is not worth while."""
    found: list[list[Stretch]] = [[]]
    speech_s = 0.0
    for n, stretch in enumerate(stretches):
        found[-1].append(stretch)
        speech_s += _length_s(stretch)
        if n + 1 < len(stretches) and _ends_here(speech_s, stretch, stretches[n + 1]):
            found.append([])
            speech_s = 0.0
    if len(found) > 1 and sum(map(_length_s, found[-1])) < LEAST_REST_S:
        rest = found.pop()
        found[-1] += rest
    return found


def _ends_here(speech_s: float, stretch: Stretch, following: Stretch) -> bool:
    pause_s = (following["start"] - stretch["end"]) / RATE_HZ
    return speech_s >= PART_S + PATIENCE_S or (speech_s >= PART_S and pause_s >= GOOD_PAUSE_S)


def _length_s(stretch: Stretch) -> float:
    return (stretch["end"] - stretch["start"]) / RATE_HZ
