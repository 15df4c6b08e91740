"""What tests may leave behind: nothing. Counted at the end of each test file, and of the whole run.

A descriptor or process that a test leaves costs nothing in that test and breaks another one hundreds of
tests later: `ulimit -n` is 1024 on a stock Debian. Counted are open descriptors of this test process and
processes that descend from it. Servers that serve a whole run are made known by `kept`.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

import psutil

CLOSED_WITHIN_S = 15.0
GONE_WITHIN_S = 20.0  # a process that was told to end may take so long on a busy machine
_FD_FOLDER = Path("/proc/self/fd")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Made once a process by libraries and kept to its end: not a test's.
_KEPT_BY_LIBRARIES = ("anon_inode:[eventpoll]", "/dev/", "/proc/", "anon_inode:[io_uring]")
_kept_pids: set[int] = set()
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # looked up before any fork


@contextmanager
def kept(pid: int) -> Iterator[None]:
    """Let a process be: a server that many test files share."""
    _kept_pids.add(pid)
    try:
        yield
    finally:
        _kept_pids.discard(pid)


def die_with_tests() -> None:
    """As `preexec_fn`: the kernel ends this process when the test process is gone, however that ended.

    It follows the thread that started it: not for processes that are started in a test's own threads.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def descriptors() -> dict[int, str]:
    """Give this process's open descriptors and what each names; nothing where there is no /proc."""
    found = {}
    for name in os.listdir(_FD_FOLDER) if _FD_FOLDER.is_dir() else ():
        try:
            found[int(name)] = os.readlink(_FD_FOLDER / name)
        except OSError:  # the folder's own
            continue
    return found


def new_descriptors(before: Mapping[int, str]) -> list[str]:
    """Name what is open now and was not before, after giving threads time to close what they read."""

    def left() -> list[str]:
        gc.collect()  # a connection that is only part of a cycle is not left open
        return sorted(
            name
            for number, name in descriptors().items()
            if before.get(number) != name and not name.startswith(_KEPT_BY_LIBRARIES)
        )

    return _still_left(left, CLOSED_WITHIN_S)


def descendants() -> dict[int, str]:
    """Give the processes below this one, without those that are kept: pid and command."""
    kept = {pid for root in _kept_pids for pid in _tree(root)}
    return {pid: _command(pid) for pid in _tree(os.getpid()) if pid != os.getpid() and pid not in kept}


def new_processes(before: Iterable[int]) -> list[str]:
    """Name processes that a test left, after giving them time to end."""
    known = set(before)

    def left() -> list[str]:
        return [f"{pid}: {words}" for pid, words in sorted(descendants().items()) if pid not in known]

    return _still_left(left, GONE_WITHIN_S)


def orphans_of_ours(since_unix_s: float) -> list[str]:
    """Name processes of this interpreter that lost their parent and were begun since: nobody stopped them."""

    def left() -> list[str]:
        return [f"{pid}: {_command(pid)}" for pid in psutil.pids() if _is_orphan(pid, since_unix_s)]

    return _still_left(left, GONE_WITHIN_S)


def is_gone(pid: int) -> bool:
    """Wait for a process's end, for a while; a dead one that nobody has reaped is gone as well."""
    try:
        process = psutil.Process(pid)
        psutil.wait_procs([process], timeout=GONE_WITHIN_S)
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _still_left(left: Callable[[], list[str]], within_s: float) -> list[str]:
    """Ask until nothing is left or the time is over; give what is left. It is the caller who fails."""
    end_s = time.monotonic() + within_s
    while True:
        found = left()
        if not found or time.monotonic() > end_s:
            return found
        time.sleep(0.05)


def _tree(root: int) -> list[int]:
    try:
        return [root, *(child.pid for child in psutil.Process(root).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _command(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return f"{process.name()} (ended and not reaped)"
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return "?"


def _is_orphan(pid: int, since_unix_s: float) -> bool:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            words, is_alone = process.cmdline(), process.ppid() == 1
            return is_alone and words[:1] == [sys.executable] and process.create_time() >= since_unix_s - 1.0
    except psutil.Error:
        return False
