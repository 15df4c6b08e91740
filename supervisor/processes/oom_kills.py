"""Detects whether the kernel's OOM killer ended a process of this cgroup.

Reads the `oom_kill` counter of our own cgroup (version 2: memory.events, version 1:
memory.oom_control), or of the nearest one above it that accounts memory. It counts for the group, not
for a pid: a rise between two exits is taken as evidence for the SIGKILL in between. Without a counter
the answer is unknown.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import IO, Optional

from supervisor.placement.host import MEMBERSHIP, MOUNT, cgroup_folders

_COUNTERS = ("memory.events", "memory.oom_control")
_READ_BYTES = 4_096  # the files hold a few short lines
_OOM_KILL = re.compile(rb"^oom_kill (\d+)", re.MULTILINE)


class OomEvidence:
    """Compares the counter from one exit to the next."""

    def __init__(self, membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> None:
        # Kept open: a replacement process waits for the answer, and opening takes most of the time.
        self._counter = _open_counter(membership, mount)
        self._seen = self._count()

    def rose(self) -> Optional[bool]:
        """Return whether the OOM killer was active since the last call; None: unknown."""
        count = self._count()
        if count is None or self._seen is None:
            self._seen = count
            return None
        rose, self._seen = count > self._seen, count
        return rose

    def _count(self) -> Optional[int]:
        if self._counter is None:
            return None
        try:
            found = _OOM_KILL.search(os.pread(self._counter.fileno(), _READ_BYTES, 0))
        except OSError:
            return None
        return int(found[1]) if found else None


def _open_counter(membership: Path, mount: Path) -> Optional[IO[bytes]]:
    for folder in cgroup_folders(membership, mount):
        for name in _COUNTERS:
            with contextlib.suppress(OSError):
                return (folder / name).open("rb", buffering=0)
    return None
