"""Dependencies that do not answer, and since when. PURE."""

from __future__ import annotations

METADATA = "metadata"  # reported by the supervisor itself; all others by the broker
_NEW_AFTER_S = 600.0  # a reason absent for this long is reported again: a guess


class Outages(dict[str, str]):
    """Current outages by dependency (queue, table, ...); `since_s` says when each began."""

    def __init__(self) -> None:
        super().__init__()
        self.since_s: dict[str, float] = {}
        self._named_at_s: dict[str, dict[str, float]] = {}  # last report, by place and sentence

    def begin(self, where: str, detail: str, now_s: float) -> bool:
        """Record an outage, which keeps its begin while it lasts; return whether it names a new reason.

        One dependency may have several faults that are found in turn: each is reported once.
        """
        named_at_s = self._named_at_s.setdefault(where, {})
        named_at_s.update((sentence, now_s) for sentence in _sentences(self.get(where, "")))
        found = _sentences(detail)
        is_news = any(now_s - named_at_s.get(sentence, -_NEW_AFTER_S) >= _NEW_AFTER_S for sentence in found)
        named_at_s.update((sentence, now_s) for sentence in found)
        self[where] = detail
        self.since_s.setdefault(where, now_s)
        return is_news

    def end(self, where: str) -> bool:
        """Remove an outage; False if there was none."""
        self.since_s.pop(where, None)
        self._named_at_s.pop(where, None)
        return self.pop(where, None) is not None

    def forget_broker(self) -> None:
        """Remove the outages that a dead broker reported: its successor reports those that persist."""
        for where in [where for where in self if where != METADATA]:
            self.end(where)


def _sentences(detail: str) -> list[str]:
    return detail.rstrip(".").split(". ") if detail else []
