"""Positions of pauses in the speech of a recording, or of a part, without its silence. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workerproc.checkpoints.split_points import Stretch


def positions(stretches: Sequence[Stretch], pauses: Sequence[Stretch]) -> Iterator[tuple[int, int]]:
    """Yield the middle of each pause within the speech, and the pause's length: both in samples, in order.

    `pauses` are all silences of the recording, in and between `stretches`; those before and after the speech
    are left out.
    """
    before = 0  # speech before the stretch
    left = iter(stretches)
    stretch = next(left, None)
    for pause in pauses:
        middle = (pause["start"] + pause["end"]) // 2
        while stretch is not None and stretch["end"] <= middle:
            before += stretch["end"] - stretch["start"]
            stretch = next(left, None)
        if stretch is None:
            return
        position = before + max(0, middle - stretch["start"])
        if position:
            yield position, pause["end"] - pause["start"]
