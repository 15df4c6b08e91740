"""Places decoded audio on the recording's timeline by its timestamps, as a player would. PURE.

Where timestamps leave a gap (a paused recorder, lost packets, audio that starts later than video), silence of
that length is inserted; otherwise all later times would be too early. Jitter and clock drift are ignored: an
undamaged file keeps its samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

# A guess: packets last 10 to 60 ms, timestamps are rounded to one, and a real pause is longer.
_LEAST_JUMP_S = 0.05  # between the end of one frame and the beginning of the next
_LEAST_GAP_S = 0.1  # between the audio decoded so far and the timestamp
_BACK_S = 0.2  # timestamps that go back further restart, as in concatenated files
GAP_MOST_S = 3_600.0  # a longer one is a broken timestamp, and would fill the disk with silence


@dataclass
class Timeline:
    """Follows one stream's timestamps from frame to frame. `zero_s`: the timestamp of the beginning."""

    zero_s: float
    length_s: float = 0.0  # so far, including inserted silence
    jumps_s: list[float] = field(default_factory=list)  # too long to be filled
    _end_s: float = 0.0  # of the last frame, by timestamp
    _shift_s: float = 0.0  # added to timestamps since they jumped
    _has_begun: bool = False

    def silence_before(self, stamp_s: Optional[float]) -> float:
        """Return the seconds of silence before a frame with this timestamp (None: it has none)."""
        if stamp_s is None:
            return 0.0
        at_s = stamp_s - self.zero_s - self._shift_s
        gap_s = at_s - self.length_s
        if at_s < self._end_s - _BACK_S:
            return self._follow(gap_s)
        if at_s - self._end_s <= _LEAST_JUMP_S or gap_s <= _LEAST_GAP_S:
            return 0.0
        if gap_s > GAP_MOST_S:
            if self._has_begun:  # the first timestamp of a partial stream can be any value
                self.jumps_s.append(gap_s)
            return self._follow(gap_s)
        self.length_s += gap_s
        return gap_s

    def add(self, stamp_s: Optional[float], length_s: float) -> None:
        """Add a frame."""
        begins_s = self._end_s if stamp_s is None else stamp_s - self.zero_s - self._shift_s
        self._end_s = begins_s + length_s
        self.length_s += length_s
        self._has_begun = True

    def _follow(self, gap_s: float) -> float:
        """Shift the timestamps so that the next frame follows the previous one without a gap."""
        self._shift_s += gap_s
        self._end_s = self.length_s
        return 0.0
