"""Maps an event of a GPU to its MIG devices. PURE.

Events are registered for the whole GPU. An event that the driver can attribute names the GPU instance, and
possibly the compute instance in it; a fault of the whole GPU names none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

NOT_NAMED = 0xFFFFFFFF  # NVML's value for none


@dataclass(frozen=True)
class Part:
    """A MIG device and its instances; None: the driver does not report it."""

    uuid: str
    gpu_instance: Optional[int]
    compute_instance: Optional[int]


def affected(uuid: str, parts: Sequence[Part], gpu_instance: int, compute_instance: int) -> tuple[str, ...]:
    """Return the UUIDs that an event of the GPU `uuid` affects.

    That is the GPU itself, and so all its MIG devices, if the event names no instance or an unknown one.
    """
    if gpu_instance == NOT_NAMED:
        return (uuid,)
    within = [part for part in parts if part.gpu_instance == gpu_instance]
    exact = [part for part in within if part.compute_instance == compute_instance]
    return tuple(part.uuid for part in exact or within) or (uuid,)
