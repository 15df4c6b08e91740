"""Maps an event of a GPU to its MIG devices. PURE.

Events are registered with the GPU. One that the driver can attribute names the GPU instance, and maybe
the compute instance in it; a fault of all of the GPU names none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

NOT_NAMED = 0xFFFFFFFF  # NVML's word for none


@dataclass(frozen=True)
class Part:
    """A MIG device and the instances that it is; None: the driver does not tell."""

    uuid: str
    gpu_instance: Optional[int]
    compute_instance: Optional[int]


def meant(uuid: str, parts: Sequence[Part], gpu_instance: int, compute_instance: int) -> tuple[str, ...]:
    """Give the UUIDs that an event of the GPU `uuid` is about.

    The GPU itself, which means all its parts, where the event names none or one that is not known.
    """
    if gpu_instance == NOT_NAMED:
        return (uuid,)
    within = [part for part in parts if part.gpu_instance == gpu_instance]
    exact = [part for part in within if part.compute_instance == compute_instance]
    return tuple(part.uuid for part in exact or within) or (uuid,)
