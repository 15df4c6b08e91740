"""Explains in one sentence why submitted recordings wait although a service is running. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from supervisor.cli.text.text_format import number, printable
from supervisor.contract import degraded

LEAVE = "Waiting; Ctrl-C leaves the jobs queued."
SOON_S = 10.0
# Without these, no recording makes progress.
_NEEDED = ("broker", degraded.PROVEN, "queue", "table", "audio", "transcripts", "spool")


def why_waiting(status: Any) -> str:
    """Say why every recording waits; empty if they make progress or the reason is not known."""
    if not isinstance(status, dict) or not degraded.state_of(status):
        return ""
    state = degraded.state_of(status)
    if state != "running":
        reason = _reason_of(status)
        why = f"The service is {state}{f' ({reason})' if reason else ''} and accepts no jobs"
        cure = ". " if state == "stopping" else " until rem-supervisor resume. "
        return f"{why}{cure}{LEAVE}"
    if _has_just_started(status):
        return ""
    if not degraded.ready_count(status):
        slots = [_doing(slot) for slot in degraded.worker_slots(status)]
        return f"No worker is ready{f' ({slots[0]})' if slots else ' yet'}. {LEAVE}"
    outside = [one for one in degraded.reasons(status) if one.split(" ")[0].rstrip(":") in _NEEDED]
    return f"{printable(outside[0])}. {LEAVE}" if outside else ""


def same_but_for_figures(text: str) -> str:
    """Give a text without its digits, so that a sentence with a running counter is printed once."""
    return re.sub(r"\d+", "", text)


def _has_just_started(status: Mapping[str, Any]) -> bool:
    """Say whether these are the first seconds of a normal start, which need no message."""
    ages = [number(slot.get("state_s")) for slot in degraded.worker_slots(status)]
    return degraded.is_starting(status) and all(age_s is None or age_s < SOON_S for age_s in ages)


def _doing(slot: Mapping[str, Any]) -> str:
    reason = printable(slot.get("reason"))
    state = printable(slot.get("state"))
    if state in ("starting", "stopped") and reason:
        return f"{printable(slot.get('name'))}: {reason}"  # for example: waiting for the model
    return f"{printable(slot.get('name'))} {state}{f': {reason}' if reason else ''}"


def _reason_of(status: Mapping[str, Any]) -> str:
    supervisor = status.get("supervisor")
    return printable(supervisor.get("reason")) if isinstance(supervisor, dict) else ""
