"""Rolling restart of workers after `reload`, one slot at a time. PURE.

A slot is drained and restarted; the next one follows when its new worker is ready.
If a new worker does not become ready the reload stops: the other slots keep the old settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from supervisor.pool.state.slot_types import Slot, SlotState


@dataclass
class RollingReload:
    """The slots that still have to restart, and the one that is restarting."""

    waiting: list[str] = field(default_factory=list)
    under_way: str = ""
    since_s: float = 0.0
    failed: str = ""

    @property
    def is_on(self) -> bool:
        """True while a slot restarts or waits to restart."""
        return bool(self.waiting or self.under_way)

    def begin(self, names: list[str]) -> None:
        """Begin with these slots; a newer reload replaces an older one."""
        self.waiting, self.under_way, self.failed = list(names), "", ""

    def step(self, slots: Mapping[str, Slot], now_s: float) -> Optional[str]:
        """Return the slot to restart now, or None."""
        if self.under_way:
            slot = slots[self.under_way]
            if slot.state in (SlotState.BACKOFF, SlotState.HELD, SlotState.STOPPED):
                self.failed, self.waiting, self.under_way = f"{slot.name}: {slot.reason}", [], ""
                return None
            if slot.state is not SlotState.READY or (slot.ready_at_s or 0.0) < self.since_s:
                return None
        self.under_way = self.waiting.pop(0) if self.waiting else ""
        self.since_s = now_s
        return self.under_way or None
