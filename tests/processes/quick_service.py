"""`rem-supervisor run` that a test need not wait for, as far as the words after its name say.

impatient   seconds, not a minute, for a watch that hangs; for a device's memory, not twenty
null        workers that recognise nothing: no model is loaded, every job is through at once
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

from supervisor import care, recipes
from supervisor import pool as pl
from supervisor.child import Recipe
from supervisor.contract.settings import Settings, load
from supervisor.crew import OWN_POLICIES
from supervisor.places import Place
from supervisor.run import run_service

NULL_WORKER = Path(__file__).resolve().parents[2] / "bench" / "null_worker.py"
IMPATIENT = (__file__, "impatient")
NULL = (__file__, "null")
NULL_AND_IMPATIENT = (__file__, "null", "impatient")


def null_worker(settings: Settings, environ: Mapping[str, str], place: Place, model_path: str) -> Recipe:
    """A worker's environment, link and lock; another command line."""
    real = recipes.worker(settings, environ, place, model_path)
    return dataclasses.replace(real, command=(sys.executable, str(NULL_WORKER)))


if __name__ == "__main__":
    if "impatient" in sys.argv:
        OWN_POLICIES[pl.GPUWATCH] = dataclasses.replace(OWN_POLICIES[pl.GPUWATCH], silence_s=5.0, gone_s=1.0)
        care.GATE_S = 3.0
    sys.exit(run_service(load(), null_worker if "null" in sys.argv else recipes.worker))
