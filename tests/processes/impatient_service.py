"""`rem-supervisor run` that waits seconds, not a minute, for a watch that hangs in the driver."""

from __future__ import annotations

import dataclasses
import sys

from supervisor import pool as pl
from supervisor.contract import settings
from supervisor.crew import OWN_POLICIES
from supervisor.run import run_service

if __name__ == "__main__":
    OWN_POLICIES[pl.GPUWATCH] = dataclasses.replace(OWN_POLICIES[pl.GPUWATCH], silence_s=5.0, gone_s=1.0)
    sys.exit(run_service(settings.load()))
