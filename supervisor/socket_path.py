"""Where the control socket lies: the rule for the supervisor, and how a command finds it.

The supervisor asks `socket_path` once and writes what it got into `supervisor.json` in
its state directory; a command reads that file, so the two agree even where their
environments differ (systemd's RUNTIME_DIRECTORY is not in a shell's). `REM_SOCKET`
overrides on both sides.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Optional

# The kernel takes 107 bytes (104 on macOS); bind() fails with a riddle above that.
MAX_PATH_BYTES = 100
ADDRESS_FILE = "supervisor.json"
# Anybody may have made it: `_private_folder` looks before it trusts.
_FALLBACK = f"/tmp/rem-supervisor-{os.getuid()}"  # noqa: S108


class SocketFolderUnsafe(OSError):
    """The fallback folder belongs to somebody else or is open to others; the text says which."""


class Address(NamedTuple):
    """What a running supervisor wrote down about itself."""

    pid: int
    socket: str
    started_unix_s: float


def socket_path(state_dir: str, environ: Mapping[str, str]) -> str:
    """Say where the socket of the service on this state directory lies; short enough to bind.

    Makes the private fallback folder where it is needed. Raises `SocketFolderUnsafe`
    when that folder can't be trusted.
    """
    name = _name(state_dir)
    named = environ.get("REM_SOCKET")
    path = str(Path(named).absolute()) if named else _in_runtime_folder(name, environ)
    path = path or str(Path(state_dir) / "control.sock")
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        return path
    return str(_private_folder(Path(_FALLBACK)) / name)


def read_address(state_dir: str) -> Optional[Address]:
    """Read what the supervisor of this state directory wrote; None: nothing that makes sense."""
    try:
        plain = json.loads((Path(state_dir) / ADDRESS_FILE).read_bytes())
        return Address(int(plain["pid"]), str(plain["socket"]), float(plain["started_unix_s"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _name(state_dir: str) -> str:
    """Name the socket after the state directory: two services on one host never collide."""
    import hashlib  # 5 ms, for the supervisor alone: a command reads what it wrote

    return f"rem-supervisor-{hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:8]}.sock"


def _in_runtime_folder(name: str, environ: Mapping[str, str]) -> str:
    """Give the path in the first runtime folder that exists and can be written; else nothing.

    XDG_RUNTIME_DIR is often inherited across `su` and then belongs to somebody else.
    """
    for folder in (environ.get("RUNTIME_DIRECTORY", "").split(":")[0], environ.get("XDG_RUNTIME_DIR", "")):
        if folder and os.access(folder, os.W_OK | os.X_OK):
            return str(Path(folder).absolute() / name)
    return ""


def _private_folder(folder: Path) -> Path:
    """Make `folder` for this user alone, or check that it is. Anyone can make folders in /tmp."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise SocketFolderUnsafe(
            f"{folder} is not a folder of this user alone (owner {found.st_uid}, "
            f"mode {stat.S_IMODE(found.st_mode):04o}). Remove it, or set REM_SOCKET to a path of up to "
            f"{MAX_PATH_BYTES} bytes in a private folder."
        )
    return folder
