"""How each child is started: command line, environment, lock.

The settings of each child are derived here from those of the service; a worker gets
`WorkerSettings` and nothing else.
"""

from __future__ import annotations

import os
import site
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from supervisor.contract import child_bootstrap
from supervisor.contract.engine.engines import ENGINES
from supervisor.contract.wire import messages as m
from supervisor.placement.slot_plan import SlotSpec, compute_type_for, model_of
from supervisor.processes import env_allowlist
from supervisor.processes.child import ChildSpec
from supervisor.processes.python_command import finding_us, module_command
from supervisor.settings.schema import Settings, default_options

WORKER_HOME = (
    "worker-home"  # in the state directory: the HOME of workers, for what their libraries write there
)
PRETEND_FILE = "fake-gpus.json"  # in the state directory: the faults of simulated GPUs
BEAT_S = 2.0  # while loading or at work; a guess: a fifth of the shortest silence that matters
# An idle worker only proves that it runs: 64 heartbeats every 2 s would cost the supervisor more than
# all its other work.
IDLE_BEAT_S = 10.0
# Returns a worker's child spec for a place and a model's folder. `bench/` uses another one.
MakeWorker = Callable[[Settings, Mapping[str, str], SlotSpec, str], ChildSpec]


def broker(settings: Settings, environ: Mapping[str, str], aws: Mapping[str, str]) -> ChildSpec:
    environment = env_allowlist.for_broker(environ, aws, child_bootstrap.dump_settings(settings))
    command = module_command("supervisor.broker")
    return ChildSpec("broker", command, finding_us(environment), m.FROM_BROKER, hides_memory=True)


def gpuwatch(settings: Settings, environ: Mapping[str, str]) -> ChildSpec:
    pretend_count = settings.devices.fake_gpus
    own = child_bootstrap.GpuwatchSettings(
        xid=dict(settings.devices.xid),
        pretend_count=pretend_count,
        pretend_path=str(Path(settings.state_dir) / PRETEND_FILE) if pretend_count else "",
        log_level=settings.log.level,
    )
    environment = env_allowlist.for_gpuwatch(environ, child_bootstrap.dump_settings(own))
    command = module_command("supervisor.gpuwatch")
    return ChildSpec("gpuwatch", command, finding_us(environment), m.FROM_GPUWATCH)


def model_fetch(name: str, model: str, engine: str, environ: Mapping[str, str]) -> ChildSpec:
    """The short-lived child that downloads a model into a folder on this host.

    `name` identifies it: several models are fetched side by side.
    """
    command = module_command("workerproc", ("fetch", model, "--engine", engine))
    return ChildSpec(name, command, finding_us(env_allowlist.for_model_fetch(environ)), ())


def worker(settings: Settings, environ: Mapping[str, str], place: SlotSpec, model_path: str) -> ChildSpec:
    own = child_bootstrap.WorkerSettings(
        slot=place.name,
        engine=settings.transcription.engine,
        model=model_of(settings, place),
        model_path=model_path,
        device=place.kind,
        compute_type=place.compute_type or compute_type_for(settings, place.kind),
        threads=place.threads,
        profile=settings.transcription.profile,
        stacks_path=stacks_path(Path(settings.state_dir), place.name),
        beat_s=BEAT_S,
        idle_beat_s=idle_beat_s(settings),
        max_audio_s=settings.spool.max_audio_s,
        checkpoint_s=settings.spool.checkpoint_s,
        options=default_options(settings.transcription),
        log_level=settings.log.level,
        cpus=place.cpus,
        batch_size=place.batch_size if ENGINES[settings.transcription.engine].batches else 1,
        chooses_rows=place.kind == "cpu" and place.batch_size > 1 and not settings.transcription.batch_size,
        recycle_jobs=settings.supervisor.recycle_jobs,
        recycle_s=settings.supervisor.recycle_s,
        recycle_bytes=settings.supervisor.recycle_bytes,
    )
    found = finding_us({**environ, **_user_packages()})
    environment = env_allowlist.for_worker(
        found,
        child_bootstrap.dump_settings(own),
        place.device,
        place.threads,
        found["PYTHONPATH"],
        str(Path(settings.state_dir) / WORKER_HOME),
        library_folders(sys.path) if place.kind == "cuda" else (),
    )
    command = module_command("workerproc")
    return ChildSpec(place.name, command, environment, m.FROM_WORKER, _lock_path(settings, place))


def idle_beat_s(settings: Settings) -> float:
    """Return an idle worker's heartbeat interval: a third of its silence budget."""
    return min(IDLE_BEAT_S, settings.supervisor.silence_s / 3)


def stacks_path(state_dir: Path, slot: str) -> str:
    """Return the file to which a slot's worker writes all its stacks when it hangs."""
    return str(state_dir / "stacks" / f"{slot}.txt")


def _user_packages() -> dict[str, str]:
    """Return the folder of `pip install --user`: it is in our HOME, and a worker has another HOME."""
    return {"PYTHONUSERBASE": site.getuserbase()} if site.ENABLE_USER_SITE else {}


def _lock_path(settings: Settings, place: SlotSpec) -> str:
    """Return the lock file: machine-wide for a GPU, in the state directory for a CPU or simulated GPU."""
    if not place.device or settings.devices.fake_gpus:
        return str(Path(settings.state_dir) / "locks" / f"{place.name}.lock")
    shared = "/run/lock" if os.access("/run/lock", os.W_OK) else tempfile.gettempdir()
    nth = f"-{place.number}" if place.number else ""
    return str(Path(shared) / f"rem-supervisor-{place.device}{nth}.lock")


def library_folders(path: Sequence[str]) -> tuple[str, ...]:
    """Return `nvidia/*/lib` of every entry of `sys.path`, in its order, each once.

    CTranslate2 opens cuBLAS and cuDNN by name; the dynamic linker knows nothing of site-packages, and reads
    LD_LIBRARY_PATH only when a process starts: so it is set before.
    """
    folders = [
        str(folder)
        for entry in path
        if entry
        for folder in sorted(Path(entry).glob("nvidia/*/lib"))
        if folder.is_dir() and any(folder.glob("*.so*"))
    ]
    return tuple(dict.fromkeys(folders))
