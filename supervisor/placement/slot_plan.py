"""Plans the worker slots of this host, or says why there are none. PURE.

`auto` uses the GPUs. CPU slots replace them only if there is no NVIDIA device at all: a GPU server with a
broken driver must report that, not become thirty times slower without notice. The caller passes gpuwatch's
report and what `host.py` read before any worker started.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.contract.engine.engines import DEFAULT
from supervisor.placement import batch_sizes, gpu_selection, model_memory
from supervisor.placement.model_memory import gib_text
from supervisor.settings.rules import runs_on_cpu

if TYPE_CHECKING:
    from supervisor.contract.wire.messages import Device, Devices
    from supervisor.settings.schema import Settings


@dataclass(frozen=True)
class Host:
    """The cores and memory that this process may use, within cgroup limits."""

    cores: int
    free_memory_bytes: int


@dataclass(frozen=True)
class SlotSpec:
    """The place of one worker: a GPU (`device` is its UUID) or a share of the CPU (empty)."""

    name: str  # gpu0, gpu0mig1, gpu0-2 (the second worker on it), cpu0
    kind: str  # cuda or cpu
    device: str
    threads: int
    cpus: tuple[int, ...] = ()  # CPU affinity; empty: all CPUs
    parent: str = ""  # the GPU of a MIG device
    number: int = 0  # among the workers of one device
    model: str = ""  # empty: as in settings
    compute_type: str = ""  # empty: as in settings
    need_bytes: int = 0  # estimated device memory; 0: not known
    refusal: str = ""  # why no worker may start here, with the cure
    batch_size: int = 1  # recordings that its worker computes in one call


@dataclass(frozen=True)
class SlotPlan:
    """The slots that should exist.

    `problem` and `cure` describe a fault: an error if there are no slots, otherwise a warning.
    """

    places: tuple[SlotSpec, ...]
    problem: str = ""
    cure: str = ""


def plan(settings: Settings, devices: Devices, host: Host) -> SlotPlan:
    """Return the worker slots that should exist, from settings, GPUs and the host's size."""
    wanted = settings.devices.device
    if wanted == "cpu":
        return _on_cpu(settings, host)
    if devices.devices:
        return _on_gpus(settings, devices)
    missing = devices.problem or "no GPU was found"
    if wanted == "cuda":
        return SlotPlan(
            (),
            f"device is cuda, but no GPU can be used: {missing}",
            "Fix that, or set WHISPER_DEVICE=auto or cpu ([devices] device)",
        )
    if devices.nvidia_pci:
        return SlotPlan(
            (),
            f"this machine has an NVIDIA device that can't be used: {missing}",
            "Fix that, or set WHISPER_DEVICE=cpu ([devices] device) to run without it",
        )
    return _on_cpu(settings, host)


def compute_type_for(settings: Settings, kind: str) -> str:
    """Return CTranslate2's compute type for a slot of this kind; `default` for other engines."""
    asked = settings.transcription.compute_type
    if asked != "auto":
        return asked
    if settings.transcription.engine != DEFAULT:
        return "default"  # the engine's own
    return "float16" if kind == "cuda" else "int8"


def model_of(settings: Settings, place: SlotSpec) -> str:
    """Return the model that a slot's worker loads."""
    return place.model or settings.transcription.model


def _on_gpus(settings: Settings, devices: Devices) -> SlotPlan:
    chosen = gpu_selection.chosen(settings.devices, devices.devices)
    if not chosen:
        return SlotPlan(
            (),
            "[devices] include and exclude leave no GPU",
            "Correct them; `rem-supervisor doctor` lists the GPUs",
        )
    count = settings.devices.workers_per_device
    places = tuple(_on_gpu(settings, gpu, number) for gpu in chosen for number in range(count))
    return SlotPlan(places, devices.problem)


def _on_gpu(settings: Settings, gpu: Device, number: int) -> SlotSpec:
    own = settings.devices
    kind = "cpu" if own.compute == "cpu" else "cuda"
    model = gpu_selection.override(own.model, gpu)
    compute_type = gpu_selection.override(own.compute_type, gpu)
    used_model = model or settings.transcription.model
    used_type = compute_type or compute_type_for(settings, kind)
    need_bytes = model_memory.need_bytes(used_model, kind, used_type) if kind == "cuda" else 0
    return SlotSpec(
        name=gpu_selection.slot_name(gpu, number),
        kind=kind,
        device=gpu.uuid,
        threads=own.cpu_threads,
        cpus=gpu.cpus,
        parent=gpu.parent,
        number=number,
        model=model,
        compute_type=compute_type,
        need_bytes=need_bytes,
        refusal=gpu_selection.refusal(gpu, used_model, need_bytes, own.workers_per_device),
        batch_size=batch_sizes.on_gpu(settings, used_model, gpu, need_bytes) if kind == "cuda" else 1,
    )


def _on_cpu(settings: Settings, host: Host) -> SlotPlan:
    compute_type = compute_type_for(settings, "cpu")
    if not runs_on_cpu(compute_type):
        return SlotPlan(
            (),
            f"compute type {compute_type} needs a GPU, but the workers run on the CPU",
            "Set WHISPER_COMPUTE_TYPE=auto, int8 or float32 ([transcription] compute_type)",
        )
    model, threads = settings.transcription.model, settings.devices.cpu_threads
    need_bytes = model_memory.need_bytes(model, "cpu", compute_type)
    fitting = host.free_memory_bytes // need_bytes
    count = settings.devices.cpu_slots or max(1, min(host.cores // threads, fitting))
    batch_size = batch_sizes.on_cpu(settings, model, host.free_memory_bytes // count, need_bytes)
    places = tuple(SlotSpec(f"cpu{n}", "cpu", "", threads, batch_size=batch_size) for n in range(count))
    if count <= fitting:
        return SlotPlan(places)
    return SlotPlan(
        places,
        f"{_slots(count)} of model {model} need about {gib_text(count * need_bytes)} GiB of memory, "
        f"{gib_text(host.free_memory_bytes)} GiB are free",
        "Use a smaller model (WHISPER_MODEL) or fewer slots ([devices] cpu_slots), or add memory",
    )


def _slots(count: int) -> str:
    return "1 CPU slot" if count == 1 else f"{count} CPU slots"
