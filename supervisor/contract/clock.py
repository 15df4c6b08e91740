"""The host clock that deadlines of all processes refer to.

CLOCK_BOOTTIME goes on while the machine sleeps and is the same in all processes, so a
deadline that one process writes can be read by another. It starts at each boot: a stored
moment means nothing without the boot id beside it. Wall time is for records and people.
"""

from __future__ import annotations

import time
from pathlib import Path

from supervisor.contract.timestamps import iso_utc as iso_utc

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    """Read the host clock: seconds since boot, sleep included where the kernel can tell."""
    return time.clock_gettime(_CLOCK)


def slept_s() -> float:
    """Say how long this host has slept or hibernated since its boot, as far as the kernel can tell."""
    return now_s() - time.clock_gettime(time.CLOCK_MONOTONIC)


def wall_unix_s() -> float:
    """Read the wall clock, for records and people only: it may jump."""
    return time.time()


def boot_id() -> str:
    """Name this boot of this host: two moments compare only under the same name.

    Where there is no /proc (macOS) the moment of boot, to ten seconds, takes its place.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"boot-{round((wall_unix_s() - now_s()) / 10)}"
