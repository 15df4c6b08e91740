"""Derives a GPU's health from NVML's values. PURE."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Optional

from supervisor.contract.wire.messages import Device
from supervisor.gpuwatch import nvml_errors
from supervisor.gpuwatch.xid import cure, wants_hold

# Source: nvml.h, nvmlClocksEventReason*. An idle GPU (1) and its owner's settings (2, 16, 256) are no fault.
_THROTTLE = {
    4: "power cap", 8: "hardware slowdown", 32: "thermal slowdown", 64: "hardware thermal slowdown",
    128: "power brake",
}  # fmt: skip
# Every value may be missing, but a GPU that answers at all reports these two.
_VITAL = ("memory_used_bytes", "temperature_c")


def throttle_reasons(mask: Optional[int]) -> Optional[tuple[str, ...]]:
    """Return why the clocks are reduced; empty: they are not."""
    return None if mask is None else tuple(name for bit, name in _THROTTLE.items() if mask & bit)


def with_health(gpu: Device, codes: Collection[int] = ()) -> Device:
    """Set a GPU's health from its values and from the errors that replaced some of them."""
    health = _health(gpu, codes)
    return dataclasses.replace(gpu, health=health, cure=_cure(gpu) if health == "sick" else "")


def lost(gpu: Device) -> Device:
    """Return a known GPU that no longer answers: only its identity is still valid."""
    return dataclasses.replace(without_figures(gpu), health="lost")


def without_figures(gpu: Device) -> Device:
    """Keep the values that never change."""
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
