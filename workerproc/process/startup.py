"""The first statements of a worker, before anything heavy is imported.

Imports little: what goes wrong after these lines can no longer leave an orphan with a GPU.
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
    """Bind this process's life to its supervisor's; leave at once where that is over already.

    The comparison comes after the arming: a parent that died before it sends no signal. macOS has no
    such signal: there the end of the link's socket ends the worker.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(Exit.ORPHANED)


def die_with_supervisor() -> None:
    """Do `die_with` in a verb that a supervisor started; those of the command line live on their own."""
    if child_bootstrap.PARENT_PID in os.environ:
        die_with(child_bootstrap.parent_pid())


def run_on(cpus: Collection[int]) -> None:
    """Stay on the CPUs near the device, before threads are made: they inherit it.

    Only on those of them that this process may use; where none is left, or the system has no such
    thing, the kernel chooses.
    """
    if cpus and hasattr(os, "sched_setaffinity"):
        usable = os.sched_getaffinity(0) & set(cpus)
        if usable:
            os.sched_setaffinity(0, usable)


def dump_stacks_to(path: str) -> None:
    """Write every thread's stack to a file on SIGUSR2, even inside a native call.

    Where the file can't be made they go to stderr: a dump is no reason to refuse work.
    """
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError:
        descriptor = sys.stderr.fileno()
    faulthandler.register(signal.SIGUSR2, file=descriptor, all_threads=True)


def hold_signals() -> None:
    """Keep SIGTERM waiting for `hear_sigterm`; SIGINT from a terminal is the supervisor's affair.

    Before the first thread is made, the log's included: threads inherit the mask, and one
    without it would take the signal and end the process in mid-job.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def hear_sigterm(leave: Callable[[], None]) -> None:
    """Call `leave` on each SIGTERM, from a thread of its own.

    A handler in the main thread would wait for the native call that is running (up to
    seconds); a thread in sigwait hears it in milliseconds. `hold_signals` comes first.
    """

    def wait() -> None:
        while True:
            signal.sigwait({signal.SIGTERM})
            leave()

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
