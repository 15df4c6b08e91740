"""Selects GPUs, names their slots, and decides whether a model fits. PURE.

Settings identify a GPU by its UUID or a prefix of it, by its index or by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from supervisor.placement.model_memory import SIZES, gib_text

if TYPE_CHECKING:
    from supervisor.contract.wire.messages import Device
    from supervisor.settings.schema import DevicesSettings


def chosen(settings: DevicesSettings, gpus: Sequence[Device]) -> list[Device]:
    """Return the GPUs that settings allow, in the settings' order."""
    wanted = [gpu for gpu in gpus if not settings.include or _is_one_of(gpu, settings.include)]
    return [gpu for gpu in wanted if not _is_one_of(gpu, settings.exclude)]


def override(table: Mapping[str, str], gpu: Device) -> str:
    """Return a setting's value for one GPU from a table; empty if it has none."""
    return next((value for name, value in table.items() if _is_one_of(gpu, (name,))), "")


def slot_name(gpu: Device, number: int) -> str:
    """`gpu0`; `gpu0mig2` for a MIG device; `gpu0-2` for the second worker there."""
    part = "" if gpu.mig_index is None else f"mig{gpu.mig_index}"
    return f"gpu{gpu.index}{part}{f'-{number + 1}' if number else ''}"


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """Return an unused slot name: indices shift when a GPU vanishes, slots keep their names."""
    known = set(taken)
    if wanted not in known:
        return wanted
    return next(name for n in range(2, len(known) + 3) if (name := f"{wanted}.{n}") not in known)


def refusal(gpu: Device, model: str, need: int, workers: int) -> str:
    """Return why a device is too small for its workers' model, and which would fit; empty if it fits."""
    total = gpu.memory_total_bytes
    if not need or total is None or need * workers <= total:
        return ""
    share = total // workers
    fitting = [size for size, memory in SIZES.items() if memory.gpu_bytes <= share]
    cure = f"{fitting[-1]} would fit (WHISPER_MODEL, or [devices] model)" if fitting else "no model would fit"
    each = f" for each of its {workers} workers" if workers > 1 else ""
    return (
        f"model {model} needs about {gib_text(need)} GiB of memory{each}, {gpu.name} has {gib_text(total)}: "
        f"{cure}; int8_float16 needs less (WHISPER_COMPUTE_TYPE)"
    )


def _is_one_of(gpu: Device, names: Sequence[str]) -> bool:
    return any(_is(gpu, name.strip()) for name in names)


def _is(gpu: Device, name: str) -> bool:
    if name.startswith(("GPU-", "MIG-")):
        return gpu.uuid.startswith(name) or (bool(gpu.parent) and gpu.parent.startswith(name))
    return name in (str(gpu.index), gpu.name)
