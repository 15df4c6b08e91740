"""Who is left of a process group whose leader is gone."""

from __future__ import annotations

import os
from pathlib import Path


def survivors(group: int) -> list[int]:
    """Give the pids of a group that still run (zombies do not); 0 is no group.

    Looking through /proc is left for the rare case that the group exists at all.
    """
    try:
        if group <= 0:
            return []
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # gone; or its number is somebody else's now
        return []
    return sorted(pid for pid, state, own in _processes() if own == group and state not in "ZX")


def _processes() -> list[tuple[int, str, int]]:
    """Give pid, state and process group of everything in /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        found.append((int(folder.name), fields[0], int(fields[2])))
    return found
