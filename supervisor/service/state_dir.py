"""The state directory: private, locked by one supervisor at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import Any

from supervisor.contract import clock
from supervisor.processes.child_specs import WORKER_HOME
from supervisor.settings.socket_path import ADDRESS_FILE

SUBFOLDERS = ("locks", "stacks", WORKER_HOME)
STATUS_FILE = "status.json"
_LOCK_FILE = "supervisor.lock"


class StateDirTaken(Exception):
    """Another supervisor runs on this state directory; the text names its pid."""


class StateDirBroken(Exception):
    """The state directory cannot be used; the text says why and what to do."""


class StateDir:
    """A state directory that this process locks until it ends."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        try:
            self._make()
            self._lock()
        except OSError as error:
            raise self._broken(error) from error

    def is_lost(self) -> bool:
        """Return whether the directory was removed or replaced, so that this process lost its lock."""
        try:
            found = os.stat(self.path / _LOCK_FILE)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # not known now
        return (found.st_dev, found.st_ino) != self._lock_identity

    def write_address(self, socket: str) -> None:
        """Write the path of the control socket, for the command line. Raises `StateDirBroken`."""
        address = {"pid": os.getpid(), "socket": socket, "started_unix_s": clock.wall_unix_s()}
        try:
            self.write(ADDRESS_FILE, address)
        except OSError as error:
            raise self._broken(error) from error

    def write(self, name: str, plain: dict[str, Any]) -> None:
        """Replace a small JSON file in one step."""
        temporary = self.path / f".{name}.new"
        temporary.write_text(json.dumps(plain), encoding="utf-8")
        temporary.chmod(0o600)
        temporary.replace(self.path / name)

    def _broken(self, error: OSError) -> StateDirBroken:
        """Describe the directory's fault and the fix."""
        cure = "Set REM_STATE_DIR to a folder that this user may write"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            cure = "Free space there, or set REM_STATE_DIR to a folder on another disk"
        return StateDirBroken(f"state directory {self.path} can't be used: {error.strerror or error}. {cure}")

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.stat().st_uid == os.getuid():
            self.path.chmod(0o700)
        for name in SUBFOLDERS:
            (self.path / name).mkdir(mode=0o700, exist_ok=True)

    def _lock(self) -> None:
        """Take the lock, which the kernel releases when this process ends."""
        number = os.open(self.path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Open as long as this object lives.
        self._lock_file = os.fdopen(number, "r+b", buffering=0)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(number, 32, 0).decode("ascii", "replace").strip() or "unknown"
            self._lock_file.close()
            raise StateDirTaken(
                f"a supervisor (pid {holder}) runs on state directory {self.path} already. "
                "Stop it first, or set REM_STATE_DIR to another folder"
            ) from error
        held = os.fstat(number)
        self._lock_identity = (held.st_dev, held.st_ino)
        os.ftruncate(number, 0)
        os.pwrite(number, f"{os.getpid()}\n".encode(), 0)
