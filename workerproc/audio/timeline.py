"""Where decoded audio belongs in a recording's own time, as a player would show it. PURE.

A container stamps its packets. Where the stamps leave a gap (a recorder that was paused, lost packets,
sound that begins later than the picture), silence of that length takes its place, or all later times would be
too early. Jitter, or a clock that runs a little fast, moves nothing: a healthy file keeps its samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

# A guess: packets last 10 to 60 ms, stamps are rounded to one, and a pause that anybody notices is longer.
_LEAST_JUMP_S = 0.05  # between the end of one frame and the beginning of the next
_LEAST_GAP_S = 0.1  # between what was decoded so far and where it should be
_BACK_S = 0.2  # stamps that go back further begin anew, as in files that were put together
GAP_MOST_S = 3_600.0  # a longer one is a broken stamp, or would fill the disk with nothing


@dataclass
class Timeline:
    """One stream's stamps, followed from frame to frame. `zero_s`: the one of the recording's beginning."""

    zero_s: float
    length_s: float = 0.0  # so far, with the silence that was put in
    jumps_s: list[float] = field(default_factory=list)  # that were too long to be put in
    _end_s: float = 0.0  # of the last frame, by the stamps
    _shift_s: float = 0.0  # of the stamps, since they jumped
    _has_begun: bool = False

    def silence_before(self, stamp_s: Optional[float]) -> float:
        """Say how much silence belongs before a frame with this stamp (None: it has none)."""
        if stamp_s is None:
            return 0.0
        at_s = stamp_s - self.zero_s - self._shift_s
        gap_s = at_s - self.length_s
        if at_s < self._end_s - _BACK_S:
            return self._follow(gap_s)
        if at_s - self._end_s <= _LEAST_JUMP_S or gap_s <= _LEAST_GAP_S:
            return 0.0
        if gap_s > GAP_MOST_S:
            if self._has_begun:  # a stream that is a piece of a longer one begins anywhere
                self.jumps_s.append(gap_s)
            return self._follow(gap_s)
        self.length_s += gap_s
        return gap_s

    def add(self, stamp_s: Optional[float], length_s: float) -> None:
        """Take a frame in."""
        begins_s = self._end_s if stamp_s is None else stamp_s - self.zero_s - self._shift_s
        self._end_s = begins_s + length_s
        self.length_s += length_s
        self._has_begun = True

    def _follow(self, gap_s: float) -> float:
        """Let the stamps from now on mean what follows what is here already."""
        self._shift_s += gap_s
        self._end_s = self.length_s
        return 0.0
