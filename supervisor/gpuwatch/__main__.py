"""`python -m supervisor.gpuwatch`: the gpuwatch process; with `check`, the GPU checks of `doctor`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from supervisor.contract import child_bootstrap, logline, process_start
from supervisor.contract.exits import Exit
from supervisor.contract.wire.blocking_link import BlockingLink
from supervisor.contract.wire.messages import TO_GPUWATCH, Look, Xid
from supervisor.gpuwatch.check import check
from supervisor.gpuwatch.nvml import Nvml
from supervisor.gpuwatch.simulated import SimulatedGpus
from supervisor.gpuwatch.watch import GpuSource, Watch, serve


def main(arguments: list[str]) -> Exit:
    """Run the command and return the exit code."""
    if arguments == ["check"]:
        return check()
    if arguments or child_bootstrap.LINK_FD not in os.environ:
        print(
            "usage: python -m supervisor.gpuwatch check (without `check`, only rem-supervisor starts it)",
            file=sys.stderr,
        )
        return Exit.USAGE
    # Only the end of the link stops this process; a Ctrl-C in the terminal reaches every process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    settings = child_bootstrap.settings(child_bootstrap.GpuwatchSettings)
    logline.set_up("gpuwatch", settings.log_level)
    link: BlockingLink[Look] = BlockingLink(child_bootstrap.link(), TO_GPUWATCH)
    return serve(link, _watch(link, settings))


def _watch(link: BlockingLink[Look], settings: child_bootstrap.GpuwatchSettings) -> Watch:
    """Watch real GPUs, or simulated ones if the settings say so."""
    watch: Watch

    def on_xid(xid: Xid) -> None:
        watch.report_xid(xid)

    source: GpuSource = Nvml(on_xid)
    if settings.pretend_path:
        source = SimulatedGpus(Path(settings.pretend_path), settings.pretend_count, on_xid)
    watch = Watch(link, source, settings.xid)
    return watch


if __name__ == "__main__":
    process_start.begin_service()
    code = main(sys.argv[1:])
    sys.stdout.flush()
    logline.die_quietly(code)  # does not wait for a thread that hangs in the driver
