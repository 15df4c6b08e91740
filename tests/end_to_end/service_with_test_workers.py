"""`rem-supervisor run` that a test need not wait for, as far as the words after its name say.

impatient   seconds, not a minute, for a watch that hangs; for a device's memory, not twenty
watchful    a watch that asks the driver twice a second, and calls it hanging after three seconds, not ten
null        workers that recognise nothing: no model is loaded, every job is through at once
held        workers that recognise nothing, and are through with what they have once `go` (below) says so
tight       workers that lack the memory to load a model
flooding    workers that recognise nothing and print as fast as they can
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.placement.slot_plan import SlotSpec
from supervisor.pool.rules import device_holds
from supervisor.pool.state import events as ev
from supervisor.processes import child_specs
from supervisor.processes.child import ChildSpec
from supervisor.service.provisioning import OWN_POLICIES
from supervisor.service.run import run_service
from supervisor.settings.load import load_settings
from supervisor.settings.schema import Settings

if TYPE_CHECKING:
    from tests.end_to_end.running_service import Service

TOP = Path(__file__).resolve().parents[2]
IMPATIENT = (__file__, "impatient")
NULL = (__file__, "null")
TIGHT = (__file__, "tight")
NULL_AND_IMPATIENT = (__file__, "null", "impatient")
NULL_AND_WATCHFUL = (__file__, "null", "watchful")
HELD = (__file__, "held")
FLOODING = (__file__, "flooding")


def null_worker(
    settings: Settings, environ: Mapping[str, str], place: SlotSpec, model_path: str
) -> ChildSpec:
    """A worker's environment, link and lock; another command line."""
    real = child_specs.worker(settings, environ, place, model_path)
    return dataclasses.replace(real, command=(sys.executable, str(TOP / "bench" / "null_worker.py")))


def watchful(real: Callable[[Settings, Mapping[str, str]], ChildSpec]) -> Callable[..., ChildSpec]:
    """The watch's environment and link; another command line."""
    command = (sys.executable, "-m", "tests.end_to_end.watchful_gpuwatch")
    return lambda *given: dataclasses.replace(real(*given), command=command)


def tight_worker(
    settings: Settings, environ: Mapping[str, str], place: SlotSpec, model_path: str
) -> ChildSpec:
    """A real worker that lacks memory."""
    real = child_specs.worker(settings, environ, place, model_path)
    return dataclasses.replace(real, command=(sys.executable, "-m", "tests.end_to_end.memory_starved_worker"))


def held_worker(
    settings: Settings, environ: Mapping[str, str], place: SlotSpec, model_path: str
) -> ChildSpec:
    """The same; it waits for the file `go` in the state directory."""
    real = child_specs.worker(settings, environ, place, model_path)
    command = (sys.executable, "-m", "tests.end_to_end.waiting_worker", str(Path(settings.state_dir) / "go"))
    return dataclasses.replace(real, command=command)


def flooding_worker(
    settings: Settings, environ: Mapping[str, str], place: SlotSpec, model_path: str
) -> ChildSpec:
    """Like null_worker, but it floods its standard output."""
    real = child_specs.worker(settings, environ, place, model_path)
    return dataclasses.replace(real, command=(sys.executable, "-m", "tests.end_to_end.flooding_worker"))


def go(service: Service) -> None:
    """Let held workers be through with all they have, and will have."""
    (service.state_dir / "go").touch()


if __name__ == "__main__":
    if "impatient" in sys.argv:
        OWN_POLICIES[ev.GPUWATCH] = dataclasses.replace(OWN_POLICIES[ev.GPUWATCH], silence_s=5.0, gone_s=1.0)
        device_holds.GATE_S = 3.0
    if "watchful" in sys.argv:
        child_specs.gpuwatch = watchful(child_specs.gpuwatch)
    workers = {"null": null_worker, "held": held_worker, "tight": tight_worker, "flooding": flooding_worker}
    sys.exit(
        run_service(
            load_settings(), next((workers[word] for word in sys.argv if word in workers), child_specs.worker)
        )
    )
