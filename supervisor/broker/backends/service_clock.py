"""Estimates the table's clock, independent of this host's wall clock.

Hosts compare times that other hosts wrote into records, but their wall clocks differ. Every AWS response has
a Date header, so each host measures its host clock's offset from that and corrects its time. A Date has whole
seconds: each response gives two bounds, and together they narrow the offset to a fraction of a second.

Source: RFC 9110, section 6.6.1 (Date: when the message was originated).
"""

from __future__ import annotations

import threading
from datetime import timezone
from email.utils import parsedate_to_datetime

from supervisor.contract import clock


class ServiceClock:
    """The time by a service's Date headers; the wall clock until the first one. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        # Bounds of Unix time minus host clock; unknown while low > high.
        self._low_s, self._high_s = 1.0, 0.0

    def unix_s(self) -> float:
        """Return the current Unix time."""
        with self._guard:
            low_s, high_s = self._low_s, self._high_s
        return clock.now_s() + (low_s + high_s) / 2 if low_s <= high_s else clock.wall_unix_s()

    def learn(self, date: str, asked_at_s: float, answered_at_s: float) -> None:
        """Use the Date of a response; the two times of the host clock enclose the call."""
        try:
            when = parsedate_to_datetime(date)
        except (TypeError, ValueError, IndexError):
            return  # a service may omit Date
        unix_s = when.replace(tzinfo=when.tzinfo or timezone.utc).timestamp()
        low_s, high_s = unix_s - answered_at_s, unix_s + 1.0 - asked_at_s
        with self._guard:
            both = max(low_s, self._low_s), min(high_s, self._high_s)
            # Contradicting bounds: nothing was known, or a clock drifted or was set.
            is_first = self._low_s > self._high_s or both[0] > both[1]
            self._low_s, self._high_s = (low_s, high_s) if is_first else both
