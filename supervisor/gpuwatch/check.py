"""GPU checks for `rem-supervisor doctor`: one JSON line per check, then the devices."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from supervisor.contract import codec
from supervisor.contract.exits import Exit
from supervisor.contract.wire.messages import Device, Devices
from supervisor.gpuwatch import nvml_errors, pci, xid
from supervisor.gpuwatch.nvml import Nvml
from supervisor.gpuwatch.report import GpuReport, devices_of

_POLL_TIMEOUT_S = 15.0


def check(pci_devices: Optional[Path] = None) -> Exit:
    """Print the result of every check; return FAILED if one failed."""
    nvidia_pci = pci.has_nvidia_gpu(pci_devices) if pci_devices else pci.has_nvidia_gpu()
    devices = devices_of(_look_with_timeout(), os.environ, nvidia_pci, None)
    lines = list(findings(devices))
    for line in lines:
        print(json.dumps(line), flush=True)
    # For `doctor`, which has the settings and plans the slots.
    print(json.dumps({"devices": codec.to_plain(devices)}), flush=True)
    return Exit.FAILED if any(line["state"] == "fail" for line in lines) else Exit.OK


def findings(devices: Devices) -> Iterator[dict[str, str]]:
    """Yield each check as an object: check, state (ok, warn, fail), detail, cure."""
    if not devices.nvidia_pci and not devices.devices:
        yield _line("gpus", "ok", "no NVIDIA device in this machine")
        return
    state = "ok" if devices.devices and not devices.problem else "warn" if devices.devices else "fail"
    what, cure = _split(devices)
    yield _line("gpus", state, what, cure)
    for gpu in devices.devices:
        yield _of_gpu(gpu)


def _of_gpu(gpu: Device) -> dict[str, str]:
    """Return the check of one GPU; values that are not available are omitted."""
    name = f"gpu{gpu.index}" if gpu.mig_index is None else f"gpu{gpu.index} mig{gpu.mig_index}"
    parts = [gpu.name, gpu.uuid]
    if gpu.memory_total_bytes is not None and gpu.memory_used_bytes is not None:
        parts.append(f"{_gib(gpu.memory_used_bytes)} of {_gib(gpu.memory_total_bytes)} GiB in use")
    if gpu.temperature_c is not None:
        parts.append(f"{gpu.temperature_c:.0f} C")
    if gpu.throttle:
        parts.append(f"clocks reduced: {', '.join(gpu.throttle)}")
    if gpu.recovery_action is None:
        parts.append("its driver reports no recovery action: XIDs are judged by a table")
    detail = ", ".join(parts)
    if xid.wants_hold(gpu.recovery_action):
        needs = "reboot" if "reboot" in str(gpu.recovery_action) else "reset"
        return _line(
            name,
            "fail",
            f"{detail}; driver recovery action: {gpu.recovery_action}",
            xid.cure(gpu.parent or gpu.uuid, needs),
        )
    if gpu.remap_failed:
        return _line(name, "fail", f"{detail}; a memory row could not be remapped", "Have the GPU replaced")
    state = "warn" if gpu.throttle or gpu.health == "lost" else "ok"
    return _line(name, state, detail, "Check its cooling and power supply" if state == "warn" else "")


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**3:.1f}"


def _split(devices: Devices) -> tuple[str, str]:
    """Split a problem into the fault and its cure, which follows in the next sentence."""
    what, _, cure = devices.problem.partition(". ")
    count = f"{len(devices.devices)} usable"
    return (f"{count}: {what}" if what else count), cure


def _look_with_timeout() -> GpuReport:
    """Poll in a thread: the driver may hang, `doctor` must not."""
    seen: list[GpuReport] = []
    thread = threading.Thread(target=lambda: seen.append(Nvml().look()), daemon=True)
    thread.start()
    thread.join(_POLL_TIMEOUT_S)
    return seen[0] if seen else GpuReport((), nvml_errors.hangs(_POLL_TIMEOUT_S), failed=True)


def _line(name: str, state: str, detail: str, cure: str = "") -> dict[str, str]:
    return {"check": name, "state": state, "detail": detail, "cure": cure}
