"""The only file that imports pynvml: reads all GPUs and listens for XID events.

Every call here may hang in the driver forever; the caller must be able to continue without the answer. A
value that NVML does not provide is None. GPUs are enumerated by index and identified by UUID: a query by UUID
fails for a healthy GPU while another one is lost.
"""

from __future__ import annotations

import ctypes
import dataclasses
import threading
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

import pynvml

from supervisor.contract import clock
from supervisor.contract.wire.messages import Device, Xid
from supervisor.gpuwatch import health, nvml_errors
from supervisor.gpuwatch.mig_events import Part, affected
from supervisor.gpuwatch.report import GpuReport
from supervisor.gpuwatch.xid import action_name

T = TypeVar("T")

RECOVERY_ACTION_FIELD = 230  # NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, drivers from about R570
EVENT_WAIT_MS = 2_000
EVENT_RETRY_FIRST_S, EVENT_RETRY_MOST_S = 1.0, 60.0
_CPU_WORDS = 16  # of 64 CPUs each
_PROCESSES_SHOWN = 8


class Nvml:
    """NVML, opened at the first poll and reopened after it failed as a whole."""

    def __init__(self, on_xid: Optional[Callable[[Xid], None]] = None) -> None:
        self._is_open = False
        self._on_xid = on_xid
        self._known: dict[int, Device] = {}  # by index: each GPU as it was last read
        self._listeners: dict[str, threading.Event] = {}  # by UUID; set: the thread ends
        self._parts: dict[str, list[Part]] = {}  # of GPUs in MIG mode, by the GPU's UUID

    def look(self) -> GpuReport:
        """Poll all GPUs. NVML errors are not raised; see `GpuReport.problem`."""
        try:
            if not self._is_open:
                # May start nvidia-modprobe as a child process, which is not ours to reap.
                pynvml.nvmlInit()
                self._is_open = True
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            self._close()
            return GpuReport((), _explain(error), failed=True)
        found, notes, silent = [], [], []
        for index in range(count):
            try:
                order, uuid, gpus, note = self._look_at(index)
                found.append(((order, uuid), gpus))
                notes += [note] if note else []
            except pynvml.NVMLError as error:
                notes.append(nvml_errors.explain_one(index, error.value, str(error)))
                silent.append(index)
        ordered = [gpu for _, gpus in sorted(found, key=lambda pair: pair[0][0]) for gpu in gpus]
        ordered += self._lost(silent, {uuid for (_, uuid), _ in found})
        if not ordered and not notes:
            notes.append("NVML finds no GPU. In a container, give it GPUs (docker run --gpus all)")
        return GpuReport(tuple(ordered), ". ".join(notes), failed=bool(notes) and not ordered)

    def _look_at(self, index: int) -> tuple[tuple[str, int], str, list[Device], str]:
        """Read one GPU. Returns its sort key, its UUID, the GPU or its MIG devices, and a note.

        Raises NVMLError if the GPU does not even report its UUID.
        """
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = str(pynvml.nvmlDeviceGetUUID(handle))
        known, codes = _asker()
        pci = _text(known(lambda: pynvml.nvmlDeviceGetPciInfo(handle).busId))
        gpu = health.with_health(_read(handle, uuid, index, known), codes)
        self._known[index] = gpu
        self._listen(handle, uuid)
        if (known(lambda: pynvml.nvmlDeviceGetMigMode(handle)) or [0])[0] != 1:
            self._parts.pop(uuid, None)
            return (pci, index), uuid, [gpu], ""
        found = _mig_devices(handle, gpu)
        self._parts[uuid] = [part for _, part in found]
        devices = [device for device, _ in found]
        return (pci, index), uuid, devices, "" if devices else nvml_errors.empty_mig(index)

    def _lost(self, silent: list[int], present: set[str]) -> list[Device]:
        """Return the GPUs that NVML counts but that do not answer, as they were last known."""
        known = [self._known[index] for index in silent if index in self._known]
        return [health.lost(gpu) for gpu in known if gpu.uuid not in present]

    # --- XIDs: one event set and one thread for each GPU ---------------------------------

    def _listen(self, handle: Any, uuid: str) -> None:  # Any: pynvml's handles have no types
        if self._on_xid is None or uuid in self._listeners:
            return
        closing = self._listeners[uuid] = threading.Event()
        threading.Thread(
            target=self._report_xids, args=(handle, uuid, closing), name=f"xid {uuid}", daemon=True
        ).start()

    def _report_xids(self, handle: Any, uuid: str, closing: threading.Event) -> None:
        """Report every XID of one GPU until NVML is closed.

        A wait that fails at once would spin (seen in other tools): every error is followed by a growing
        pause.
        """
        pause_s = EVENT_RETRY_FIRST_S
        while not closing.is_set():
            events: Any = None
            try:
                events = _event_set(handle)
                if events is None:
                    return  # this GPU or driver reports no XIDs
                while not closing.is_set():
                    self._wait(events, uuid)
                    pause_s = EVENT_RETRY_FIRST_S
            except pynvml.NVMLError:
                _free(events)
                closing.wait(pause_s)
                pause_s = min(EVENT_RETRY_MOST_S, 2 * pause_s)

    def _wait(self, events: Any, uuid: str) -> None:
        try:
            event = pynvml.nvmlEventSetWait_v2(events, EVENT_WAIT_MS)
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_TIMEOUT:
                raise
            return
        if self._on_xid is not None and event.eventType == pynvml.nvmlEventTypeXidCriticalError:
            instances = int(event.gpuInstanceId), int(event.computeInstanceId)
            for about in affected(uuid, self._parts.get(uuid, ()), *instances):
                self._on_xid(Xid(about, int(event.eventData), clock.now_s()))

    def _close(self) -> None:
        for closing in self._listeners.values():
            closing.set()
        self._listeners = {}
        if self._is_open:
            self._is_open = False
            _known(pynvml.nvmlShutdown)


def _read(handle: Any, uuid: str, index: int, known: Callable[[Callable[[], Any]], Any]) -> Device:
    """Read all values of one GPU."""
    memory = _memory(handle, known)
    percent = known(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    celsius = known(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
    milliwatts = known(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
    remapped = known(lambda: pynvml.nvmlDeviceGetRemappedRows(handle))
    ecc = known(
        lambda: pynvml.nvmlDeviceGetTotalEccErrors(
            handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
        )
    )
    return Device(
        uuid=uuid,
        name=str(known(lambda: pynvml.nvmlDeviceGetName(handle)) or "NVIDIA GPU"),
        index=index,
        memory_used_bytes=None if memory is None else int(memory.used),
        memory_total_bytes=None if memory is None else int(memory.total),
        utilization_ratio=None if percent is None else percent / 100,
        temperature_c=None if celsius is None else float(celsius),
        power_w=None if milliwatts is None else milliwatts / 1000,
        throttle=health.throttle_reasons(_throttle_mask(handle, known)),
        ecc_errors_count=None if ecc is None else int(ecc),
        remapped_rows_count=None if remapped is None else int(remapped[0] + remapped[1]),
        remap_failed=None if remapped is None else bool(remapped[3]),
        recovery_action=action_name(known(lambda: _recovery_action(handle))),
        cpus=_cpus(known(lambda: pynvml.nvmlDeviceGetCpuAffinity(handle, _CPU_WORDS))),
        processes=_processes(known(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle))),
    )


def _mig_devices(handle: Any, parent: Device) -> list[tuple[Device, Part]]:
    """Query every MIG index of a GPU: they need not be contiguous."""
    devices = []
    for index in range(_known(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0):
        try:
            part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            uuid = str(pynvml.nvmlDeviceGetUUID(part))
        except pynvml.NVMLError:
            continue
        devices.append((_mig_device(part, uuid, index, parent), _part(part, uuid)))
    return devices


def _part(handle: Any, uuid: str) -> Part:
    gpu_instance = _known(lambda: int(pynvml.nvmlDeviceGetGpuInstanceId(handle)))
    compute_instance = _known(lambda: int(pynvml.nvmlDeviceGetComputeInstanceId(handle)))
    return Part(uuid, gpu_instance, compute_instance)


def _mig_device(handle: Any, uuid: str, mig_index: int, parent: Device) -> Device:
    """Read a MIG device's own memory; all other values are its parent's."""
    memory = _memory(handle, _known)
    return dataclasses.replace(
        parent,
        uuid=uuid,
        name=str(_known(lambda: pynvml.nvmlDeviceGetName(handle)) or f"{parent.name} MIG {mig_index}"),
        memory_used_bytes=None if memory is None else int(memory.used),
        memory_total_bytes=None if memory is None else int(memory.total),
        utilization_ratio=None,  # NVML reports none for MIG devices
        parent=parent.uuid,
        mig_index=mig_index,
    )


def _memory(handle: Any, known: Callable[[Callable[[], Any]], Any]) -> Optional[Any]:
    """Read memory in version 2; version 1 counts memory that the driver reserves as used."""
    v2 = known(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2))
    return v2 if v2 is not None else known(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))


def _throttle_mask(handle: Any, known: Callable[[Callable[[], Any]], Any]) -> Optional[int]:
    """Read why clocks are reduced, by the current name or by the one that older drivers support."""
    mask = known(lambda: int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)))
    if mask is None:
        mask = known(lambda: int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)))
    return None if mask is None else int(mask)


def _recovery_action(handle: Any) -> Optional[int]:
    """Read field 230; each value in NVML's answer has an error code of its own."""
    value = pynvml.nvmlDeviceGetFieldValues(handle, [RECOVERY_ACTION_FIELD])[0]
    return int(value.value.uiVal) if value.nvmlReturn == pynvml.NVML_SUCCESS else None


def _event_set(handle: Any) -> Optional[Any]:
    """Create an event set for this GPU's XIDs; None if it supports none."""
    wanted = pynvml.nvmlEventTypeXidCriticalError & pynvml.nvmlDeviceGetSupportedEventTypes(handle)
    if not wanted:
        return None
    events = pynvml.nvmlEventSetCreate()
    try:
        pynvml.nvmlDeviceRegisterEvents(handle, wanted, events)
    except pynvml.NVMLError as error:
        _free(events)
        if error.value in nvml_errors.NOT_AVAILABLE:
            return None
        raise
    return events


def _free(events: Any) -> None:
    if events is not None:
        _known(lambda: pynvml.nvmlEventSetFree(events))


def _cpus(words: Any) -> tuple[int, ...]:
    return () if words is None else tuple(n for n in range(64 * len(words)) if words[n // 64] >> n % 64 & 1)


def _processes(found: Any) -> tuple[str, ...]:
    """List the processes on a GPU, for display only: in containers these are the host's pids."""
    return tuple(f"{one.pid} {_name(one.pid)}".strip() for one in (found or [])[:_PROCESSES_SHOWN])


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _asker() -> tuple[Callable[[Callable[[], Any]], Any], set[int]]:
    """Return a variant of `_known`, and the set in which it collects error codes."""
    codes: set[int] = set()

    def known(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except pynvml.NVMLError as error:
            codes.add(error.value)
            return None

    return known, codes


def _known(ask: Callable[[], T]) -> Optional[T]:
    """Return one value; None if the GPU or the driver does not provide it, for whatever reason."""
    try:
        return ask()
    except pynvml.NVMLError:
        return None


def _explain(error: Any) -> str:  # Any: NVMLError has no types
    loader_error = _dlopen_error() if error.value == nvml_errors.LIBRARY_NOT_FOUND else ""
    return nvml_errors.explain(error.value, str(error), loader_error)


def _dlopen_error() -> str:
    """Return the loader's message, which pynvml hides: it tells a missing file from a wrong one."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        return str(error)[:200]
    return ""


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
