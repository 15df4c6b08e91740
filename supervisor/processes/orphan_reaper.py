"""As PID 1 of a container: reaps orphaned zombie processes.

PID 1 becomes the parent of every orphan of its container and must reap them, or the pids
run out. Our own children are left alone: their exit status belongs to `child.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

_AT_ONCE_MOST = 1_000


def is_ours_to_reap() -> bool:
    """Return whether this process is the parent of orphans (PID 1)."""
    return os.getpid() == 1


def reap_orphans(is_ours: Callable[[int], bool], reap_ours: Callable[[], None]) -> int:
    """Reap every dead process that is not a child of ours; return their number.

    Looks before it reaps (WNOWAIT). A dead child of ours may come before the others:
    `reap_ours` lets its owner reap it.
    """
    count = 0
    for _ in range(_AT_ONCE_MOST):
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            break
        if found is None:
            break
        if is_ours(found.si_pid):
            reap_ours()
        else:
            os.waitpid(found.si_pid, os.WNOHANG)
            count += 1
    return count
