"""New settings while running: what changes, and one slot after the other. PURE.

A slot is told to finish and start again; only when its new worker is ready comes the
next. The first that does not get ready ends the roll: the rest goes on as it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from supervisor.pool.state.slot_types import Slot, SlotState

ROLLED = (
    "transcription.model",
    "transcription.compute_type",
    "transcription.language",
    "transcription.task",
    "transcription.beam_size",
    "transcription.temperature",
    "transcription.condition_on_previous_text",
    "transcription.initial_prompt",
    "transcription.hotwords",
    "transcription.word_timestamps",
    "transcription.vad_filter",
    "transcription.vad_threshold",
    "transcription.vad_min_silence_ms",
    "transcription.vad_speech_pad_ms",
    "transcription.split",
    "devices.cpu_threads",
)
"""Settings that a new worker takes up. All others need a restart of the service."""


def changed_keys(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Name the settings (`table.key`) in which two `Settings` differ."""
    keys: list[str] = []
    for item in dataclasses.fields(old):
        was, now = getattr(old, item.name), getattr(new, item.name)
        if was == now:
            continue
        name = f"{prefix}{item.name}"
        keys += changed_keys(was, now, f"{name}.") if dataclasses.is_dataclass(was) else [name]
    return keys


def with_rolled(old: Any, new: Any) -> Any:
    """Give `old` with the settings that workers can take up now replaced by those of `new`."""
    for key in ROLLED:
        table, name = key.split(".")
        value = getattr(getattr(new, table), name)
        old = dataclasses.replace(old, **{table: dataclasses.replace(getattr(old, table), **{name: value})})
    return old


@dataclass
class RollingReload:
    """Slots that still run with old settings, the one under way first."""

    waiting: list[str] = field(default_factory=list)
    under_way: str = ""
    since_s: float = 0.0
    failed: str = ""

    @property
    def is_on(self) -> bool:
        """True while slots wait for their turn, or one of them has it."""
        return bool(self.waiting or self.under_way)

    def begin(self, names: list[str]) -> None:
        """Start over with these slots: a newer reload replaces an older one."""
        self.waiting, self.under_way, self.failed = list(names), "", ""

    def step(self, slots: Mapping[str, Slot], now_s: float) -> Optional[str]:
        """Give the slot to restart now, if it is time for one."""
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
