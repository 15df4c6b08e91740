"""Starts a program that ends with this process, however this process ends.

For children of the command line, which have no link whose end of file they could read. Linux
sends SIGTERM when the thread that started them exits; on other kernels they are only
ended in order.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from supervisor.processes.python_command import module_command

# Runs before the program and becomes it: `preexec_fn` would do it in a fork of us, which is slow and unsafe
# beside threads. Arming is not inherited back, so who died before it is found by the parent's pid.
_PRELUDE = """
import ctypes, os, signal, sys
try:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
except (AttributeError, OSError):
    pass
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def bound_command(module: str, args: Sequence[str]) -> list[str]:
    """Return the command for `python -m module args...`, which ends with this process."""
    program = module_command(module, args)
    # -I -S: nothing but the standard library; the program itself starts afresh.
    return [sys.executable, "-I", "-S", "-c", _PRELUDE, str(os.getpid()), *program]
