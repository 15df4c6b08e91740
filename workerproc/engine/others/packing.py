"""Packs speech into windows that end at pauses. PURE.

Positions are samples of the speech without its silence (`vad.Speech`), each the first of a frame of 10 ms:
a window's first frame is its resume point. The windows depend on the speech only.
"""

from __future__ import annotations

from collections.abc import Sequence

from workerproc.checkpoints.split_points import RATE_HZ, Stretch
from workerproc.engine.pauses import positions

FRAME = RATE_HZ // 100  # samples
_BEST_PART = 2 / 3  # of a window: from here on its longest pause is better than its last one
_LEAST = RATE_HZ  # a window is not shorter, unless it is the last one


def windows(stretches: Sequence[Stretch], pauses: Sequence[Stretch], most: int) -> list[tuple[int, int]]:
    """Return the begin and end of each window, in order, without gaps; each has at most `most` samples.

    `stretches` are the speech, `pauses` the silences in and between them, both in samples of the recording.
    A window ends in the longest pause of its last third, else in its last pause, else where it is full.
    """
    length = sum(one["end"] - one["start"] for one in stretches)
    ends = [(at // FRAME * FRAME, pause) for at, pause in positions(stretches, pauses)]
    found: list[tuple[int, int]] = []
    begin = 0
    while length - begin > most:
        fitting = [one for one in ends if begin + _LEAST <= one[0] <= begin + most]
        late = [one for one in fitting if one[0] >= begin + most * _BEST_PART]
        if late:
            end = max(late, key=lambda one: (one[1], one[0]))[0]
        else:
            end = fitting[-1][0] if fitting else (begin + most) // FRAME * FRAME
        found.append((begin, end))
        begin = end
    return [*found, (begin, length)] if begin < length else found
