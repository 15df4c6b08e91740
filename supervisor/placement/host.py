"""Cores and memory available to this service, respecting affinity and cgroup limits.

In a container, /proc shows the whole machine; the container's limits are in its cgroup (version 1 or 2). The
lowest limit of the cgroup and its ancestors applies. A missing or invalid file sets no limit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from supervisor.placement.slot_plan import Host

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")
# Version 1 expresses "no limit" by a number near 2^63, rounded to pages.
_NO_LIMIT_BYTES = 2**60


def read_host(membership: Path = MEMBERSHIP, mount: Path = MOUNT, meminfo: Path = _MEMINFO) -> Host:
    """Read cores and free memory. Call it before workers start: their memory does not count as free."""
    cores = [_affinity_cores()]
    free_bytes = [_available_bytes(meminfo)]
    for folder in cgroup_folders(membership, mount):
        quota = _cpu_quota(folder)
        if quota is not None:
            cores.append(max(1, math.floor(quota)))
        room_bytes = _memory_room_bytes(folder)
        if room_bytes is not None:
            free_bytes.append(room_bytes)
    return Host(min(cores), min(free_bytes))


def _affinity_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS


def _available_bytes(meminfo: Path) -> int:
    """Read the memory that is available without swapping."""
    for line in _text(meminfo).splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    import psutil  # only without /proc: it costs 4 MB and 10 ms

    return int(psutil.virtual_memory().available)


def cgroup_folders(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> Iterator[Path]:
    """Yield each cgroup folder whose limits apply, from ours up to the root of each hierarchy.

    In a container the path may be the host's, with our own group mounted as the root: then the folder does
    not exist and only the root remains.
    """
    for line in _text(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            roots = [mount]
        else:
            roots = [mount / name for name in controllers.split(",") if name in ("cpu", "memory")]
        for root in roots:
            folder = root / path.lstrip("/")
            while folder != root and root in folder.parents:
                yield folder
                folder = folder.parent
            yield root


def _cpu_quota(folder: Path) -> Optional[float]:
    """Return the cores that this folder allows, None if it sets no limit."""
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    if not quota:
        quota = _text(folder / "cpu.cfs_quota_us")
        period = _text(folder / "cpu.cfs_period_us")
    if not (quota.isdigit() and period.strip().isdigit() and int(period)):
        return None  # "max", -1, or no such file
    return int(quota) / int(period)


def _memory_room_bytes(folder: Path) -> Optional[int]:
    """Return the memory left under this folder's limit, None if it sets none.

    Inactive file pages count as free: the kernel reclaims them first.
    """
    limit = _number(folder / "memory.max")
    used = _number(folder / "memory.current")
    if limit is None:
        limit = _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.usage_in_bytes")
    if limit is None or used is None or limit >= _NO_LIMIT_BYTES:
        return None
    return max(0, limit - used + _idle_file_bytes(folder))


def _idle_file_bytes(folder: Path) -> int:
    """Read `inactive_file`; in version 1 the total, which includes child groups."""
    stats = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
    value = stats.get("total_inactive_file", stats.get("inactive_file", "0"))
    return int(value) if value.isdigit() else 0


def _number(path: Path) -> Optional[int]:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
