"""NVML errors as messages for people, with a fix. PURE.

Source of codes and causes: nvml.h, and the threads that the project's facts name.
"""

from __future__ import annotations

LIBRARY_NOT_FOUND = 12
GPU_IS_LOST = 15
RESET_REQUIRED = 16
# Not supported, no such function, and two kinds of version mismatch: the datum is not to be had.
NOT_TO_BE_HAD = frozenset((3, 13, 25, 26))

_SAID = {
    4: "this user may not use the NVIDIA device files. Give it access to /dev/nvidia* (often group video)",
    9: "the NVIDIA driver is not loaded. Load it (modprobe nvidia), or install the driver of this kernel",
    15: "a GPU has fallen off the bus. Reboot; if it comes back, the GPU or its power is at fault",
    16: "a GPU waits for a reset. Stop what uses it and run nvidia-smi --gpu-reset, or reboot",
    18: "the NVIDIA driver was upgraded while its older kernel module runs on. Reboot",
    999: "the driver gives no reason. In a container that lost its GPUs (systemctl daemon-reload on the host "
    "does that) start the container anew; otherwise see dmesg for NVRM",
}


def explain(code: int, words: str, dlopen_said: str = "") -> str:
    """Say what an NVML error means and what to do. `words` are NVML's own."""
    if code == LIBRARY_NOT_FOUND:
        said = f" ({dlopen_said})" if dlopen_said else ""
        return (
            f"NVIDIA's driver library libnvidia-ml.so.1 can't be loaded{said}. Install the NVIDIA driver, "
            "or give the container its GPUs (docker run --gpus all)"
        )
    return f"NVML error {code} ({words}): {_SAID.get(code, 'see dmesg for lines with NVRM or Xid')}"


def explain_one(index: int, code: int, words: str) -> str:
    """Say that one GPU does not answer while NVML itself does."""
    return f"GPU {index} does not answer. {explain(code, words)}"


def empty_mig(index: int) -> str:
    """Say that a GPU is cut into MIG devices of which there are none."""
    return (
        f"GPU {index} is in MIG mode and has no MIG device. "
        f"Make some (sudo nvidia-smi mig -i {index} -cgi 0 -C) "
        f"or end the mode (sudo nvidia-smi -i {index} -mig 0)"
    )


def hangs(waited_s: float) -> str:
    """Say that a call into the driver has not come back."""
    return (
        f"the NVIDIA driver has not answered for {waited_s:.0f} s. See dmesg for NVRM or Xid; "
        "where processes hang in state D, only a reboot helps"
    )
