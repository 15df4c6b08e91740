"""Creates a process with posix_spawn and watches for its exit.

`posix_spawn` shares memory with the child until it has become another program, and resets no
more than it is told to: 0.3 ms less than `Popen`, which matters to whoever waits for a dead worker's
heir. It closes nothing in the child, so every descriptor of ours must be closed at exec: Python's
own are, and `process_start.keep_descriptors` takes care of those that were inherited.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

# Whatever we ignore or block, a child begins with what a program expects.
_ALL_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


class PlaceTaken(Exception):
    """Somebody else, mostly a survivor of an earlier life, holds the place's lock."""


def spawn(
    command: Sequence[str], environment: Mapping[str, str], out_fd: int, inherited: Sequence[int]
) -> int:
    """Start a program in a session of its own, with `inherited` descriptors; give its pid.

    It reads nothing and writes to `out_fd`. Raises OSError where it can't be started.
    """
    for fd in inherited:
        os.set_inheritable(fd, True)
    null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    output = [(os.POSIX_SPAWN_DUP2, out_fd, fd) for fd in (1, 2)]
    try:
        pid = os.posix_spawnp(
            command[0], [*command], environment, file_actions=[null, *output],
            setsid=True, setsigdef=_ALL_SIGNALS, setsigmask=(),
        )  # fmt: skip
        os.sched_yield()  # it is mostly on our core: its first statement before what we do next
        return pid
    except NotImplementedError:  # a C library without the session's flag, as on macOS
        return _popen(command, environment, out_fd, inherited)


def _popen(
    command: Sequence[str], environment: Mapping[str, str], out_fd: int, inherited: Sequence[int]
) -> int:
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=out_fd, stderr=out_fd,
        pass_fds=inherited, start_new_session=True,
    )  # fmt: skip
    process.returncode = 0  # it is reaped elsewhere: Popen must not warn of it, nor wait for it
    return process.pid


def lock_place(path: str) -> int:
    """Lock the place's file without waiting. The descriptor is the lock: the last holder frees it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 16, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise PlaceTaken(f"the place is taken by pid {holder} or a process it started ({path})") from error
    return fd


def open_pidfd(pid: int) -> int:
    """A descriptor that becomes readable when the process ends; -1 where the kernel has none.

    Raises OSError where it has, and there is no room for another descriptor now.
    """
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return -1
    try:
        return int(opener(pid))
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return -1


def has_pidfds() -> bool:
    """Say whether this kernel has pidfds (old ones, gVisor and macOS do not)."""
    fd = open_pidfd(os.getpid())
    if fd >= 0:
        os.close(fd)
    return fd >= 0
