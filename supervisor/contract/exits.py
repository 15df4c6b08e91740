"""Exit codes of all processes and what they mean.

`--help` lists those of the command line; only the supervisor reads those of the children. 78 is EX_CONFIG
of sysexits, which the systemd unit names in RestartPreventExitStatus.
"""

from __future__ import annotations

import enum
import signal


class Exit(enum.IntEnum):
    """Every code that our processes exit with on purpose."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    DEGRADED = 4
    # The following are used by children only.
    ORPHANED = 70  # the supervisor is gone
    DEVICE_BROKEN = 71  # the device can't be used; hold the slot
    MODEL_BROKEN = 72  # the model can't be loaded on this device; hold the slot
    RECYCLE = 73  # a new process is requested; no error
    OUT_OF_MEMORY = 74  # the model did not fit into memory while it was loaded
    PROTOCOL = 76  # a message on the link was invalid
    SETTINGS_WRONG = 78


STATUS_UNKNOWN = 256
"""A returncode that no process can have: it exited, and its status was reaped elsewhere."""


def describe(returncode: int) -> str:
    """Describe how a process ended, from `Popen.returncode` (negative: a signal).

    `killed by SIGKILL`, `exited (code 0)`, `exit 71 (device broken)`.
    """
    if returncode < 0:
        try:
            return f"killed by {signal.Signals(-returncode).name}"
        except ValueError:
            return f"killed by signal {-returncode}"
    if returncode == STATUS_UNKNOWN:
        return "ended, exit status unknown"
    if returncode == 0:
        return "exited (code 0)"
    try:
        return f"exit {returncode} ({Exit(returncode).name.lower().replace('_', ' ')})"
    except ValueError:
        return f"exit {returncode}"
