"""`python -m supervisor.gpuwatch`: the watching child; with `check`, the doctor's questions."""

from __future__ import annotations

import os
import signal
import sys

from supervisor.contract import child_env, logline
from supervisor.contract.exits import Exit
from supervisor.gpuwatch.check import check
from supervisor.gpuwatch.nvml import Nvml
from supervisor.gpuwatch.watch import serve


def main(arguments: list[str]) -> Exit:
    """Do what the command line asks and give the code to end with."""
    if arguments == ["check"]:
        return check()
    if arguments or child_env.LINK_FD not in os.environ:
        print(
            "python -m supervisor.gpuwatch [check]; without `check` rem-supervisor starts it", file=sys.stderr
        )
        return Exit.USAGE
    # The end of the link is the sign to leave; a Ctrl-C in the terminal goes to everybody.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logline.set_up("gpuwatch", "INFO")
    return serve(child_env.link(), Nvml())


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    logline.die_quietly(code)  # never waits for a thread that hangs in the driver
