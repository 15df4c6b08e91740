"""First statements of every process: sets signals, limits, descriptors and folder instead of inheriting them.

A parent hands down more than an environment: ignored and blocked signals, closed or stray descriptors,
limits, a umask, a pending alarm, a working folder that is gone or full of strangers' modules. A supervisor
that was started with SIGCHLD ignored could not see its children end; one with SIGTERM blocked could not
be stopped. Whoever starts a process calls `begin` before anything else; `begin_service` in `run` alone.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import IO

# Python ignores these two on purpose: writing to a closed pipe is then an error, not a death.
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)
# `nohup` and a shell's `&` ignore these for the commands they start, which is what their users ask for.
_USERS_CHOICE = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
# systemd's reason for a low soft limit is select(), which nothing here uses; above this, loops over all
# possible descriptors in foreign code become slow.
_DESCRIPTORS_WANTED = 65_536
_DESCRIPTORS_LEAST = 256  # four a slot, and the broker's connections
_PRIVATE = 0o077
_PR_SET_DUMPABLE = 4  # linux/prctl.h; proc(5) says which files of /proc/PID it closes
_PACKAGE_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def begin() -> None:
    """Give this process what a program expects; of the umask no more is kept than it takes from others."""
    open_standard_streams()
    reset_signals()
    leave_lost_folder()
    forget_working_folder()
    os.umask(os.umask(_PRIVATE) & _PRIVATE)


def begin_service() -> None:
    """Do `begin` for the supervisor, broker, gpuwatch and workers: what they write is private."""
    begin()
    os.umask(_PRIVATE)


def open_standard_streams() -> None:
    """Make sure that 0, 1 and 2 exist: a link or a lock must not get one of these numbers.

    Python has no `sys.stdout` where 1 was closed when it started, and then faulthandler and logging fail.
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
    """Let each signal do what it does by default, block none and let no alarm of a former program ring.

    What Python ignores itself and what users ignore by `nohup` or `&` stays ignored. A handler that was set
    already stays too: who wants to hear SIGTERM from the first moment on sets it before.
    """
    for number in sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}):
        kept = number in _PYTHON_IGNORES or number in _USERS_CHOICE
        if not kept and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0)
    # Last: a signal that was blocked until now comes at once.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def leave_lost_folder() -> None:
    """Go to / where the working folder was removed, or is closed to this user, as after `sudo -u` in /root.

    Intel's library ends a process that has no folder (exit 2), and ./config.toml could not be looked for.
    """
    try:
        os.getcwd()
        lost = not os.access(".", os.X_OK)
    except OSError:
        lost = True
    if lost:
        os.chdir("/")


def forget_working_folder() -> None:
    """Import nothing from the working folder, where a user may have a queue.py of his own.

    `python -m` puts it first before 3.11, and so does an empty entry in PYTHONPATH. Folders of the
    interpreter and of this very package stay.
    """
    here = os.getcwd()
    if here == _PACKAGE_HOME or here.startswith((f"{sys.prefix}/lib", f"{sys.base_prefix}/lib")):
        return
    sys.path[:] = [folder for folder in sys.path if folder not in ("", ".", here)]


def keep_descriptors() -> None:
    """Let no child inherit what this process inherited itself; call it before the first start."""
    for name in os.listdir("/dev/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                continue  # the one that read the folder


def raise_descriptor_limit() -> int:
    """Raise the soft limit of descriptors as far as the hard one allows; give what is in force."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS_WANTED)
    if soft == resource.RLIM_INFINITY or soft >= limit:
        return soft if soft != resource.RLIM_INFINITY else _DESCRIPTORS_WANTED
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except (OSError, ValueError):  # macOS allows less than it says
        return soft
    return limit


def hide_memory() -> None:
    """Let no other process of this user read this one's memory and environment, where credentials may be.

    Debuggers and profilers then need root. A program that this process starts is not hidden.
    """
    if sys.platform == "linux":
        import ctypes  # 2 ms, for the two processes that hold credentials

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def write_no_core() -> None:
    """Leave no core file: it would hold a model's gigabytes, people's speech or credentials."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def harmful_limits() -> Iterator[tuple[str, int]]:
    """Give the inherited limits, by their `ulimit` option, of which a model or a long life runs out."""
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
