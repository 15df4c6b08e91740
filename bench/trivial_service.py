"""The real service with a trivial worker: what the benchmark measures as ours.

    REM_STATE_DIR=... python bench/trivial_service.py FIFO [MOOD]

Loop, pool, control socket, locks, broker on the local backend, gpuwatch and the model fetch
are the product's own. Only a worker's command line is another one.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent)

from supervisor.placement.slot_plan import SlotSpec  # noqa: E402
from supervisor.processes import child_specs  # noqa: E402  # after the path is set
from supervisor.processes.child import ChildSpec  # noqa: E402
from supervisor.service.run import run_service  # noqa: E402
from supervisor.settings.load import load_settings  # noqa: E402
from supervisor.settings.schema import Settings  # noqa: E402


def maker(fifo: str, mood: str) -> child_specs.MakeWorker:
    """Give a maker of workers that do nothing, with a real worker's environment and lock."""

    def make(settings: Settings, environ: Mapping[str, str], place: SlotSpec, model_path: str) -> ChildSpec:
        real = child_specs.worker(settings, environ, place, model_path)
        beat_s = child_specs.BEAT_S if mood == "work" else child_specs.idle_beat_s(settings)
        link = ("bash", str(HERE / "trivial_link.sh"), mood, f"{beat_s:.3f}", str(round(beat_s * 1e6)))
        return dataclasses.replace(real, command=("/bin/sh", str(HERE / "trivial_worker.sh"), fifo, *link))

    return make


if __name__ == "__main__":
    sys.exit(run_service(load_settings(), maker(sys.argv[1], (sys.argv[2:] or ["rest"])[0])))
