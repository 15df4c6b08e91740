"""Detects an NVIDIA GPU on this machine's PCI bus, with or without a driver."""

from __future__ import annotations

from pathlib import Path

_DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA = "0x10de"
_DISPLAY = "0x03"  # class of VGA (0x0300) and 3D (0x0302) controllers; NVIDIA makes audio and USB ones too


def has_nvidia_gpu(devices: Path = _DEVICES) -> bool:
    """Return whether there is one. False without sysfs, as on macOS."""
    return any(
        _text(folder / "vendor") == _NVIDIA and _text(folder / "class").startswith(_DISPLAY)
        for folder in devices.glob("*")
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip().lower()
    except OSError:
        return ""
