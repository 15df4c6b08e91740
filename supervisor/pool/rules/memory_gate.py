"""Decides whether enough GPU memory was released for the next worker to start. PURE.

A worker that exits may leave memory in use: by its own children, or by a driver that is slow to free it.
A worker started then runs out of memory, again and again. So memory in use must be close to the device's
idle baseline first. The caller polls often for a while, then holds the slot and gives the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from supervisor.placement.model_memory import gib_text

if TYPE_CHECKING:
    from supervisor.contract.wire.messages import Device, Devices

GATE_S = 20.0
LOOK_EVERY_S = 0.25
# The idle baseline varies: persistence mode, a display, other tools. Guesses.
_SLACK_BYTES = 256 * 1024**2
_SLACK_RATIO = 0.02


@dataclass(frozen=True)
class GateClosed:
    """Why no worker may start on a device now. `unknown`: its figures are not known."""

    why: str
    unknown: bool = False
    is_too_full: bool = False  # the model does not fit, whatever the baseline is


class MemoryGate:
    """The idle baseline of each device's memory."""

    def __init__(self) -> None:
        self._idle_bytes: dict[str, int] = {}

    def learn(self, devices: Devices, busy: Iterable[str]) -> None:
        """Record the lowest memory use seen while none of our workers was on a device."""
        for gpu in devices.devices:
            used = gpu.memory_used_bytes
            if used is not None and gpu.uuid not in busy:
                self._idle_bytes[gpu.uuid] = min(used, self._idle_bytes.get(gpu.uuid, used))

    def forget(self, uuid: str) -> None:
        """Drop a device's baseline after an operator released it: the next report sets it."""
        self._idle_bytes.pop(uuid, None)

    def closed(
        self, gpu: Optional[Device], fresh: bool, shared: bool, need_bytes: int
    ) -> Optional[GateClosed]:
        """Return why the gate is closed; None: a worker may start.

        `fresh`: the figures are newer than the exit of the last process there. `shared`: other workers
        of ours are on the device, so its memory is not idle.
        """
        if gpu is None or not fresh:
            return GateClosed("waiting for the device's figures", unknown=True)
        used, total = gpu.memory_used_bytes, gpu.memory_total_bytes
        if used is None or total is None:
            return None
        if need_bytes and used + need_bytes > total:
            words = f"{_in_use(gpu, used, total)}, and the model needs about {gib_text(need_bytes)}"
            return GateClosed(words, is_too_full=True)
        idle = self._idle_bytes.get(gpu.uuid, used)
        if shared or used <= idle + max(_SLACK_BYTES, total * _SLACK_RATIO):
            return None
        return GateClosed(f"{_in_use(gpu, used, total)}, {gib_text(idle)} when idle")


def _in_use(gpu: Device, used: int, total: int) -> str:
    by = f" by {', '.join(gpu.processes)}" if gpu.processes else ""
    return f"{gib_text(used)} of {gib_text(total)} GiB of {gpu.uuid} are in use{by}"


def by_uuid(devices: Optional[Devices]) -> Mapping[str, Device]:
    return {gpu.uuid: gpu for gpu in devices.devices} if devices is not None else {}
