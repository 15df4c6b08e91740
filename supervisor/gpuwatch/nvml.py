"""The only file that imports pynvml: one look at all GPUs.

Every call here may hang in the driver for ever; who calls must be able to go on without
the answer. What NVML does not know of a GPU is None. GPUs are walked by index and
known by UUID: asking by UUID fails for a good GPU while another one is lost.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable, Optional, TypeVar

import pynvml

from supervisor.contract.messages import Device
from supervisor.gpuwatch import problems
from supervisor.gpuwatch.sight import Sight

T = TypeVar("T")


class Nvml:
    """NVML, opened at the first look and opened anew after it failed as a whole."""

    def __init__(self) -> None:
        self._is_open = False

    def look(self) -> Sight:
        """Look at all GPUs. Never raises for what NVML says; see `Sight.problem`."""
        try:
            if not self._is_open:
                # May start nvidia-modprobe as a child process, which is not ours to reap.
                pynvml.nvmlInit()
                self._is_open = True
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            self._close()
            return Sight((), _explain(error), failed=True)
        found, lost = [], []
        for index in range(count):
            try:
                found.append(_look_at(index))
            except pynvml.NVMLError as error:
                lost.append(problems.explain_one(index, error.value, str(error)))
        gpus = tuple(gpu for _, gpu in sorted(found, key=lambda pair: pair[0]))
        if not gpus and not lost:
            lost.append("NVML finds no GPU. In a container, give it GPUs (docker run --gpus all)")
        return Sight(gpus, ". ".join(lost), failed=bool(lost) and not gpus)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            _known(pynvml.nvmlShutdown)


def _look_at(index: int) -> tuple[tuple[str, int], Device]:
    """Read one GPU and where it sorts; raises NVMLError where it does not even tell its UUID."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    uuid = str(pynvml.nvmlDeviceGetUUID(handle))
    pci = _known(lambda: pynvml.nvmlDeviceGetPciInfo(handle).busId)
    memory = _memory(handle)
    percent = _known(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    celsius = _known(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
    gpu = Device(
        uuid=uuid,
        name=str(_known(lambda: pynvml.nvmlDeviceGetName(handle)) or "NVIDIA GPU"),
        index=index,
        memory_used_bytes=None if memory is None else int(memory.used),
        memory_total_bytes=None if memory is None else int(memory.total),
        utilization_ratio=None if percent is None else percent / 100,
        temperature_c=None if celsius is None else float(celsius),
    )
    return (_text(pci), index), gpu


def _memory(handle: Any) -> Optional[Any]:  # Any: pynvml's structures have no types
    """Read memory in version 2; version 1 counts what the driver keeps for itself as used."""
    v2 = _known(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2))
    return v2 if v2 is not None else _known(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))


def _known(ask: Callable[[], T]) -> Optional[T]:
    """Ask for one datum; None where this GPU or driver has no answer, whatever the reason."""
    try:
        return ask()
    except pynvml.NVMLError:
        return None


def _explain(error: Any) -> str:  # Any: NVMLError has no types
    dlopen_said = _dlopen_error() if error.value == problems.LIBRARY_NOT_FOUND else ""
    return problems.explain(error.value, str(error), dlopen_said)


def _dlopen_error() -> str:
    """Give the loader's own words, which pynvml hides: a missing file and a wrong one differ."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        return str(error)[:200]
    return ""


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
