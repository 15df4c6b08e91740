"""When a worker is recycled: it exits between jobs and a new process replaces it.

CTranslate2 does not return GPU memory, so the memory of a long-lived worker only grows. The limits of a
host's workers differ by up to 10 %, so that they are not recycled at the same time. PURE, except
`resident_bytes`.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import Optional

_SPREAD = 0.1


@dataclass(frozen=True)
class Bounds:
    """Limits after which a worker is recycled; 0: no limit."""

    jobs: int = 0
    age_s: float = 0.0
    resident_bytes: int = 0


def bounds_of(slot: str, jobs: int, age_s: float, resident_bytes: int) -> Bounds:
    """Return a slot's limits: up to 10 % below the configured ones, except for memory."""
    share = 1.0 - _SPREAD * (zlib.crc32(slot.encode()) % 1_000) / 1_000
    return Bounds(max(1, int(jobs * share)) if jobs else 0, age_s * share, resident_bytes)


def reason(bounds: Bounds, jobs: int, age_s: float, resident_bytes: int) -> Optional[str]:
    """Say why a worker should be recycled; None where it should not."""
    if bounds.jobs and jobs >= bounds.jobs:
        return f"{jobs} jobs"
    if bounds.age_s and age_s >= bounds.age_s:
        return f"{age_s / 3600:.1f} hours"
    if bounds.resident_bytes and resident_bytes >= bounds.resident_bytes:
        return f"{resident_bytes / 2**20:.0f} MiB resident"
    return None


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where the system does not report it."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
