"""After `release`: watch the slot's start and print its outcome.

A released slot may be held again within seconds, when gpuwatch checks its GPU. The supervisor's reply
says how long a start must be watched before it counts as successful (`follow`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Callable

from supervisor.cli.client.errors import CommandFailed
from supervisor.cli.text.text_format import number, printable
from supervisor.contract import clock

LOOK_EVERY_S = 0.3


def follow_start(
    follow: Mapping[str, Any],
    status: Callable[[], Any],
    now_s: Callable[[], float] = clock.now_s,
    wait: Callable[[float], None] = time.sleep,
) -> str:
    """Watch one slot's start and describe its outcome. Raises `CommandFailed` if it failed."""
    name = printable(follow.get("slot"))
    begun_at_s = now_s()
    sure_at_s = begun_at_s + (number(follow.get("sure_after_s")) or 0.0)
    until_s = max(sure_at_s, begun_at_s + (number(follow.get("most_s")) or 0.0))
    while True:
        slot = _slot_of(status(), name)
        state, reason = printable(slot.get("state")), printable(slot.get("reason"))
        if state in ("held", "backoff"):
            again = "held again" if state == "held" else "in back-off"
            raise CommandFailed(f"{name} is {again}: {reason}")
        if state == "ready" and now_s() >= sure_at_s:
            return f"{name} is ready."
        if now_s() >= until_s:
            doing = f"{state or 'gone'}{f' ({reason})' if reason else ''}"
            return f"{name} is still {doing}; `rem-supervisor status` shows when it is ready."
        wait(LOOK_EVERY_S)


def _slot_of(status: Any, name: str) -> Mapping[str, Any]:
    slots = status.get("slots") if isinstance(status, dict) else None
    found = slots if isinstance(slots, list) else []
    return next((slot for slot in found if isinstance(slot, dict) and slot.get("name") == name), {})
