"""When a worker has lived long enough and makes way for a fresh one, between jobs. PURE (but one reading).

Engines keep what they once took: CTranslate2's memory on a GPU only grows. The bounds of a
host's workers differ by up to a tenth, so that they don't go all at once.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import Optional

_SPREAD = 0.1


@dataclass(frozen=True)
class Bounds:
    """After how much a worker makes way; 0: never for this."""

    jobs: int = 0
    age_s: float = 0.0
    resident_bytes: int = 0


def bounds_of(slot: str, jobs: int, age_s: float, resident_bytes: int) -> Bounds:
    """Give a slot's own bounds: up to a tenth below those that are set, but for memory."""
    share = 1.0 - _SPREAD * (zlib.crc32(slot.encode()) % 1_000) / 1_000
    return Bounds(max(1, int(jobs * share)) if jobs else 0, age_s * share, resident_bytes)


def reason(bounds: Bounds, jobs: int, age_s: float, resident_bytes: int) -> Optional[str]:
    """Say why a worker should make way; None where it need not."""
    if bounds.jobs and jobs >= bounds.jobs:
        return f"{jobs} jobs"
    if bounds.age_s and age_s >= bounds.age_s:
        return f"{age_s / 3600:.1f} hours"
    if bounds.resident_bytes and resident_bytes >= bounds.resident_bytes:
        return f"{resident_bytes / 2**20:.0f} MiB resident"
    return None


def resident_bytes() -> int:
    """How much memory this process has; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
