"""How moments are written for people and records. PURE."""

from __future__ import annotations

from datetime import datetime, timezone


def iso_utc(unix_s: float) -> str:
    """Write a moment as REM's records do: `2026-11-22T13:21:41Z`."""
    return datetime.fromtimestamp(unix_s, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
