"""A debugger of a process, as a stand-in for a driver that does not let go of it.

No test can make a process that hangs in the kernel. One that is traced and killed comes near it: it is dead,
but its parent can't reap it until the tracer has taken notice; which it does when it is told to.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

_PTRACE_SEIZE = 0x4206
_PROGRAM = f"""
import ctypes, os, sys
pid, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
failed = libc.ptrace({_PTRACE_SEIZE}, ctypes.c_long(pid), None, None)
print(os.strerror(ctypes.get_errno()) if failed else "seized", flush=True)
sys.stdin.read()  # takes no notice until then
if not failed:
    libc.ptrace(17, ctypes.c_long(pid), None, None)  # PTRACE_DETACH: lets go of one that lives
    os.waitpid(pid, os.WNOHANG | 0x40000000)  # __WALL: takes notice of one that is dead
"""


@contextlib.contextmanager
def holding(pid: int) -> Iterator[None]:
    """Hold a process, dead or alive, from its parent until the block ends; skip where that is forbidden."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tracer:
        assert tracer.stdin is not None
        assert tracer.stdout is not None
        try:
            said = tracer.stdout.readline().strip()
            if said != "seized":
                pytest.skip(f"ptrace is not to be had here ({said}): nothing can be held from its parent")
            yield
        finally:
            tracer.stdin.close()
            tracer.wait(60)
