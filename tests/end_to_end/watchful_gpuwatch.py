"""gpuwatch that asks the driver twice a second, after failures too; one that hangs is told after three."""

from __future__ import annotations

import sys

from supervisor.contract import logline, process_start
from supervisor.gpuwatch import __main__ as gpuwatch
from supervisor.gpuwatch import watch

if __name__ == "__main__":
    process_start.begin_service()
    watch.LOOK_EVERY_S = watch.LOOK_AFTER_FAILURE_MOST_S = 0.5
    watch.HANGS_AFTER_S = 3.0
    logline.die_quietly(gpuwatch.main(sys.argv[1:]))
