"""NVML errors as messages for people, with a cure. PURE.

Source of codes and causes: nvml.h, and the threads that the project's facts name.
"""

from __future__ import annotations

LIBRARY_NOT_FOUND = 12
GPU_IS_LOST = 15
RESET_REQUIRED = 16
# Not supported, no such function, and two kinds of version mismatch: the value is not available.
NOT_AVAILABLE = frozenset((3, 13, 25, 26))

_CAUSES = {
    4: "this user may not use the NVIDIA device files. Give it access to /dev/nvidia* (often group video)",
    9: "the NVIDIA driver is not loaded. Load it (modprobe nvidia), or install the driver of this kernel",
    15: "a GPU has fallen off the bus. Reboot; if it happens again, the GPU or its power supply is faulty",
    16: "a GPU needs a reset. Stop the processes that use it and run nvidia-smi --gpu-reset, or reboot",
    18: "the NVIDIA driver was upgraded, but its older kernel module is still loaded. Reboot",
    999: "the driver gives no reason. If a container lost its GPUs (systemctl daemon-reload on the host does "
    "that), restart the container; otherwise see dmesg for lines with NVRM",
}


def explain(code: int, words: str, loader_error: str = "") -> str:
    """Return what an NVML error means and what to do. `words` is NVML's own message."""
    if code == LIBRARY_NOT_FOUND:
        said = f" ({loader_error})" if loader_error else ""
        return (
            f"NVIDIA's driver library libnvidia-ml.so.1 can't be loaded{said}. Install the NVIDIA driver, "
            "or give the container its GPUs (docker run --gpus all)"
        )
    return f"NVML error {code} ({words}): {_CAUSES.get(code, 'see dmesg for lines with NVRM or Xid')}"


def explain_one(index: int, code: int, words: str) -> str:
    """Return that one GPU does not answer while NVML itself does."""
    return f"GPU {index} does not answer. {explain(code, words)}"


def empty_mig(index: int) -> str:
    """Return that a GPU is in MIG mode without a MIG device."""
    return (
        f"GPU {index} is in MIG mode and has no MIG device. "
        f"Create one (sudo nvidia-smi mig -i {index} -cgi 0 -C) "
        f"or disable MIG mode (sudo nvidia-smi -i {index} -mig 0)"
    )


def hangs(waited_s: float) -> str:
    """Return that a call into the driver has not returned."""
    return (
        f"the NVIDIA driver has not answered for {waited_s:.0f} s. See dmesg for NVRM or Xid; "
        "if processes hang in state D, only a reboot helps"
    )
