"""Estimates the table's clock, independent of this host's wall clock.

Hosts compare moments that other hosts wrote into records, and their wall clocks disagree. Every
answer of AWS carries a Date header, so each host measures how far its host clock is from that and
reads the time so corrected. A Date has whole seconds: each answer gives two bounds, and all of them
together narrow the rest down to a fraction of a second.

Source: RFC 9110, section 6.6.1 (Date: the moment at which the message was made).
"""

from __future__ import annotations

import threading
from datetime import timezone
from email.utils import parsedate_to_datetime

from supervisor.contract import clock


class ServiceClock:
    """The time by a service's Date headers; the wall clock until the first of them. Any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        # Unix time less the host clock lies between these; nothing is known yet where low > high.
        self._low_s, self._high_s = 1.0, 0.0

    def unix_s(self) -> float:
        """Say what time it is."""
        with self._guard:
            low_s, high_s = self._low_s, self._high_s
        return clock.now_s() + (low_s + high_s) / 2 if low_s <= high_s else clock.wall_unix_s()

    def learn(self, date: str, asked_at_s: float, answered_at_s: float) -> None:
        """Take the Date of an answer that came between these two moments of the host clock."""
        try:
            when = parsedate_to_datetime(date)
        except (TypeError, ValueError, IndexError):
            return  # no service owes us a Date
        unix_s = when.replace(tzinfo=when.tzinfo or timezone.utc).timestamp()
        low_s, high_s = unix_s - answered_at_s, unix_s + 1.0 - asked_at_s
        with self._guard:
            both = max(low_s, self._low_s), min(high_s, self._high_s)
            # Bounds that exclude each other: nothing known before, a clock that drifted or was set.
            is_first = self._low_s > self._high_s or both[0] > both[1]
            self._low_s, self._high_s = (low_s, high_s) if is_first else both
