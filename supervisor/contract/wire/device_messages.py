"""Messages about GPUs between gpuwatch and supervisor. PURE. Re-exported by `messages.py`."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional

# --- from gpuwatch ------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """One GPU or MIG device as NVML reports it. A value that is not available is None.

    A MIG device names its `parent`, whose temperature, power, ECC, recovery action and XIDs are its own too.
    `health` is ok, unknown, sick (the driver wants a reset, say) or lost (it fell off the bus).
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
    throttle: Optional[tuple[str, ...]] = None  # why its clocks are held down; empty: they are not
    ecc_errors_count: Optional[int] = None  # uncorrected, since the driver was loaded
    remapped_rows_count: Optional[int] = None
    remap_failed: Optional[bool] = None
    recovery_action: Optional[str] = None  # none, or what the driver wants done: gpu-reset, node-reboot, ...
    parent: str = ""
    mig_index: Optional[int] = None
    cpus: tuple[int, ...] = ()  # near it; empty: not known
    cure: str = ""  # of an unhealthy one: what an operator can do
    processes: tuple[str, ...] = ()  # "pid name", as far as the driver can be believed: for people only


@dataclass(frozen=True)
class Devices:
    """All GPUs that workers may use, in the order of their slots.

    None at all is a normal answer; `problem` then says why, and `nvidia_pci` whether the
    machine has an NVIDIA device on its PCI bus all the same. `failed`: NVML as a whole gave no
    answer, so that a GPU which is missing here may be well.
    """

    devices: tuple[Device, ...]
    nvidia_pci: bool = False
    problem: str = ""
    failed: bool = False
    looked_at_s: float = 0.0  # when the figures were asked for


@dataclass(frozen=True)
class Xid:
    """The driver reported a fault of this GPU. The action follows in a Fault message."""

    uuid: str
    xid: int
    at_s: float


class Act(str, enum.Enum):
    """What a fault asks for, mildest first."""

    IGNORE = "ignore"
    WARN = "warn"
    RESTART = "restart"  # the worker; the device is well
    HOLD = "hold"  # the device, until it is proven well


@dataclass(frozen=True)
class Fault:
    """The action required by all XIDs that one GPU reported in one burst."""

    uuid: str
    xids: tuple[int, ...]
    at_s: float  # of the first
    act: Act
    why: str
    cure: str = ""
    most_count: int = 0  # hold the device at so many of these within `within_s`; 0: never for that
    within_s: float = 0.0
    by_hand: bool = False  # only an operator ends a hold for this fault


# --- to gpuwatch --------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """Poll and report every `every_s` until `until_at_s`: a slot waits for memory to be freed."""

    every_s: float
    until_at_s: float
