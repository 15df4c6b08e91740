"""Builds the report to the supervisor from NVML's figures. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from supervisor.contract.wire.messages import Device, Devices
from supervisor.gpuwatch.cuda_visible import ordinals_may_differ, visible
from supervisor.gpuwatch.health import without_figures

# Smaller changes wait for the regular report. These limits are guesses.
_NEWS_MEMORY_BYTES = 256 * 1024**2
_NEWS_TEMPERATURE_C = 5.0
_NEWS_UTILIZATION_RATIO = 0.25


@dataclass(frozen=True)
class GpuReport:
    """The result of one poll of all GPUs, in PCI order. `failed`: NVML itself failed."""

    gpus: tuple[Device, ...]
    problem: str = ""
    failed: bool = False


def devices_of(
    report: GpuReport,
    environ: Mapping[str, str],
    nvidia_pci: bool,
    last: Optional[Devices],
    at_s: float = 0.0,
) -> Devices:
    """Return the GPUs that workers may use, in the order of an inherited CUDA_VISIBLE_DEVICES.

    If NVML fails after it has worked, the known GPUs remain, without values: running workers do not need NVML
    and must not be stopped because of it.
    """
    if report.failed:
        known = last.devices if last is not None else ()
        return Devices(tuple(map(without_figures, known)), nvidia_pci, report.problem, True, at_s)
    value, order = environ.get("CUDA_VISIBLE_DEVICES"), environ.get("CUDA_DEVICE_ORDER")
    whole = tuple(dict.fromkeys(gpu.parent or gpu.uuid for gpu in report.gpus))
    parts = {gpu.parent: [one.uuid for one in report.gpus if one.parent == gpu.parent] for gpu in report.gpus}
    parts.pop("", None)
    shown = visible(value, whole, parts)
    by_uuid = {gpu.uuid: gpu for gpu in report.gpus}
    notes = [report.problem]
    if report.gpus:
        notes.append(shown.note)
    if ordinals_may_differ(value, order, [gpu.name for gpu in report.gpus]):
        notes.append(
            f"CUDA_VISIBLE_DEVICES={value} was read in PCI order, but CUDA lists the fastest GPU first. "
            "Set CUDA_DEVICE_ORDER=PCI_BUS_ID or use UUIDs"
        )
    gpus = tuple(by_uuid[uuid] for uuid in shown.uuids)
    return Devices(gpus, nvidia_pci, ". ".join(note for note in notes if note), looked_at_s=at_s)


def is_news(was: Optional[Devices], now: Devices) -> bool:
    """Return whether `now` differs enough from the last report to be sent at once."""
    if was is None or _state(was) != _state(now):
        return True
    if _identities(was.devices) != _identities(now.devices):
        return True
    return any(_changed(old, new) for old, new in zip(was.devices, now.devices))


def _state(devices: Devices) -> tuple[object, ...]:
    return devices.problem, devices.nvidia_pci, devices.failed


def _identities(gpus: Sequence[Device]) -> list[tuple[object, ...]]:
    return [(gpu.uuid, gpu.index, gpu.health, gpu.recovery_action, gpu.throttle) for gpu in gpus]


def _changed(old: Device, new: Device) -> bool:
    return (
        _differs(old.memory_used_bytes, new.memory_used_bytes, _NEWS_MEMORY_BYTES)
        or _differs(old.temperature_c, new.temperature_c, _NEWS_TEMPERATURE_C)
        or _differs(old.utilization_ratio, new.utilization_ratio, _NEWS_UTILIZATION_RATIO)
    )


def _differs(old: Optional[float], new: Optional[float], by: float) -> bool:
    if old is None or new is None:
        return old is not new
    return abs(new - old) >= by
