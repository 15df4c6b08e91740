"""Decides whether enough GPU memory was released for the next worker to start. PURE.

A worker that dies may leave memory behind: grandchildren that live on, a driver that is slow to free.
A worker started into that dies for want of memory, again and again. So used memory must be near what it
is while nobody works there; the caller looks often for a while, then holds the slot and says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from supervisor.placement.gpu_selection import gib_text

if TYPE_CHECKING:
    from supervisor.contract.wire.messages import Device, Devices

GATE_S = 20.0
LOOK_EVERY_S = 0.25
# Idle figures wander a little: persistence mode, a display, other tools. Guesses.
_SLACK_BYTES = 256 * 1024**2
_SLACK_RATIO = 0.02


@dataclass(frozen=True)
class GateClosed:
    """Why no worker may start on a device now. `unknown`: nothing is known against it either."""

    why: str
    unknown: bool = False
    is_too_full: bool = False  # the model would not fit, whatever is normal here


class MemoryGate:
    """What each device's memory is while idle."""

    def __init__(self) -> None:
        self._idle_bytes: dict[str, int] = {}

    def learn(self, devices: Devices, busy: Iterable[str]) -> None:
        """Take the lowest figure ever seen while none of our workers was on a device."""
        for gpu in devices.devices:
            used = gpu.memory_used_bytes
            if used is not None and gpu.uuid not in busy:
                self._idle_bytes[gpu.uuid] = min(used, self._idle_bytes.get(gpu.uuid, used))

    def forget(self, uuid: str) -> None:
        """A person says that a device is well as it is: learn it anew."""
        self._idle_bytes.pop(uuid, None)

    def closed(
        self, gpu: Optional[Device], fresh: bool, shared: bool, need_bytes: int
    ) -> Optional[GateClosed]:
        """Say why not; None: a worker may start.

        `fresh`: the figures are younger than the last process that was there. `shared`: other
        workers of ours are on the device, so that its memory can't be idle.
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
