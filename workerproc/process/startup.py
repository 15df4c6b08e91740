"""Startup of a worker process: bind it to its supervisor, set CPU affinity, block signals.

Runs before large libraries are imported, so that a later error cannot leave an orphan that holds a GPU.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Collection
from typing import Callable

from supervisor.contract import child_bootstrap
from supervisor.contract.exits import Exit

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its supervisor dies; exit at once if it is already dead.

    The parent is compared after `prctl`: if it died before that, no signal is sent. macOS has no
    parent-death signal: there the worker exits when its socket is closed.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(Exit.ORPHANED)


def die_with_supervisor() -> None:
    """Call `die_with` in a verb that a supervisor started, but not in one started from a command line."""
    if child_bootstrap.PARENT_PID in os.environ:
        die_with(child_bootstrap.parent_pid())


def run_on(cpus: Collection[int]) -> None:
    """Set the CPU affinity to the CPUs near the device. Call before threads are created: they inherit it.

    CPUs that this process may not use are left out. If none remains, or the system does not support
    affinity, nothing is changed.
    """
    if cpus and hasattr(os, "sched_setaffinity"):
        usable = os.sched_getaffinity(0) & set(cpus)
        if usable:
            os.sched_setaffinity(0, usable)


def dump_stacks_to(path: str) -> None:
    """Write the stacks of all threads to a file on SIGUSR2, also during a native call.

    If the file cannot be created they are written to stderr.
    """
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError:
        descriptor = sys.stderr.fileno()
    faulthandler.register(signal.SIGUSR2, file=descriptor, all_threads=True)


def hold_signals() -> None:
    """Block SIGTERM until `on_sigterm` waits for it; ignore SIGINT, which the supervisor handles.

    Call before the first thread is created, including the log's: threads inherit the signal mask, and a
    thread without it would receive the signal and end the process during a job.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def on_sigterm(drain: Callable[[], None]) -> None:
    """Call `drain` on each SIGTERM, from a separate thread.

    A handler in the main thread would have to wait for the native call that is running (up to seconds);
    a thread in sigwait receives the signal in milliseconds. Call `hold_signals` first.
    """

    def wait() -> None:
        while True:
            signal.sigwait({signal.SIGTERM})
            drain()

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
