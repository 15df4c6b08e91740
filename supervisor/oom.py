"""Whether the kernel killed something of ours for want of memory.

Reads the `oom_kill` counter of our own cgroup (version 2: memory.events, version 1:
memory.oom_control). It counts for the group, not for a pid: a rise between two deaths is
taken as evidence for the SIGKILL in between. Where there is no counter nobody can tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

_MEMBERSHIP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


class OomEvidence:
    """Watches the counter from one death to the next."""

    def __init__(self, membership: Path = _MEMBERSHIP, mount: Path = _MOUNT) -> None:
        self._path = _counter_file(membership, mount)
        self._seen = self._count()

    def rose(self) -> Optional[bool]:
        """Say whether the kernel killed for memory since the last question; None: can't tell."""
        count = self._count()
        if count is None or self._seen is None:
            self._seen = count
            return None
        rose, self._seen = count > self._seen, count
        return rose

    def _count(self) -> Optional[int]:
        if self._path is None:
            return None
        try:
            lines = self._path.read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        found = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
        return int(found[0]) if found and found[0].isdigit() else None


def _counter_file(membership: Path, mount: Path) -> Optional[Path]:
    """Find our group's counter; in a container our group may be mounted as the root."""
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
