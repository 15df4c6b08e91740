"""Creates the control socket's file, and removes it only if it is ours.

`REM_SOCKET` may name any file by mistake. Only a socket of this user without a listener is removed; for
a file, a folder or another program's socket the error names what is there.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import stat

_SOMEBODY_MAY_ANSWER_S = 1.0


class SocketUnusable(Exception):
    """No socket can be made at this path; the text says what is there and what to do."""


class GroupUnusable(Exception):
    """The socket's group cannot be set to `[control] group`; the text says why and what to do."""


class ControlSocket:
    """A listening socket at a path, until `remove`."""

    def __init__(self, path: str, group: str) -> None:
        """Make it, for this user alone or for `group` too. Raises `SocketUnusable` or `GroupUnusable`."""
        gid = _gid_of(group) if group else None
        self._path = path
        _make_way(path)
        self.listener = _listening(path)
        found = os.lstat(path)
        self._identity = (found.st_dev, found.st_ino)
        if gid is not None:
            try:
                os.chown(path, -1, gid)
                os.chmod(path, 0o660)
            except OSError as error:
                self.listener.close()
                self.remove()
                raise GroupUnusable(_why_not_given(group, error)) from error

    def remove(self) -> None:
        """Remove the file, unless a later service on the same path has replaced it."""
        with contextlib.suppress(OSError):
            found = os.lstat(self._path)
            if (found.st_dev, found.st_ino) == self._identity:
                os.unlink(self._path)


def _listening(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(socket.SOMAXCONN)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise SocketUnusable(f"no control socket can be made at {path}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    return listener


def _make_way(path: str) -> None:
    """Remove the socket that a dead supervisor left. Raises `SocketUnusable` for anything else."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SocketUnusable(f"{path} can't be looked at: {error.strerror or error}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise SocketUnusable(f"{path} is {_kind(found.st_mode)}, not a socket; it is left as it is")
    if found.st_uid != os.getuid():
        raise SocketUnusable(f"{path} is a socket of user {_user(found.st_uid)}; it is left as it is")
    if _is_answered(path):
        raise SocketUnusable(f"another program listens on {path}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _is_answered(path: str) -> bool:
    """Return whether a process listens there; True if that is unknown."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(_SOMEBODY_MAY_ANSWER_S)
        try:
            caller.connect(path)
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
        return True


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISREG, "a file"), (stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a symbolic link"))
    return next((name for is_one, name in kinds if is_one(mode)), "a device or a pipe")


def _gid_of(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except (KeyError, ValueError):
        raise GroupUnusable(f"there is no group {group!r} on this host") from None


def _why_not_given(group: str, error: OSError) -> str:
    user = _user(os.getuid())
    if error.errno == errno.EPERM:
        return (
            f"user {user} may not give the control socket to group {group!r}: {user} is not a member of it. "
            f"Add the user (usermod -aG {group} {user}; under systemd SupplementaryGroups={group})"
        )
    return f"the control socket can't be given to group {group!r}: {error.strerror or error}"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
