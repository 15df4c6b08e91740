"""Detects whether the kernel's OOM killer ended a process of this cgroup.

Reads the `oom_kill` counter of our own cgroup (version 2: memory.events, version 1:
memory.oom_control). It counts for the group, not for a pid: a rise between two exits is
taken as evidence for the SIGKILL in between. Without a counter the answer is unknown.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO, Optional

_MEMBERSHIP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")
_READ_BYTES = 4_096  # the files hold a few short lines
_OOM_KILL = re.compile(rb"^oom_kill (\d+)", re.MULTILINE)


class OomEvidence:
    """Compares the counter from one exit to the next."""

    def __init__(self, membership: Path = _MEMBERSHIP, mount: Path = _MOUNT) -> None:
        path = _counter_file(membership, mount)
        # Kept open: a replacement process waits for the answer, and opening takes most of the time.
        self._counter = _opened(path) if path is not None else None
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


def _opened(path: Path) -> Optional[IO[bytes]]:
    try:
        return path.open("rb", buffering=0)
    except OSError:
        return None


def _counter_file(membership: Path, mount: Path) -> Optional[Path]:
    """Find the counter of our cgroup; in a container it may be mounted as the root."""
    try:
        lines = membership.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        inside = path.lstrip("/")
        if controllers == "":
            candidates = [mount / inside / "memory.events", mount / "memory.events"]
        elif "memory" in controllers.split(","):
            root = mount / "memory"
            candidates = [root / inside / "memory.oom_control", root / "memory.oom_control"]
        else:
            continue
        for candidate in candidates:
            if candidate.exists():
                return candidate
    return None
