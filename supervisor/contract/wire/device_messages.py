"""Messages about GPUs between gpuwatch and supervisor. PURE. Re-exported by `messages.py`."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional

# --- from gpuwatch ------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """One GPU or MIG device as NVML reports it. A value that is not available is None.

    A MIG device names its `parent` and shares the parent's temperature, power, ECC counts, recovery action
    and XIDs. `health` is ok, unknown, sick (for example, the driver requires a reset) or lost (it has fallen
    off the bus).
    """

    uuid: str
    name: str
    index: int  # the GPU's, in NVML's order; a MIG device has its parent's
    memory_used_bytes: Optional[int] = None
    memory_total_bytes: Optional[int] = None
    utilization_ratio: Optional[float] = None
    temperature_c: Optional[float] = None
    health: str = "unknown"
    power_w: Optional[float] = None
    throttle: Optional[tuple[str, ...]] = None  # why its clocks are reduced; empty: they are not
    ecc_errors_count: Optional[int] = None  # uncorrected, since the driver was loaded
    remapped_rows_count: Optional[int] = None
    remap_failed: Optional[bool] = None
    recovery_action: Optional[str] = None  # none, or what the driver requires: gpu-reset, ...
    parent: str = ""
    mig_index: Optional[int] = None
    cpus: tuple[int, ...] = ()  # local to it; empty: not known
    cure: str = ""  # for an unhealthy device: what an operator can do
    processes: tuple[str, ...] = ()  # "pid name" as the driver reports it, maybe wrong: for display only


@dataclass(frozen=True)
class Devices:
    """All GPUs that workers may use, in the order of their slots.

    An empty list is valid: `problem` then says why, and `nvidia_pci` whether the PCI bus has an NVIDIA device
    nevertheless. `failed`: NVML itself failed, so a GPU that is missing here may be healthy.
    """

    devices: tuple[Device, ...]
    nvidia_pci: bool = False
    problem: str = ""
    failed: bool = False
    looked_at_s: float = 0.0  # when the poll began


@dataclass(frozen=True)
class Xid:
    """The driver reported a fault of this GPU. The action follows in a Fault message."""

    uuid: str
    xid: int
    at_s: float


class Act(str, enum.Enum):
    """The action that a fault requires, mildest first."""

    IGNORE = "ignore"
    WARN = "warn"
    RESTART = "restart"  # restart the worker; the device is healthy
    HOLD = "hold"  # hold the device until it is proven healthy


@dataclass(frozen=True)
class Fault:
    """The action required by all XIDs that one GPU reported in one burst."""

    uuid: str
    xids: tuple[int, ...]
    at_s: float  # of the first
    act: Act
    why: str
    cure: str = ""
    most_count: int = 0  # hold the device after this many within `within_s`; 0: never
    within_s: float = 0.0
    by_hand: bool = False  # only an operator ends a hold for this fault


# --- to gpuwatch --------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """Poll and report every `every_s` until `until_at_s`: a slot waits for memory to be freed."""

    every_s: float
    until_at_s: float
