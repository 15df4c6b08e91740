"""Puts a process into a known state: signals, limits, descriptors, umask and working folder.

A process inherits these from its parent, and any of them may be unusable: a supervisor that was started with
SIGCHLD ignored does not see its children exit, and one with SIGTERM blocked cannot be stopped. Every entry
point calls `begin` first; processes of the service call `begin_service`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import IO

# Python ignores these two: writing to a closed pipe then raises an error instead of ending the process.
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)
# `nohup` and a shell's `&` ignore these for the commands that they start, as users expect.
_USERS_CHOICE = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
# systemd keeps the soft limit low because of select(), which is used here on low descriptors only. Above
# this value, loops over all possible descriptors in libraries become slow.
_DESCRIPTORS_WANTED = 65_536
_DESCRIPTORS_LEAST = 256  # four per slot, and the broker's connections
_PRIVATE = 0o077
_PR_SET_DUMPABLE = 4  # linux/prctl.h; proc(5) says which files of /proc/PID it closes
_PACKAGE_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def begin() -> None:
    """Reset standard streams, signals and import path; leave a lost working folder.

    Of the umask, only the bits for group and others are kept.
    """
    open_standard_streams()
    reset_signals()
    leave_lost_folder()
    forget_working_folder()
    os.umask(os.umask(_PRIVATE) & _PRIVATE)


def begin_service() -> None:
    """Call `begin` in the supervisor, broker, gpuwatch or a worker; all files that it writes are private."""
    begin()
    os.umask(_PRIVATE)


def open_standard_streams() -> None:
    """Open descriptors 0, 1 and 2 if they are closed: no link or lock may get one of these numbers.

    If 1 was closed at its start, Python has no `sys.stdout`, and faulthandler and logging fail.
    """
    while True:
        fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        if fd > 2:
            break
        os.set_inheritable(fd, True)
    os.close(fd)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            stream: IO[str] = os.fdopen(
                number, mode, encoding="utf-8", errors="backslashreplace", closefd=False
            )
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def reset_signals() -> None:
    """Restore the default action of ignored signals, unblock all, and cancel a pending alarm.

    Signals that Python ignores itself, or users by `nohup` or `&`, stay ignored. A handler that is already
    installed stays: a program that must handle SIGTERM from its start installs the handler before this call.
    """
    for number in sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}):
        kept = number in _PYTHON_IGNORES or number in _USERS_CHOICE
        if not kept and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0)
    # Last: a pending signal is delivered as soon as it is unblocked.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def leave_lost_folder() -> None:
    """Change to / if the working folder was removed or is inaccessible, as after `sudo -u` in /root.

    Intel's library ends a process without a working folder (exit 2), and ./config.toml could not be read.
    """
    try:
        os.getcwd()
        lost = not os.access(".", os.X_OK)
    except OSError:
        lost = True
    if lost:
        os.chdir("/")


def forget_working_folder() -> None:
    """Remove the working folder from the import path: it may contain a user's queue.py, for example.

    `python -m` puts it first before 3.11, and so does an empty entry in PYTHONPATH. The folders of the
    interpreter and of this package stay.
    """
    here = os.getcwd()
    if here == _PACKAGE_HOME or here.startswith((f"{sys.prefix}/lib", f"{sys.base_prefix}/lib")):
        return
    sys.path[:] = [folder for folder in sys.path if folder not in ("", ".", here)]


def keep_descriptors() -> None:
    """Keep children from inheriting what this process inherited; call it before the first start."""
    for name in os.listdir("/dev/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                continue  # the one that read the folder


def raise_descriptor_limit() -> int:
    """Raise the soft limit of descriptors as far as the hard limit allows; return the effective limit."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS_WANTED)
    if soft == resource.RLIM_INFINITY or soft >= limit:
        return soft if soft != resource.RLIM_INFINITY else _DESCRIPTORS_WANTED
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except (OSError, ValueError):  # macOS allows less than its hard limit
        return soft
    return limit


def hide_memory() -> None:
    """Hide memory and environment, which may contain credentials, from other processes of this user.

    Debuggers and profilers then need root. A program that this process starts is not hidden.
    """
    if sys.platform == "linux":
        import ctypes  # 2 ms, for the two processes that hold credentials

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def write_no_core() -> None:
    """Disable core files: they would contain gigabytes of a model, people's speech or credentials."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def harmful_limits() -> Iterator[tuple[str, int]]:
    """Yield inherited limits, by `ulimit` option, that are too low for a model or a long-running service."""
    import resource

    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= descriptors < _DESCRIPTORS_LEAST:
        yield "ulimit -n", descriptors
    for option, name in (
        ("-v", "RLIMIT_AS"),
        ("-d", "RLIMIT_DATA"),
        ("-f", "RLIMIT_FSIZE"),
        ("-t", "RLIMIT_CPU"),
    ):
        soft, _ = resource.getrlimit(getattr(resource, name))
        if soft != resource.RLIM_INFINITY:
            yield f"ulimit {option}", soft
