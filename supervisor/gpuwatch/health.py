"""Converts NVML's figures into a health state. PURE."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Optional

from supervisor.contract.wire.messages import Device
from supervisor.gpuwatch import nvml_errors
from supervisor.gpuwatch.xid import cure, wants_hold

# Source: nvml.h, nvmlClocksEventReason*. An idle GPU (1) and its owner's wishes (2, 16, 256) are no trouble.
_THROTTLE = {
    4: "power cap", 8: "hardware slowdown", 32: "thermal slowdown", 64: "hardware thermal slowdown",
    128: "power brake",
}  # fmt: skip
# Every figure may be missing; these two are told by whatever answers at all.
_VITAL = ("memory_used_bytes", "temperature_c")


def throttle_reasons(mask: Optional[int]) -> Optional[tuple[str, ...]]:
    """Name what holds the clocks down; empty: nothing does."""
    return None if mask is None else tuple(name for bit, name in _THROTTLE.items() if mask & bit)


def with_health(gpu: Device, codes: Collection[int] = ()) -> Device:
    """Judge a GPU by its figures and by the errors that it gave instead of some."""
    health = _health(gpu, codes)
    return dataclasses.replace(gpu, health=health, cure=_cure(gpu) if health == "sick" else "")


def lost(gpu: Device) -> Device:
    """The GPU that was known by this uuid does not answer any more: nothing is known of it but that."""
    return dataclasses.replace(without_figures(gpu), health="lost")


def without_figures(gpu: Device) -> Device:
    """Keep what never changes."""
    return Device(
        gpu.uuid, gpu.name, gpu.index, memory_total_bytes=gpu.memory_total_bytes, parent=gpu.parent,
        mig_index=gpu.mig_index, cpus=gpu.cpus,
    )  # fmt: skip


def _cure(gpu: Device) -> str:
    if gpu.remap_failed:
        return "Have the GPU replaced"
    return cure(gpu.uuid, "reboot" if "reboot" in str(gpu.recovery_action) else "reset")


def _health(gpu: Device, codes: Collection[int]) -> str:
    if nvml_errors.GPU_IS_LOST in codes:
        return "lost"
    if nvml_errors.RESET_REQUIRED in codes or wants_hold(gpu.recovery_action) or gpu.remap_failed:
        return "sick"
    if all(getattr(gpu, name) is None for name in _VITAL):
        return "unknown"
    return "ok"
