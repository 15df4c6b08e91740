"""The host clock, on which the deadlines of all processes are based.

CLOCK_BOOTTIME includes the time in suspend and is the same in all processes, so a deadline that one process
writes is valid in another. It restarts at each boot: a stored time is valid only together with its boot id.
Wall time is for records and people only.
"""

from __future__ import annotations

import time
from pathlib import Path

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    """Return the seconds since boot, including time in suspend where the kernel supports that."""
    return time.clock_gettime(_CLOCK)


def slept_s() -> float:
    """Return how long this host was suspended since its boot, as far as the kernel reports it."""
    return now_s() - time.clock_gettime(time.CLOCK_MONOTONIC)


def wall_unix_s() -> float:
    """Return the wall time, for records and people only: it may jump."""
    return time.time()


def boot_id() -> str:
    """Return the id of this boot: two times of the host clock compare only if their boot ids are equal.

    Without /proc (macOS), the time of boot, rounded to ten seconds, replaces it.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"boot-{round((wall_unix_s() - now_s()) / 10)}"
