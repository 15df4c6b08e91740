"""Path of the control socket: chosen by the supervisor, found by commands.

The supervisor asks `socket_path` once and writes what it got into `supervisor.json` in
its state directory; a command reads that file, so the two agree even where their
environments differ (systemd's RUNTIME_DIRECTORY is not in a shell's). `REM_SOCKET`
overrides on both sides.

With `[control] group` the socket lies where members can reach it, and not in the state directory or
XDG_RUNTIME_DIR, which are closed to others. A member can't read `supervisor.json` and looks there.
"""

from __future__ import annotations

import contextlib
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
_SYSTEMD_RUNTIME = "/run/rem-supervisor"  # as deploy/rem-supervisor.service has it


class SocketFolderUnsafe(OSError):
    """The fallback folder belongs to somebody else or is open to others; the text says which."""


class Address(NamedTuple):
    """What a running supervisor wrote down about itself."""

    pid: int
    socket: str
    started_unix_s: float


def socket_path(state_dir: str, environ: Mapping[str, str], for_group: bool = False) -> str:
    """Say where the socket of the service on this state directory lies; short enough to bind.

    `for_group`: other users must be able to reach it. Makes the fallback folder where it is needed.
    Raises `SocketFolderUnsafe` when that folder can't be trusted.
    """
    name = _name(state_dir)
    named = environ.get("REM_SOCKET")
    path = str(Path(named).absolute()) if named else _in_runtime_folder(name, environ, for_group)
    if not path and not for_group:
        path = str(Path(state_dir) / "control.sock")
    if path and len(os.fsencode(path)) <= MAX_PATH_BYTES:
        return path
    return str(_own_folder(Path(_FALLBACK), for_group) / name)


def socket_for_group(state_dir: str) -> str:
    """Give the socket of a service whose state directory this user may not enter; empty: none is found."""
    name = _name(state_dir)
    folders = [_SYSTEMD_RUNTIME]
    with contextlib.suppress(OSError):  # nobody can tell whose it is: only systemd's folder is left
        # Its owner's folder only: anybody may make one in /tmp.
        folders.append(f"/tmp/rem-supervisor-{os.stat(state_dir).st_uid}")  # noqa: S108
    paths = [str(Path(folder) / name) for folder in folders]
    return next((path for path in paths if os.path.exists(path)), "")


def read_address(state_dir: str) -> Optional[Address]:
    """Read what the supervisor of this state directory wrote; None: nothing that makes sense.

    Raises PermissionError where this user may not enter that directory.
    """
    try:
        plain = json.loads((Path(state_dir) / ADDRESS_FILE).read_bytes())
        return Address(int(plain["pid"]), str(plain["socket"]), float(plain["started_unix_s"]))
    except PermissionError:
        raise
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _name(state_dir: str) -> str:
    """Name the socket after the state directory: two services on one host never collide."""
    import hashlib  # 5 ms, for the supervisor alone: a command reads what it wrote

    return f"rem-supervisor-{hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:8]}.sock"


def _in_runtime_folder(name: str, environ: Mapping[str, str], for_group: bool) -> str:
    """Give the path in the first runtime folder that exists and can be written; else nothing.

    XDG_RUNTIME_DIR is often inherited across `su` and then belongs to somebody else. It is closed to others.
    """
    own = "" if for_group else environ.get("XDG_RUNTIME_DIR", "")
    for folder in (environ.get("RUNTIME_DIRECTORY", "").split(":")[0], own):
        if folder and os.access(folder, os.W_OK | os.X_OK):
            return str(Path(folder).absolute() / name)
    return ""


def _own_folder(folder: Path, for_group: bool) -> Path:
    """Make `folder` for this user, or check that it is. Anyone can make folders in /tmp.

    Others may at most pass through it, to a socket whose name they know: with a group they must.
    """
    with contextlib.suppress(FileExistsError):  # it is checked as if it were new
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o066:
        raise SocketFolderUnsafe(
            f"{folder} is not a folder of this user alone (owner {found.st_uid}, "
            f"mode {stat.S_IMODE(found.st_mode):04o}). Remove it, or set REM_SOCKET to a path of up to "
            f"{MAX_PATH_BYTES} bytes in a private folder."
        )
    if for_group:
        folder.chmod(0o711)
    return folder
