"""What outside does not answer just now, and since when. PURE."""

from __future__ import annotations

METADATA = "metadata"  # told by the supervisor itself; all others come from the broker


class Outages(dict[str, str]):
    """What is wrong, by place (queue, table, ...); `since_s` says when it began."""

    def __init__(self) -> None:
        super().__init__()
        self.since_s: dict[str, float] = {}

    def begin(self, where: str, detail: str, now_s: float) -> None:
        """Take up a trouble; one that goes on keeps its beginning."""
        self[where] = detail
        self.since_s.setdefault(where, now_s)

    def end(self, where: str) -> bool:
        """Strike a trouble; False where there was none."""
        self.since_s.pop(where, None)
        return self.pop(where, None) is not None

    def forget_broker(self) -> None:
        """Strike what a dead broker told: its successor tells what is still so."""
        for where in [where for where in self if where != METADATA]:
            self.end(where)
