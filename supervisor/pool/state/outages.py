"""Dependencies that do not answer, and since when. PURE."""

from __future__ import annotations

METADATA = "metadata"  # told by the supervisor itself; all others come from the broker
_NEW_AFTER_S = 600.0  # a reason that was away for so long is news again: a guess


class Outages(dict[str, str]):
    """What is wrong, by place (queue, table, ...); `since_s` says when it began."""

    def __init__(self) -> None:
        super().__init__()
        self.since_s: dict[str, float] = {}
        self._named_at_s: dict[str, dict[str, float]] = {}  # by place and sentence: when it was told last

    def begin(self, where: str, detail: str, now_s: float) -> bool:
        """Take up a trouble; one that goes on keeps its beginning. Does it name a reason that is new?

        Several things may be wrong in one place, and be found in turn: each of them is news once.
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
        """Strike a trouble; False where there was none."""
        self.since_s.pop(where, None)
        self._named_at_s.pop(where, None)
        return self.pop(where, None) is not None

    def forget_broker(self) -> None:
        """Strike what a dead broker told: its successor tells what is still so."""
        for where in [where for where in self if where != METADATA]:
            self.end(where)


def _sentences(detail: str) -> list[str]:
    return detail.rstrip(".").split(". ") if detail else []
