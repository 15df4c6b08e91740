"""Groups XIDs of one GPU that arrive together into one fault. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Optional

from supervisor.contract.wire.messages import Xid

COLLECT_S = 2.0
XIDS_MOST = 64  # in one burst; a failing GPU reports hundreds, mostly the same


@dataclass
class XidBurst:
    """The XIDs of one GPU since `at_s`."""

    uuid: str
    at_s: float
    xids: list[int] = field(default_factory=list)


class XidBursts:
    """The bursts being collected."""

    def __init__(self) -> None:
        self._open: dict[str, XidBurst] = {}

    def add(self, xid: Xid) -> bool:
        """Add an XID; return whether its number is new in its burst."""
        burst = self._open.setdefault(xid.uuid, XidBurst(xid.uuid, xid.at_s))
        is_new = xid.xid not in burst.xids and len(burst.xids) < XIDS_MOST
        if is_new:
            burst.xids.append(xid.xid)
        return is_new

    def due(self, now_s: float) -> Iterator[XidBurst]:
        """Remove and yield the bursts that are complete: their collection time is over."""
        for burst in tuple(self._open.values()):
            if now_s - burst.at_s >= COLLECT_S:
                yield self._open.pop(burst.uuid)

    def next_due_at_s(self) -> Optional[float]:
        return min((burst.at_s + COLLECT_S for burst in self._open.values()), default=None)
