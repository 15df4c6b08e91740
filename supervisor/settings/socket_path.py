"""Path of the control socket: chosen by the supervisor, found by commands.

The supervisor calls `socket_path` once and writes the result to `supervisor.json` in its state
directory. Commands read that file, so both agree even if their environments differ: a shell does
not have systemd's RUNTIME_DIRECTORY. `REM_SOCKET` overrides the path on both sides.

With `[control] group`, the socket is where members can reach it: not in the state directory or
XDG_RUNTIME_DIR, which are closed to others. Members can't read `supervisor.json` and look for it there.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Optional

# The kernel's limit is 107 bytes (104 on macOS); above it, bind() fails with an unclear error.
MAX_PATH_BYTES = 100
ADDRESS_FILE = "supervisor.json"
# Any user may have created it: `_own_folder` checks it before use.
_FALLBACK = f"/tmp/rem-supervisor-{os.getuid()}"  # noqa: S108
_SYSTEMD_RUNTIME = "/run/rem-supervisor"  # as deploy/rem-supervisor.service has it


class SocketFolderUnsafe(OSError):
    """The fallback folder belongs to another user or is open to others; the text says which."""


class Address(NamedTuple):
    """What a running supervisor wrote to `supervisor.json`."""

    pid: int
    socket: str
    started_unix_s: float


def socket_path(state_dir: str, environ: Mapping[str, str], for_group: bool = False) -> str:
    """Give the socket path for this state directory; short enough to bind.

    `for_group`: other users must be able to reach it. Creates the fallback folder if it is needed.
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
    """Give the socket of a service whose state directory this user may not enter; empty if none is found."""
    name = _name(state_dir)
    folders = [_SYSTEMD_RUNTIME]
    with contextlib.suppress(OSError):  # its owner can't be read: only systemd's folder is left
        # Only its owner's folder: any user may create one in /tmp.
        folders.append(f"/tmp/rem-supervisor-{os.stat(state_dir).st_uid}")  # noqa: S108
    paths = [str(Path(folder) / name) for folder in folders]
    return next((path for path in paths if os.path.exists(path)), "")


def read_address(state_dir: str) -> Optional[Address]:
    """Read the address that this state directory's supervisor wrote; None if it is missing or invalid.

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
    """Name the socket after the state directory, so that two services on one host never collide."""
    import hashlib  # costs 5 ms; commands read the file instead

    return f"rem-supervisor-{hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:8]}.sock"


def _in_runtime_folder(name: str, environ: Mapping[str, str], for_group: bool) -> str:
    """Give the path in the first runtime folder that exists and is writable; else an empty string.

    XDG_RUNTIME_DIR is often inherited across `su` and then belongs to another user. It is closed to others.
    """
    own = "" if for_group else environ.get("XDG_RUNTIME_DIR", "")
    for folder in (environ.get("RUNTIME_DIRECTORY", "").split(":")[0], own):
        if folder and os.access(folder, os.W_OK | os.X_OK):
            return str(Path(folder).absolute() / name)
    return ""


def _own_folder(folder: Path, for_group: bool) -> Path:
    """Create `folder` for this user, or check its owner and mode: any user can create folders in /tmp.

    With a group, others may pass through it to a socket whose name they know.
    """
    with contextlib.suppress(FileExistsError):  # an existing one is checked below
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
