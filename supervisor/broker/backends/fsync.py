"""Group commit: one fsync for all threads that wait for one.

A sync takes milliseconds, no matter how much it covers. So no caller holds a lock during a sync, and callers
that arrive during one share the next: it starts after they have written.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path


class SharedSync:
    """Makes one file or folder durable for many threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._syncing = threading.Lock()
        self._asked = 0
        self._synced = 0

    def wait(self) -> None:
        """Return when everything written before this call is on the disk. Raises OSError."""
        with self._guard:
            self._asked += 1
            mine = self._asked
        with self._syncing:
            if self._synced >= mine:
                return
            with self._guard:
                covers = self._asked
            sync(self._path)
            self._synced = covers


def sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, durable."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync_open(number)
    finally:
        os.close(number)


# fdatasync skips the timestamps of a file whose size is unchanged; macOS has no such call.
sync_open = getattr(os, "fdatasync", os.fsync)
